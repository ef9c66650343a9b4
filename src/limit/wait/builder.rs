//! What a pacer is made of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::pacer::{Inner, Pacer};
use super::stats::Counters;
use super::tokens::Tokens;
use super::Priority;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::header::rate_limit::is_name;
use crate::limit::Fallback;
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::SharedBuckets;

/// Settings of a [`Pacer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PacerBuilder {
    quota: Quota,
    name: Cow<'static, str>,
    reserves: [f64; 3],
    max_queue: usize,
    max_wait: Duration,
    max_starve: Duration,
    floor: f64,
    max_keys: usize,
    clock: Clock,
    shared: Option<SharedBuckets>,
    fallback: Fallback,
}

impl PacerBuilder {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            quota,
            name: Cow::Borrowed(""),
            reserves: [0.0, 0.10, 0.25],
            max_queue: 1024,
            max_wait: Duration::from_secs(30),
            max_starve: Duration::from_secs(5),
            floor: 0.05,
            max_keys: 1024,
            clock: Clock::system(),
            shared: None,
            fallback: Fallback::Local { share: 1 },
        }
    }

    /// What the bucket is called in Redis, where pacers of one name share it. 1 to 64 visible ASCII characters without
    /// `"` and `\`. Needed with Redis.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Which part of the bucket, 0 to less than 1, calls of this priority leave to more urgent ones: so much is
    /// there at once when one comes. Of the rate they leave nothing. Default: `Normal` a tenth, `Background` a
    /// quarter, in whole tokens, and never so much that nothing is left.
    pub fn reserve(mut self, priority: Priority, part: f64) -> Self {
        self.reserves[priority.place()] = part;
        self
    }

    /// How many may wait for one bucket. One more sheds the least urgent who came last. Default: 1024.
    pub fn max_queue(mut self, calls: usize) -> Self {
        self.max_queue = calls;
        self
    }

    /// How long a call waits, unless it says otherwise. One that would wait for longer fails at once, as far as
    /// that is known. Default: 30 s.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// After so long, one who waits may go before more urgent ones, and for all of those in all processes
    /// together, the part `share` of the rate is there. Default: 5 s, 0.05.
    pub fn starvation(mut self, after: Duration, share: f64) -> Self {
        (self.max_starve, self.floor) = (after, share);
        self
    }

    /// For how many keys calls may wait at the same time, and of how many buckets it knows what was taken. Default: 1024.
    ///
    /// When there are more, the bucket nearest to full for which nobody waits is forgotten: as much as was lacking may
    /// then be taken from it again, unless it lies in Redis.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// Where it takes the time from. With Redis, the buckets there go by the time of the server.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Shares the quota with all processes that use this Redis.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: crate::Redis) -> Self {
        self.shared = Some(SharedBuckets::new(redis));
        self
    }

    /// What happens while Redis does not answer. Default: `Fallback::Local { share: 1 }`; with `share` the number
    /// of processes, they stay within the quota together.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// Makes the pacer.
    ///
    /// # Errors
    ///
    /// The first contradiction, with the line to write instead.
    pub fn build(self) -> Result<Pacer, ConfigError> {
        self.validate()?;
        let name = &*self.name;
        let shared = self.shared.map(|shared| (shared, self.fallback, name));
        let tokens = Tokens::new(self.quota, self.reserves, self.floor, self.clock, shared)?;
        let inner = Inner {
            tokens,
            max_queue: self.max_queue,
            max_wait: self.max_wait,
            max_starve: u64::try_from(self.max_starve.as_nanos()).unwrap_or(u64::MAX),
            max_keys: self.max_keys,
            stats: Counters::default(),
            lines: Mutex::new(HashMap::new()),
        };
        Ok(Pacer {
            inner: Arc::new(inner),
        })
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.quota.validate()?;
        if !self.name.is_empty() && !is_name(&self.name) {
            return Err(ConfigError::new(
                format!("a pacer cannot be called `{}`", self.name),
                "`.name(\"github\")`: 1 to 64 visible ASCII characters without quotes",
            ));
        }
        let refused = [
            (
                self.reserves[0] != 0.0,
                "critical calls leave tokens to nobody: there is nobody more urgent",
                "`.reserve(Priority::Background, 0.25)`",
            ),
            (
                self.reserves.iter().any(|part| !(0.0..1.0).contains(part)),
                "who leaves the whole bucket to others never calls",
                "`.reserve(Priority::Background, 0.25)`, a part of it",
            ),
            (
                !(self.floor > 0.0 && self.floor < 1.0),
                "a share of the rate is more than nothing and less than all of it",
                "`.starvation(Duration::from_secs(5), 0.05)`",
            ),
            (
                self.max_queue == 0 || self.max_wait.is_zero(),
                "where nobody may wait, nothing is paced",
                "a `LimitLayer`, which refuses, or `.max_queue(1024)` and `.max_wait(Duration::from_secs(30))`",
            ),
            (
                self.max_keys == 0,
                "a pacer without keys lets nobody wait",
                "`.max_keys(1024)`",
            ),
            (
                self.shared.is_some() && self.name.is_empty(),
                "a quota in Redis needs a name: pacers of one name share it",
                "`.name(\"github\")` beside `.redis(..)`",
            ),
            (
                self.fallback == Fallback::Local { share: 0 },
                "a share of zero processes is nothing",
                "`Fallback::Local { share: 4 }` for four processes",
            ),
        ];
        match refused.into_iter().find(|(is_so, ..)| *is_so) {
            Some((_, problem, instead)) => Err(ConfigError::new(problem, instead)),
            None => Ok(()),
        }
    }
}
