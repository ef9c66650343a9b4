//! What a limiter is made of.

use std::borrow::Cow;
use std::time::Duration;

use super::core::{Core, Settings};
use super::fallback::Fallback;
use super::limiter::Limiter;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::header::rate_limit::is_name;
use crate::policy::bucket::{Quota, Terms};
#[cfg(feature = "redis")]
use crate::store::shared::buckets::SharedBuckets;

/// Settings of a [`Limiter`].
#[derive(Clone, Debug)]
#[must_use]
pub struct LimiterBuilder {
    pub(super) settings: Settings,
}

impl LimiterBuilder {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            settings: Settings {
                quota,
                name: None,
                max_keys: 65_536,
                max_debt: None,
                initial: None,
                clock: Clock::system(),
                shared: None,
                fallback: None,
                secret: Vec::new(),
                leases: None,
            },
        }
    }

    /// What the policy is called in `RateLimit`, in refusals, and in Redis, where limiters of one name share
    /// their buckets. 1 to 64 visible ASCII characters without `"` and `\`. Default: `default`; needed with Redis.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// For how many keys there is room at the same time, at 23 bytes each, taken at once. Default: 65 536.
    ///
    /// A key needs room until its bucket is full again. When there are more, those with the smallest debt are
    /// forgotten first: each may then take at most that debt again.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.settings.max_keys = keys;
        self
    }

    /// How many tokens a bucket may owe beyond being empty, when more was used than was reserved. Default: as many as
    /// its capacity.
    pub fn max_debt(mut self, tokens: u64) -> Self {
        self.settings.max_debt = Some(tokens);
        self
    }

    /// How many tokens a bucket holds that nobody has used before. Default: it is full.
    ///
    /// For keys that anybody can make up as many of as they like: each begins with so much, and fills from then on. A
    /// key counts as new again when its bucket has been full for as long as an empty one takes to fill.
    pub fn initial_level(mut self, tokens: u64) -> Self {
        self.settings.initial = Some(tokens);
        self
    }

    /// Where it takes the time from. With Redis, the buckets there go by the time of the server.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Shares the buckets with all processes that use this Redis: one round trip for each decision.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: crate::Redis) -> Self {
        self.settings.shared = Some(SharedBuckets::new(redis));
        self
    }

    /// What happens while Redis does not answer. Default: `Fallback::Local { share: 1 }`, each process grants the
    /// whole quota.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.settings.fallback = Some(fallback);
        self
    }

    /// Lets each of `nodes` processes take tokens of a bucket in Redis in advance, so that most decisions need no call:
    /// as many as the next 200 ms need, and together at most the part `excess` of the capacity. What is not spent goes
    /// back. Default: each decision asks Redis.
    ///
    /// Any window may see that part more, because tokens are spent later than they were taken; in the long run
    /// nothing is admitted that would not be. Where the part is less than a token for each process, all is as without.
    /// Named wrongly, fewer `nodes` than there are, the excess is larger in proportion.
    pub fn leases(mut self, nodes: u32, excess: f64) -> Self {
        self.settings.leases = Some((nodes, excess, false));
        self
    }

    /// As [`leases`](Self::leases), but the part is left in the bucket: no window sees more than without, and a
    /// burst has that part less.
    pub fn capped_leases(mut self, nodes: u32, part: f64) -> Self {
        self.settings.leases = Some((nodes, part, true));
        self
    }

    /// Keys the hash under which a principal lies in Redis, so that who reads Redis cannot find out addresses by
    /// trying them all. The same for all processes. Default: none.
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.settings.secret = secret.into();
        self
    }

    #[cfg(feature = "redis")]
    pub(super) fn shared(mut self, shared: SharedBuckets) -> Self {
        self.settings.shared = Some(shared);
        self
    }

    /// Makes the limiter.
    ///
    /// # Errors
    ///
    /// The first contradiction, with the line to write instead.
    pub fn build(self) -> Result<Limiter, ConfigError> {
        self.validate()?;
        Core::new(self.settings).map(Limiter::from_core)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let settings = &self.settings;
        Terms::of(&settings.quota)?;
        if let Some(name) = &settings.name {
            if !is_name(name) {
                return Err(ConfigError::new(
                    format!("a policy cannot be called `{name}`"),
                    "`.name(\"per-minute\")`: 1 to 64 visible ASCII characters without quotes",
                ));
            }
        }
        if settings.shared.is_some() && settings.name.is_none() {
            return Err(ConfigError::new(
                "a quota in Redis needs a name: limiters of one name share their buckets",
                "`.name(\"login\")` beside `.redis(..)`",
            ));
        }
        if settings.initial() > settings.quota.tokens() {
            return Err(ConfigError::new(
                "a bucket cannot begin with more than it holds",
                "an `.initial_level(..)` of at most the capacity, or no such line",
            ));
        }
        if settings.max_keys == 0 || settings.max_keys > 1 << 32 {
            return Err(ConfigError::new(
                "a table has room for 1 to 4294967296 keys",
                "`.max_keys(65_536)`",
            ));
        }
        let unfit = |(nodes, part, _): &(u32, f64, bool)| *nodes == 0 || !(0.0..1.0).contains(part);
        if settings.leases.as_ref().is_some_and(unfit) {
            return Err(ConfigError::new(
                "leases are for some processes and a part of the capacity",
                "`.leases(4, 0.1)` for four processes, which hold at most a tenth together",
            ));
        }
        if let Some(Fallback::Local { share }) = settings.fallback {
            let instead = "`Fallback::Local { share: 4 }` for four processes";
            if share == 0 {
                let problem = "a share of zero processes is nothing";
                return Err(ConfigError::new(problem, instead));
            }
            if Terms::of(&settings.quota.share(share)).is_err() {
                let problem = "so small a share of the quota takes years to refill";
                return Err(ConfigError::new(problem, instead));
            }
        }
        self.validate_alone()?;
        let longest = settings
            .quota
            .refill_time()
            .saturating_add(settings.debt_time());
        if longest > Duration::from_secs(20 * 366 * 86_400) {
            return Err(ConfigError::new(
                "a debt that takes more than ten years to pay is a ban",
                "a smaller `.max_debt(..)`, or a deny list",
            ));
        }
        Ok(())
    }

    /// Without Redis, nothing may be said of what happens with it: somebody believes to have it.
    fn validate_alone(&self) -> Result<(), ConfigError> {
        let settings = &self.settings;
        let idle = [
            (settings.fallback.is_some(), "`.fallback(..)`"),
            (settings.leases.is_some(), "`.leases(..)`"),
            (!settings.secret.is_empty(), "`.secret(..)`"),
        ];
        match idle.iter().find(|(said, _)| *said) {
            Some((_, setting)) if settings.shared.is_none() => Err(ConfigError::new(
                format!("{setting} says nothing without Redis"),
                "`.redis(redis).name(\"api\")` beside it, or no such line",
            )),
            _ => Ok(()),
        }
    }
}
