//! [`Limiter`]: buckets by key, for code that is no HTTP as well.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;

use super::builder::LimiterBuilder;
use super::core::{Charge, Core, Principal};
use super::key::Key;
use super::stats::LimitStats;
use super::take;
use crate::policy::bucket::{Decision, Quota};

/// A handle on the buckets of one quota. Its clones are the same buckets.
///
/// ```
/// use larder::{Limiter, Quota};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let limiter = Limiter::new(Quota::per_minute(2));
/// assert!(limiter.take("ada", 1).await.is_admitted());
/// assert!(limiter.take("ada", 1).await.is_admitted());
/// assert!(!limiter.take("ada", 1).await.is_admitted());
/// assert!(limiter.take("bob", 1).await.is_admitted());
/// # }
/// ```
///
/// In memory nothing ever waits; with [`redis`](LimiterBuilder::redis) all processes share the buckets, and a
/// decision takes one round trip, or the handle's deadline at most. Make one when the program starts: a limiter
/// made per request admits everything.
#[derive(Clone)]
pub struct Limiter {
    pub(super) core: Arc<Core>,
}

impl Limiter {
    /// In memory, for 65 536 keys.
    ///
    /// # Panics
    ///
    /// If the quota contradicts itself; [`builder`](Self::builder) tells it as an error.
    pub fn new(quota: Quota) -> Self {
        match Self::builder(quota).build() {
            Ok(limiter) => limiter,
            Err(error) => panic!("{error}"),
        }
    }

    /// With settings of its own.
    pub fn builder(quota: Quota) -> LimiterBuilder {
        LimiterBuilder::new(quota)
    }

    pub(super) fn from_core(core: Core) -> Self {
        Self {
            core: Arc::new(core),
        }
    }

    /// Takes `cost` tokens from the bucket of `key` if there are as many; a refusal takes nothing.
    pub async fn take(&self, key: impl Into<Key<'_>>, cost: u64) -> Decision {
        let principal = self.core.principal(&key.into());
        self.core.take(principal, cost).await
    }

    /// Takes from several buckets, all or nothing: what each of them says, in order. All granted if
    /// all say [`Admitted`](Decision::Admitted); otherwise nothing was taken. Of one bucket named twice the sum is taken.
    ///
    /// Buckets that many share come last: what was taken from the others before is given back sooner.
    pub async fn take_all(charges: &[(&Self, Key<'_>, u64)]) -> Vec<Decision> {
        let charges: Vec<Charge<'_>> = charges
            .iter()
            .map(|(limiter, key, cost)| {
                let core = &limiter.core;
                core.charge(core.principal(key), *cost)
            })
            .collect();
        take::all(&charges).await
    }

    /// What [`take`](Self::take) would say, which takes nothing.
    pub async fn peek(&self, key: impl Into<Key<'_>>, cost: u64) -> Decision {
        let principal = self.core.principal(&key.into());
        self.core.peek(principal, cost).await
    }

    /// Takes `estimate` tokens for something whose cost is known afterwards.
    ///
    /// ```
    /// # use larder::{Limiter, Quota};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::limit::Decision> {
    /// let tokens = Limiter::new(Quota::per_minute(10_000));
    /// let reserved = tokens.reserve("ada", 1_000).await?; // what a long answer costs
    /// let used = 230; // what this one did
    /// reserved.settle(used).await; // dropped instead, it costs what was reserved
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The refusal, if there are not so many.
    pub async fn reserve(
        &self,
        key: impl Into<Key<'_>>,
        estimate: u64,
    ) -> Result<Reservation, Decision> {
        let principal = self.core.principal(&key.into());
        let alone = AtomicBool::new(false);
        let charge = self.core.charge(principal, estimate).telling(&alone);
        let decision = take::uncounted(&charge).await;
        self.core.count(decision);
        match decision {
            decision @ Decision::Admitted { .. } => Ok(Reservation {
                limiter: self.clone(),
                principal,
                estimate,
                decision,
                alone: alone.into_inner(),
            }),
            refused => Err(refused),
        }
    }

    /// Gives tokens back; a full bucket stays full.
    pub async fn refund(&self, key: impl Into<Key<'_>>, tokens: u64) {
        let principal = self.core.principal(&key.into());
        self.core.settle(principal, tokens, 0, false).await;
    }

    /// Takes tokens that were used already, or as a penalty, whether there are so many or not: the bucket may
    /// come to owe up to [`max_debt`](LimiterBuilder::max_debt).
    pub async fn charge(&self, key: impl Into<Key<'_>>, tokens: u64) {
        let principal = self.core.principal(&key.into());
        self.core.settle(principal, 0, tokens, false).await;
    }

    /// Refuses a key for this long, at least, and twenty years at most. While Redis does not answer, this process
    /// does; the others when it is back.
    pub async fn block(&self, key: impl Into<Key<'_>>, time: Duration) {
        let principal = self.core.principal(&key.into());
        self.core.pause(principal, time).await;
    }

    /// Gives back what was taken in [advance](LimiterBuilder::leases): before a process ends. What it is not told
    /// comes back by itself, in the time that it takes to refill.
    pub async fn return_leases(&self) {
        if let Some(shared) = &self.core.shared {
            shared.buckets.return_leases().await;
        }
    }

    /// What it did so far. Counting the buckets in use reads the whole table.
    pub fn stats(&self) -> LimitStats {
        self.core.stats()
    }

    /// The quota of each bucket.
    pub fn quota(&self) -> Quota {
        self.core.quota
    }

    /// What its policy is called in `RateLimit` and in Redis.
    pub fn name(&self) -> &str {
        &self.core.name
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.core.name)
            .field("quota", &self.core.quota)
            .finish_non_exhaustive()
    }
}

/// Tokens that were taken for something whose cost is not known yet.
///
/// Dropped without [`settle`](Self::settle), as when a client went away, it costs what was reserved.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    limiter: Limiter,
    principal: Principal,
    estimate: u64,
    decision: Decision,
    /// Redis has not charged it.
    alone: bool,
}

impl Reservation {
    /// What the bucket said.
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// Makes it cost `actual` tokens: gives the rest back, or takes more, up to
    /// [`max_debt`](LimiterBuilder::max_debt) beyond an empty bucket.
    pub async fn settle(self, actual: u64) {
        let core = &self.limiter.core;
        core.settle(self.principal, self.estimate, actual, self.alone)
            .await;
    }
}
