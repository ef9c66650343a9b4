//! Several buckets at once: those of one principal in one call, one principal after the other.

use std::sync::Arc;
use std::time::Duration;

use super::denied::duration;
use super::handle::{Inner, Key};
use super::policy::Ask;
use super::scripts;
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
    let budget = Budget::of(inner.redis.deadline());
    let (mut granted, mut debts) = (true, Vec::with_capacity(charges.len()));
    let mut given = Given { inner, groups: &[] };
    for (place, group) in groups.iter().enumerate() {
        let left = budget.left().ok_or(Unavailable::TimedOut)?;
        // After a refusal the others are asked how they stand, so that what is told to wait is enough.
        let (all, debt) = group.ask(inner, u64::from(granted), left).await?;
        granted &= all;
        if granted {
            given.groups = &groups[..=place];
        }
        debts.extend(group.places.iter().map(|place| debt[*place]));
    }
    if granted {
        given.groups = &[];
    } else {
        without(&mut debts, given.groups);
    }
    let debts = debts.into_iter().map(duration).collect();
    Ok(Taken { granted, debts })
}

/// The debts, once these groups have been given back what they were charged.
fn without(debts: &mut [f64], groups: &[Group]) {
    let taken = groups.iter().flat_map(|group| {
        let price = |place: &usize| group.asks[*place].price;
        group.places.iter().map(price)
    });
    for (debt, price) in debts.iter_mut().zip(taken) {
        *debt -= price;
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
        let (granted, debts) = scripts::take(&inner.redis, &keys, &self.asks, times, limit).await?;
        let debts = debts.into_iter().map(|debt| debt as f64).collect();
        Ok((granted && times > 0, debts))
    }
}
