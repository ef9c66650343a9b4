//! Taking: from one bucket or from several, here or from Redis.
//!
//! Of several, all grant or nothing is taken. Those in this process are looked at before any is taken from, so
//! that a refusal writes nothing; they come first, because what was taken from them is given back at once
//! should a bucket in Redis refuse.

use std::time::Duration;

use super::core::{Charge, Core, Principal, Shared};
use super::fallback::Fallback;
use super::owed::blocked;
use crate::policy::bucket::{Decision, Quota};
use crate::store::shared::buckets::{self as shared, Taken, Unavailable};

/// What a limiter that opens without Redis says while this process asks Redis too much: a crowd must not open it.
const CROWDED: Decision = Decision::Refused {
    wait: Duration::from_millis(100),
};

impl Core {
    /// Takes from one bucket.
    pub(super) async fn take(&self, principal: Principal, cost: u64) -> Decision {
        let decision = uncounted(&self.charge(principal, cost)).await;
        self.count(decision);
        decision
    }

    /// What [`take`](Self::take) would say.
    pub(super) async fn peek(&self, principal: Principal, cost: u64) -> Decision {
        let Some(shared) = &self.shared else {
            return self.peek_here(principal, cost);
        };
        if cost > shared.policy.quota().tokens() {
            return Decision::Never;
        }
        let charge = [self.charge(principal, cost)];
        if let Some(mut said) = blocked(&charge) {
            return said.remove(0);
        }
        let asked = asked(&charge);
        match shared.buckets.peek(&asked).await {
            Ok(taken) => read(&charge, &taken, false).remove(0),
            Err(why) => match shared.fallback {
                Fallback::Local { .. } => match self.peek_here(principal, cost) {
                    // As `take_alone` has it.
                    Decision::Never => Decision::Refused {
                        wait: self.quota.refill_time(),
                    },
                    decision => decision,
                },
                Fallback::Open if why == Unavailable::Busy => CROWDED,
                Fallback::Open => Decision::Admitted {
                    left: self.quota.tokens(),
                    full_in: Duration::ZERO,
                },
                Fallback::Closed => Decision::Unavailable,
            },
        }
    }
}

/// Takes from several buckets, all or nothing.
pub(super) async fn all(charges: &[Charge<'_>]) -> Vec<Decision> {
    let (merged, places) = merged(charges);
    let mut decisions = vec![Decision::Unavailable; merged.len()];
    let (here, there): (Vec<usize>, Vec<usize>) =
        (0..merged.len()).partition(|n| merged[*n].core.shared.is_none());
    let pick = |places: &[usize]| places.iter().map(|n| merged[*n]).collect::<Vec<_>>();
    let local = pick(&here);
    let told = here_all(&local);
    let mut admitted = told.iter().all(Decision::is_admitted);
    set(&mut decisions, &here, told);
    let mut taken = here;
    for group in by_handle(&merged, there) {
        let charges = pick(&group);
        let told = match (
            admitted,
            charges.first().and_then(|c| c.core.shared.as_ref()),
        ) {
            (true, Some(shared)) => from_redis(shared, &charges).await,
            _ => unasked(&charges),
        };
        let grants = admitted && told.iter().all(Decision::is_admitted);
        set(&mut decisions, &group, told);
        if grants {
            taken.extend(group);
        } else if admitted {
            give_back(&pick(&taken));
            admitted = false;
        }
    }
    count(&merged, &decisions);
    places.into_iter().map(|n| decisions[n]).collect()
}

/// Takes from one bucket, and leaves it to others to count that.
pub(super) async fn uncounted(charge: &Charge<'_>) -> Decision {
    match &charge.core.shared {
        None => charge.core.take_here(charge.principal, charge.cost),
        Some(shared) => {
            let mut decisions = from_redis(shared, &[*charge]).await;
            decisions.pop().unwrap_or(Decision::Unavailable)
        }
    }
}

/// Takes from several buckets of this process, all or nothing.
pub(super) fn all_here(charges: &[Charge<'_>]) -> Vec<Decision> {
    let (merged, places) = merged(charges);
    let decisions = here_all(&merged);
    count(&merged, &decisions);
    places.into_iter().map(|n| decisions[n]).collect()
}

fn here_all(charges: &[Charge<'_>]) -> Vec<Decision> {
    let look = |charge: &Charge<'_>| charge.core.look_here(charge.principal, charge.cost);
    let mut decisions: Vec<_> = charges.iter().map(look).collect();
    if !decisions.iter().all(Decision::is_admitted) {
        return decisions;
    }
    for (n, charge) in charges.iter().enumerate() {
        decisions[n] = charge.core.take_here(charge.principal, charge.cost);
        if !decisions[n].is_admitted() {
            // Somebody was faster. To give back can only have refused others meanwhile.
            for charge in &charges[..n] {
                let _ = charge.core.settle_here(charge.principal, charge.cost, 0);
            }
            break;
        }
    }
    decisions
}

/// One charge for each bucket, and where those that were asked for are now.
fn merged<'a>(charges: &[Charge<'a>]) -> (Vec<Charge<'a>>, Vec<usize>) {
    let mut merged: Vec<Charge<'a>> = Vec::with_capacity(charges.len());
    let place = |charge: &Charge<'a>| {
        let same = |other: &Charge<'a>| {
            std::ptr::eq(other.core, charge.core) && other.principal == charge.principal
        };
        if let Some(n) = merged.iter().position(same) {
            merged[n].cost = merged[n].cost.saturating_add(charge.cost);
            return n;
        }
        merged.push(*charge);
        merged.len() - 1
    };
    let places = charges.iter().map(place).collect();
    (merged, places)
}

/// Those in one Redis stand together: principals that all share last, as they are given back most rarely then.
fn by_handle(charges: &[Charge<'_>], mut there: Vec<usize>) -> Vec<Vec<usize>> {
    there.sort_by_key(|n| (charges[*n].principal.everyone, charges[*n].principal.shared));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for n in there {
        let handle = |n: usize| {
            charges[n]
                .core
                .shared
                .as_ref()
                .map(|shared| &shared.buckets)
        };
        let same = |group: &&mut Vec<usize>| match (handle(group[0]), handle(n)) {
            (Some(a), Some(b)) => a.is_same(b),
            _ => false,
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(n),
            None => groups.push(vec![n]),
        }
    }
    groups
}

/// Asks Redis, or does without. The charges are of limiters with the same handle.
async fn from_redis(shared: &Shared, charges: &[Charge<'_>]) -> Vec<Decision> {
    if let Some(said) = blocked(charges) {
        return said;
    }
    if charges.iter().any(|charge| is_too_much(charge, charges)) {
        return unasked(charges);
    }
    match shared.buckets.take(&asked(charges)).await {
        Ok(taken) => {
            for charge in charges {
                if let Some(shared) = &charge.core.shared {
                    shared.owed.settle(&shared.buckets, &shared.policy);
                }
            }
            if taken.granted {
                for charge in charges {
                    charge.core.note(charge.principal, charge.cost);
                }
            }
            read(charges, &taken, taken.granted)
        }
        Err(why) => without_redis(charges, why),
    }
}

/// Each charge as its limiter's fallback says, all or nothing.
fn without_redis(charges: &[Charge<'_>], why: Unavailable) -> Vec<Decision> {
    let mut decisions = Vec::with_capacity(charges.len());
    for (n, charge) in charges.iter().enumerate() {
        let Some(shared) = &charge.core.shared else {
            continue;
        };
        tracing::debug!(%why, policy = &*charge.core.name, "limiting without redis");
        let decision = match shared.fallback {
            Fallback::Open if why == Unavailable::Busy => CROWDED,
            fallback => charge.core.take_alone(charge, fallback),
        };
        decisions.push(decision);
        if !decision.is_admitted() {
            for charge in &charges[..n] {
                let _ = charge.core.settle_here(charge.principal, charge.cost, 0);
            }
            decisions.extend(unasked(&charges[n + 1..]));
            return decisions;
        }
    }
    for charge in charges {
        if let Some(shared) = &charge.core.shared {
            charge.note_alone(shared);
        }
    }
    decisions
}

fn asked<'a>(charges: &[Charge<'a>]) -> Vec<shared::Charge<'a>> {
    let asked = |charge: &Charge<'a>| {
        let shared = charge.core.shared.as_ref()?;
        Some(shared::Charge {
            principal: charge.principal.shared,
            policy: &shared.policy,
            cost: charge.cost,
        })
    };
    charges.iter().filter_map(asked).collect()
}

/// The quota of the buckets in Redis.
fn quota<'a>(charge: &Charge<'a>) -> &'a Quota {
    let shared = charge.core.shared.as_ref();
    shared.map_or(&charge.core.quota, |shared| shared.policy.quota())
}

/// What all of these ask of the bucket that one of them asks: limiters of one name share it.
fn asked_of_bucket(charge: &Charge<'_>, charges: &[Charge<'_>]) -> u64 {
    let same = charges.iter().filter(|other| {
        other.principal.shared == charge.principal.shared && other.core.name == charge.core.name
    });
    same.fold(0, |sum, other| sum.saturating_add(other.cost))
}

fn is_too_much(charge: &Charge<'_>, charges: &[Charge<'_>]) -> bool {
    asked_of_bucket(charge, charges) > quota(charge).tokens()
}

/// What is said of limits in Redis that were not asked, because another one refuses already: none that they
/// refuse, unless it is more than they hold.
fn unasked(charges: &[Charge<'_>]) -> Vec<Decision> {
    let say = |charge: &Charge<'_>| match is_too_much(charge, charges) {
        true => Decision::Never,
        false => charge.core.peek_here(charge.principal, 0),
    };
    charges.iter().map(say).collect()
}

/// What the debts in Redis mean.
fn read(charges: &[Charge<'_>], taken: &Taken, charged: bool) -> Vec<Decision> {
    let said = charges.iter().zip(&taken.debts).map(|(charge, debt)| {
        let cost = asked_of_bucket(charge, charges);
        quota(charge).answered(*debt, cost, charged)
    });
    let mut decisions: Vec<_> = said.collect();
    decisions.resize(charges.len(), Decision::Unavailable);
    if !taken.granted && decisions.iter().all(Decision::is_admitted) {
        // A refusal is one, even where rounding hides it: at the bucket that has the least.
        let left = |decision: &&mut Decision| match decision {
            Decision::Admitted { left, .. } => *left,
            _ => 0,
        };
        if let Some(tightest) = decisions.iter_mut().min_by_key(left) {
            let wait = Duration::from_millis(1);
            *tightest = Decision::Refused { wait };
        }
    }
    decisions
}

/// Nobody waits for Redis to hear it.
fn give_back(charges: &[Charge<'_>]) {
    for charge in charges {
        let _ = charge.core.settle_here(charge.principal, charge.cost, 0);
        if let Some(shared) = &charge.core.shared {
            let principal = charge.principal.shared;
            shared
                .buckets
                .give_back(principal, &shared.policy, charge.cost);
        }
    }
}

fn set(decisions: &mut [Decision], places: &[usize], told: Vec<Decision>) {
    for (place, decision) in places.iter().zip(told) {
        decisions[*place] = decision;
    }
}

/// A refusal is counted where it was made; a limit that would have admitted has not.
fn count(charges: &[Charge<'_>], decisions: &[Decision]) {
    let all = decisions.iter().all(Decision::is_admitted);
    for (charge, decision) in charges.iter().zip(decisions) {
        if all || !decision.is_admitted() {
            charge.core.count(*decision);
        }
    }
}
