//! What Redis has not heard of, for it to hear when it is back.
//!
//! What a process admitted alone, its bucket there has refilled meanwhile, as if nobody had asked; and who was
//! blocked, charged or refunded while Redis was away, was so in this process alone. All of it is told afterwards,
//! once, beside the first decision that Redis answers again. Until then this process refuses those who are blocked
//! without asking it.

#![cfg_attr(
    not(feature = "redis"),
    allow(
        unreachable_code,
        unused_variables,
        reason = "there is no Redis to tell"
    )
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::core::Charge;
use crate::clock::Clock;
use crate::policy::bucket::Decision;
use crate::store::shared::buckets::{Change, Policy, SharedBuckets, Unavailable};

/// So many principals are remembered; what the others took is forgiven.
const MOST: usize = 16_384;

/// What is owed to the buckets of one limiter.
pub(super) struct Owed(Arc<Ledger>);

struct Ledger {
    clock: Clock,
    /// Whether there is anything: all that a decision asks while Redis answers.
    any: AtomicBool,
    /// Whether somebody tells Redis now.
    telling: AtomicBool,
    debts: Mutex<HashMap<u128, Debt>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Debt {
    /// To be charged, or given back if less than nothing.
    tokens: i64,
    /// How far beyond an empty bucket they may be charged: what passed, passed, but a penalty is one.
    beyond: u64,
    /// Until when nobody passes, on the clock of this process.
    until: u64,
}

impl Owed {
    pub(super) fn new(clock: Clock) -> Self {
        Self(Arc::new(Ledger {
            clock,
            any: AtomicBool::new(false),
            telling: AtomicBool::new(false),
            debts: Mutex::default(),
        }))
    }

    /// Takes note of what was admitted alone.
    pub(super) fn note(&self, principal: u128, tokens: u64) {
        self.0.change(principal, |debt| debt.add(signed(tokens), 0));
    }

    /// What was admitted alone has cost less.
    pub(super) fn forgive(&self, principal: u128, tokens: u64) {
        if self.0.any.load(Ordering::Acquire) {
            let less = |debt: &mut Debt| {
                debt.tokens = debt
                    .tokens
                    .min(debt.tokens.saturating_sub(signed(tokens)).max(0));
            };
            self.0.change(principal, less);
        }
    }

    /// Takes note of a change that failed. What may have been carried out is not repeated, but for a block, which
    /// is the same twice.
    pub(super) fn keep(&self, principal: u128, change: Change, why: Unavailable) {
        let add = match change {
            Change::Pause(time) => {
                let until = self.0.clock.nanos().saturating_add(nanos(time));
                return self
                    .0
                    .change(principal, |debt| debt.until = debt.until.max(until));
            }
            _ if why == Unavailable::TimedOut => return,
            Change::Refund(tokens) => (-signed(tokens), 0),
            Change::Charge { tokens, beyond } => (signed(tokens), beyond),
        };
        self.0.change(principal, |debt| debt.add(add.0, add.1));
    }

    /// For how long nobody passes, as Redis does not know.
    fn blocks(&self, principal: u128) -> Option<Duration> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        let until = self.0.debts.lock().get(&principal)?.until;
        let wait = until.saturating_sub(self.0.clock.nanos());
        (wait > 0).then(|| Duration::from_nanos(wait))
    }

    /// Redis answers. Nobody waits for it to hear the rest.
    pub(super) fn settle(&self, buckets: &SharedBuckets, policy: &Policy) {
        if !self.0.any.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.0.telling.swap(true, Ordering::AcqRel) {
            return;
        }
        let telling = Telling {
            ledger: Arc::clone(&self.0),
            buckets: buckets.clone(),
            policy: policy.clone(),
        };
        runtime.spawn(telling.tell());
    }
}

/// What is said without asking Redis, where one of those who ask is blocked and Redis has not heard of it.
pub(super) fn blocked(charges: &[Charge<'_>]) -> Option<Vec<Decision>> {
    let blocks = |charge: &Charge<'_>| {
        let shared = charge.core.shared.as_ref()?;
        let wait = shared.owed.blocks(charge.principal.shared)?;
        shared.owed.settle(&shared.buckets, &shared.policy);
        Some(wait)
    };
    let waits: Vec<_> = charges.iter().map(blocks).collect();
    waits.iter().flatten().next()?;
    let said = charges.iter().zip(waits).map(|(charge, wait)| match wait {
        Some(wait) => Decision::Refused { wait },
        None => charge
            .core
            .alone(charge.core.peek_here(charge.principal, charge.cost)),
    });
    Some(said.collect())
}

impl Debt {
    fn add(&mut self, tokens: i64, beyond: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.beyond = self.beyond.max(beyond);
    }

    /// What makes it good, but for the block.
    fn change(&self) -> Option<Change> {
        let tokens = self.tokens.unsigned_abs();
        match self.tokens {
            0 => None,
            1.. => Some(Change::Charge {
                tokens,
                beyond: self.beyond,
            }),
            _ => Some(Change::Refund(tokens)),
        }
    }
}

impl Ledger {
    fn change(&self, principal: u128, change: impl FnOnce(&mut Debt)) {
        let mut debts = self.debts.lock();
        if debts.len() >= MOST && !debts.contains_key(&principal) {
            return;
        }
        let debt = debts.entry(principal).or_default();
        change(debt);
        if *debt == Debt::default() {
            debts.remove(&principal);
        }
        self.any.store(!debts.is_empty(), Ordering::Release);
    }
}

/// Whoever tells Redis. Gone, another may.
struct Telling {
    ledger: Arc<Ledger>,
    buckets: SharedBuckets,
    policy: Policy,
}

impl Telling {
    async fn tell(self) {
        let principals: Vec<u128> = self.ledger.debts.lock().keys().copied().collect();
        for principal in principals {
            if self.tell_of(principal).await.is_err() {
                return; // Away again. The rest is told next time.
            }
        }
    }

    async fn tell_of(&self, principal: u128) -> Result<(), Unavailable> {
        let adjust = |change| self.buckets.adjust(principal, &self.policy, change);
        let mut owed = Debt::default();
        // The block holds here until Redis knows of it.
        self.ledger.change(principal, |debt| {
            owed = *debt;
            (debt.tokens, debt.beyond) = (0, 0);
        });
        if let Some(change) = owed.change() {
            if let Err(why) = adjust(change).await {
                if why != Unavailable::TimedOut {
                    let again = |debt: &mut Debt| debt.add(owed.tokens, owed.beyond);
                    self.ledger.change(principal, again);
                }
                return Err(why);
            }
        }
        let rest = owed.until.saturating_sub(self.ledger.clock.nanos());
        if rest > 0 {
            adjust(Change::Pause(Duration::from_nanos(rest))).await?;
        }
        self.ledger.change(principal, |debt| {
            if debt.until == owed.until {
                debt.until = 0;
            }
        });
        Ok(())
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.ledger.telling.store(false, Ordering::Release);
    }
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
