//! Several buckets at once: those of one principal in one call, one principal after the other.
//!
//! A refusal that is known already takes no call, once it is known how the other buckets stand. But
//! calls are not shared: of those who ask for the same several at once, each makes its own.

use std::sync::Arc;
use std::time::Duration;

use super::denied::duration;
use super::handle::Inner;
use super::policy::Ask;
use super::scripts;
use super::shards::Key;
use super::{Charge, Taken, Unavailable};
use crate::store::shared::Budget;

/// The buckets of one principal, each once: charges of the same bucket are summed, so that what
/// they ask together is checked.
struct Group {
    keys: Vec<Key>,
    asks: Vec<Ask>,
    /// For each charge of this group, the place of its bucket.
    places: Vec<usize>,
}

/// What was taken of groups that came before. Dropped, it is given back.
struct Given<'a> {
    inner: &'a Arc<Inner>,
    groups: &'a [Group],
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        for group in self.groups {
            for (key, ask) in group.keys.iter().zip(&group.asks) {
                if ask.price > 0.0 {
                    self.inner.give_back(key, *ask);
                }
            }
        }
    }
}

pub(super) async fn take(inner: &Arc<Inner>, charges: &[Charge<'_>]) -> Result<Taken, Unavailable> {
    let groups = groups(inner, charges);
    // What is known to be refused takes nothing of the others, not even for a moment.
    let mut granted = !groups.iter().any(|group| group.is_refused(inner));
    if !granted {
        if let Some(debts) = groups.iter().map(|group| group.known(inner)).collect() {
            let debts = by_charge(&groups, debts).map(duration).collect();
            return Ok(Taken { granted, debts });
        }
    }
    let budget = Budget::of(inner.redis.deadline());
    let mut debts = Vec::with_capacity(groups.len());
    let mut given = Given { inner, groups: &[] };
    for (place, group) in groups.iter().enumerate() {
        let left = budget.left().ok_or(Unavailable::TimedOut)?;
        // After a refusal the others are asked how they stand, so that what is told to wait is enough.
        let (all, debt) = group.ask(inner, u64::from(granted), left).await?;
        granted &= all;
        if granted {
            given.groups = &groups[..=place];
        }
        debts.push(debt);
    }
    if granted {
        given.groups = &[];
    } else {
        without(&mut debts, given.groups);
    }
    let debts = by_charge(&groups, debts).map(duration).collect();
    Ok(Taken { granted, debts })
}

/// For each charge the debt of its bucket, of those of each group.
fn by_charge(groups: &[Group], debts: Vec<Vec<f64>>) -> impl Iterator<Item = f64> + '_ {
    let of_group = |(group, debts): (&'_ Group, Vec<f64>)| {
        let places = group.places.iter();
        places.map(|place| debts[*place]).collect::<Vec<_>>()
    };
    groups.iter().zip(debts).flat_map(of_group)
}

/// The debts, once these groups have been given back what they were charged.
fn without(debts: &mut [Vec<f64>], groups: &[Group]) {
    for (debts, group) in debts.iter_mut().zip(groups) {
        for (debt, ask) in debts.iter_mut().zip(&group.asks) {
            *debt -= ask.price;
        }
    }
}

pub(super) async fn peek(inner: &Arc<Inner>, charges: &[Charge<'_>]) -> Result<Taken, Unavailable> {
    let budget = Budget::of(inner.redis.deadline());
    let (mut granted, mut debts) = (true, Vec::with_capacity(charges.len()));
    for group in groups(inner, charges) {
        let left = budget.left().ok_or(Unavailable::TimedOut)?;
        let (_, debt) = group.ask(inner, 0, left).await?;
        let mut asked = group.asks.iter().zip(&debt);
        granted &= asked.all(|(ask, debt)| ask.answered(*debt).granted);
        debts.extend(group.places.iter().map(|place| duration(debt[*place])));
    }
    Ok(Taken { granted, debts })
}

/// Charges of one principal that stand together are a group.
fn groups(inner: &Inner, charges: &[Charge<'_>]) -> Vec<Group> {
    let of_one = charges.chunk_by(|a, b| a.principal == b.principal);
    of_one.map(|charges| Group::of(inner, charges)).collect()
}

impl Group {
    fn of(inner: &Inner, charges: &[Charge<'_>]) -> Self {
        let mut group = Self {
            keys: Vec::with_capacity(charges.len()),
            asks: Vec::with_capacity(charges.len()),
            places: Vec::with_capacity(charges.len()),
        };
        for charge in charges {
            let key = inner.key(charge.principal, charge.policy);
            let ask = charge.policy.ask(charge.cost);
            let place = group.keys.iter().position(|known| *known == key);
            group.places.push(place.unwrap_or(group.keys.len()));
            match place {
                Some(place) => {
                    let known = &mut group.asks[place];
                    known.price += ask.price;
                    known.tolerance = known.tolerance.min(ask.tolerance);
                }
                None => {
                    group.keys.push(key);
                    group.asks.push(ask);
                }
            }
        }
        group
    }

    /// Whether one of the buckets is known to refuse.
    fn is_refused(&self, inner: &Inner) -> bool {
        let mut asks = self.keys.iter().zip(&self.asks);
        asks.any(|(key, ask)| ask.price > 0.0 && inner.denied.refusal(key, ask).is_some())
    }

    /// The debts, if all are remembered.
    fn known(&self, inner: &Inner) -> Option<Vec<f64>> {
        let debts = self.keys.iter().map(|key| inner.denied.debt(key));
        debts.collect()
    }

    /// Asks for everything `times` times, once or not at all; the debts of the buckets.
    async fn ask(
        &self,
        inner: &Arc<Inner>,
        times: u64,
        limit: Duration,
    ) -> Result<(bool, Vec<f64>), Unavailable> {
        let one = (times, &self.keys[..], &self.asks[..]);
        match one {
            // Many may ask for this one at once.
            (1, [key], [ask]) if ask.price > 0.0 => {
                let answer = inner.take_one(key, *ask, None, limit).await?;
                return Ok((answer.granted, vec![answer.debt]));
            }
            _ => {}
        }
        let keys: Vec<&[u8]> = self.keys.iter().map(|key| &key[..]).collect();
        let call = scripts::take(&inner.redis, &keys, &self.asks, times, limit);
        let charges = times * keys.len() as u64;
        let (granted, debts) = inner.calls.counted(charges, call).await?;
        let debts: Vec<_> = debts.into_iter().map(|debt| debt as f64).collect();
        let granted = granted && times > 0;
        if !granted {
            for ((key, ask), debt) in self.keys.iter().zip(&self.asks).zip(&debts) {
                // To look at a new bucket keeps nothing of it. If it does not begin full, a refusal without a call
                // would be one from which on it does not fill.
                if times > 0 || ask.initial <= 0.0 {
                    inner.denied.stands(key, *debt);
                }
            }
        }
        Ok((granted, debts))
    }
}
