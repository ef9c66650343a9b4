//! The token bucket: admitted, or how long to wait.
//!
//! A bucket holds up to its capacity and is refilled steadily. What is remembered of it is one number, the
//! time at which it will be full again (its "theoretical arrival time", as GCRA calls it): what lies
//! ahead of now is its *debt*, and a bucket nobody has asked for so long that it is full need not be
//! remembered at all.
//!
//! That time is counted in units of the quota's own, a whole number of which makes one token. So no charge
//! is ever rounded and nothing drifts; only the clock is rounded, once per reading, by less than a
//! nanosecond.

use std::time::Duration;

use crate::error::ConfigError;

/// The longest time in which a bucket may be refilled, and the longest period.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The largest number of tokens: what structured fields can tell (RFC 9651 §3.3.1).
const MOST: u64 = 999_999_999_999_999;

/// What debts in Redis are rounded up by, at most.
const ROUNDED: Duration = Duration::from_micros(2);

/// How much may pass: a refill rate, and a capacity for what comes at once.
///
/// Over any time *w*, at most `capacity + rate · w` tokens are admitted. A bucket starts full, unless the limiter has
/// an [initial level](crate::limit::LimiterBuilder::initial_level).
///
/// ```
/// use std::time::Duration;
/// use larder::Quota;
///
/// Quota::per_minute(120);                           // 120 at once, then one each half second
/// Quota::per_second(50).capacity(10);               // 10 at once, then one each 20 ms
/// Quota::new(1, Duration::from_millis(1_500));      // one each 1.5 s
/// ```
///
/// Contradictions (nothing per period, a capacity of zero) are told where the quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    capacity: u64,
    count: u64,
    period: Duration,
}

impl Quota {
    /// `count` tokens per `period`, as many of them at once.
    pub const fn new(count: u64, period: Duration) -> Self {
        Self {
            capacity: count,
            count,
            period,
        }
    }

    /// `count` tokens per second, as many of them at once.
    pub const fn per_second(count: u64) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` tokens per minute, as many of them at once.
    pub const fn per_minute(count: u64) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// `count` tokens per hour, as many of them at once.
    pub const fn per_hour(count: u64) -> Self {
        Self::new(count, Duration::from_secs(3600))
    }

    /// Never more than `count` in any `window`, wherever it begins: for an upstream that counts in windows, of
    /// which nobody knows where they begin.
    ///
    /// A bucket of `count` refilled with `count` per window may let twice as many pass in one. So this is one of a
    /// tenth of them, refilled with the rest.
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder::limit::Quota;
    ///
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(Quota::strict(1000, minute), Quota::new(900, minute).capacity(100));
    /// ```
    pub const fn strict(count: u64, window: Duration) -> Self {
        match count {
            0 | 1 => Self::new(count, window),
            count => {
                let capacity = count.div_ceil(10);
                Self::new(count - capacity, window).capacity(capacity)
            }
        }
    }

    /// How many tokens a full bucket holds, which is what may pass at once. Default: those of one period.
    #[must_use]
    pub const fn capacity(mut self, tokens: u64) -> Self {
        self.capacity = tokens;
        self
    }

    /// How many tokens a full bucket holds.
    pub const fn tokens(&self) -> u64 {
        self.capacity
    }

    /// How many tokens are refilled per [`period`](Self::period).
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The time in which [`count`](Self::count) tokens are refilled.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The time in which an empty bucket is full again, rounded up to a nanosecond.
    pub fn refill_time(&self) -> Duration {
        let nanos = u128::from(self.capacity) * self.period.as_nanos();
        from_nanos(nanos.div_ceil(u128::from(self.count.max(1))))
    }

    /// One `share`th of it: what each of so many may take, who cannot ask each other.
    #[must_use]
    pub(crate) fn share(&self, share: u32) -> Self {
        let share = share.max(1);
        Self {
            capacity: (self.capacity / u64::from(share)).max(1),
            count: self.count,
            period: self.period.saturating_mul(share),
        }
    }

    /// What a bucket with this debt has said to one who asked for `cost` tokens: the debt is the one
    /// after the charge if it was `taken`.
    pub(crate) fn answered(&self, debt: Duration, cost: u64, taken: bool) -> Decision {
        let of = |tokens: u64| {
            let nanos = u128::from(tokens) * self.period.as_nanos();
            from_nanos(nanos.div_ceil(u128::from(self.count.max(1))))
        };
        let full_in = if taken { debt } else { debt + of(cost) };
        let spare = of(self.capacity).saturating_sub(full_in).as_nanos();
        if taken || full_in <= of(self.capacity) + ROUNDED {
            // Redis rounds up to microseconds, which must not make a whole token less.
            let left = (spare + ROUNDED.as_nanos()) * u128::from(self.count)
                / self.period.as_nanos().max(1);
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            return Decision::Admitted {
                left: left.min(self.capacity),
                full_in: full_in.saturating_sub(ROUNDED),
            };
        }
        let wait = full_in.saturating_sub(of(self.capacity));
        // What Redis rounds up is less than what it admits too early, where a token takes long.
        let rounded = if of(1) >= Duration::from_secs(2) {
            ROUNDED
        } else {
            Duration::ZERO
        };
        Decision::Refused {
            wait: wait.saturating_sub(rounded),
        }
    }

    /// Looks for contradictions.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let refuse =
            |problem: &'static str, instead: &'static str| Err(ConfigError::new(problem, instead));
        if self.count == 0 {
            return refuse(
                "a quota of nothing per period refuses every request for ever",
                "`Quota::per_minute(120)`, or a route that answers 403",
            );
        }
        if self.period.is_zero() {
            return refuse(
                "a period of zero refills without limit",
                "`Quota::new(120, Duration::from_secs(60))`, or no limit",
            );
        }
        if self.capacity == 0 {
            return refuse(
                "a capacity of zero refuses every request for ever",
                "`.capacity(1)` for requests one by one",
            );
        }
        if self.count > MOST || self.capacity > MOST {
            return refuse(
                "a quota has at most 999999999999999 tokens",
                "`Quota::per_second(1_000_000)`, or no limit",
            );
        }
        if u128::from(self.count) > self.period.as_nanos() {
            return refuse(
                "a quota refills at most one token per nanosecond",
                "`Quota::per_second(1_000_000)`, or no limit",
            );
        }
        if self.period > LONGEST || self.refill_time() > LONGEST {
            return refuse(
                "a bucket that takes more than ten years to refill does not refill",
                "`Quota::per_hour(1)`, or a smaller `.capacity(..)`",
            );
        }
        Ok(())
    }
}

/// What a bucket says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Decision {
    /// It may pass.
    Admitted {
        /// Whole tokens that are left.
        left: u64,
        /// When the bucket is full again, if nobody else asks.
        full_in: Duration,
    },
    /// There are too few tokens.
    Refused {
        /// When there are enough, if nobody else asks. Whoever waits exactly this long is admitted.
        wait: Duration,
    },
    /// It costs more than the bucket can hold: no waiting helps.
    Never,
    /// Nobody knows, because Redis did not answer, and the limiter is
    /// [set](crate::limit::Fallback::Closed) to refuse then.
    Unavailable,
}

impl Decision {
    /// Whether it may pass.
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

/// A quota in its own unit of time, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Units of time in which one token is refilled: as many as nanoseconds, rounded up.
    token: u64,
    /// One over that, in 2^-64ths, rounded down.
    per_token: u64,
    /// The debt of an empty bucket.
    tolerance: u64,
    capacity: u64,
    /// By how much a bucket may seem too empty, which is what clocks round: less than a millionth of a token. Then
    /// waits are told exactly, and a whole number of seconds stays one. It does not add up: the debt
    /// stays what it is.
    grace: u64,
    /// The debt of a bucket that nobody remembers, and how long one is remembered that is full: not at all, where
    /// that makes no difference.
    initial: u64,
    memory: u64,
    /// Units per nanosecond, 1 to 2, and the reverse; in 2^-62nds.
    units: u64,
    nanos: u64,
}

const SHIFT: u32 = 62;

impl Terms {
    /// # Errors
    ///
    /// If the quota contradicts itself.
    pub(crate) fn of(quota: &Quota) -> Result<Self, ConfigError> {
        quota.validate()?;
        let period = quota.period.as_nanos();
        let count = u128::from(quota.count);
        let token = period.div_ceil(count);
        let units = token * count;
        let narrow = |n: u128| u64::try_from(n).expect("a validated quota is small enough");
        Ok(Self {
            token: narrow(token),
            per_token: u64::MAX / narrow(token),
            tolerance: narrow(token * u128::from(quota.capacity)),
            capacity: quota.capacity,
            initial: 0,
            memory: 0,
            grace: if token >> 22 > 0 { 4 } else { 0 },
            units: narrow((units << SHIFT) / period),
            nanos: narrow((period << SHIFT).div_ceil(units)),
        })
    }

    /// Has new buckets hold so many tokens. One that is full is remembered for as long as it takes to refill, so that
    /// whoever waited for it can use it.
    pub(crate) fn starting_with(mut self, tokens: u64) -> Self {
        self.initial = self.price(self.capacity.saturating_sub(tokens));
        self.memory = if self.initial > 0 { self.tolerance } else { 0 };
        self
    }

    /// A bucket that was full by then is forgotten.
    #[inline]
    pub(crate) const fn forgotten(&self, now: Moment) -> Moment {
        Moment(now.0.saturating_sub(self.memory))
    }

    /// This moment, monotonic nanoseconds, as the quota counts it.
    #[inline]
    pub(crate) fn at(&self, nanos: u64) -> Moment {
        Moment(scale(nanos, self.units))
    }

    /// The units of a time, rounded down, at most half of what there is room for.
    pub(crate) fn time(&self, time: Duration) -> u64 {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        scale(nanos.min(u64::MAX >> 2), self.units)
    }

    /// The debt that so many tokens are.
    #[inline]
    pub(crate) fn price(&self, cost: u64) -> u64 {
        cost.saturating_mul(self.token)
    }

    /// The time that a debt takes, give or take a nanosecond.
    #[inline]
    pub(crate) fn duration(&self, debt: u64) -> Duration {
        Duration::from_nanos(scale(debt, self.nanos))
    }

    /// How long to wait for so much: whoever waits so long finds it refilled.
    fn wait(&self, missing: u64) -> Duration {
        let more = if self.grace > 0 { 0 } else { 3 };
        Duration::from_nanos(scale(missing, self.nanos) + more)
    }

    /// What a bucket with this debt says to whoever was admitted.
    #[inline]
    pub(crate) fn admitted(&self, debt: u64) -> Decision {
        Decision::Admitted {
            left: self.whole_tokens(self.tolerance.saturating_sub(debt)),
            full_in: self.duration(debt),
        }
    }

    /// The same in tokens and times that everybody knows.
    #[inline]
    pub(crate) fn decision(&self, said: Said) -> Decision {
        match said {
            Said::Admitted { debt } => self.admitted(debt),
            Said::Refused { missing } => Decision::Refused {
                wait: self.wait(missing),
            },
            Said::Never => Decision::Never,
        }
    }

    /// Divides by the price of a token, which takes a multiplication.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the upper half of 128 bits"
    )]
    fn whole_tokens(&self, time: u64) -> u64 {
        let at_most_one_less = ((u128::from(time) * u128::from(self.per_token)) >> 64) as u64;
        let rest = time - at_most_one_less * self.token;
        at_most_one_less + u64::from(rest >= self.token)
    }
}

#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "factors are at most 2^63, moments at most 2^62"
)]
fn scale(n: u64, factor: u64) -> u64 {
    ((u128::from(n) * u128::from(factor)) >> SHIFT) as u64
}

/// What a bucket says, in the units of one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The debt is this now.
    Admitted {
        debt: u64,
    },
    /// So much has to be refilled first.
    Refused {
        missing: u64,
    },
    Never,
}

/// A moment, in the units of one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) const fn as_units(self) -> u64 {
        self.0
    }
}

/// What is remembered of a bucket: when it is full again. The default is one that nobody remembers, which is full
/// unless the terms say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket(u64);

impl Bucket {
    #[inline]
    pub(crate) const fn from_units(full_at: u64) -> Self {
        Self(full_at)
    }

    #[inline]
    pub(crate) const fn as_units(self) -> u64 {
        self.0
    }

    /// What it lacks to be full.
    #[inline]
    pub(crate) const fn debt(self, now: Moment) -> u64 {
        self.0.saturating_sub(now.0)
    }

    /// The same bucket, or a new one if it is forgotten.
    #[inline]
    pub(crate) const fn met(self, terms: &Terms, now: Moment) -> Self {
        if terms.initial > 0 && (self.0 == 0 || self.0 <= terms.forgotten(now).0) {
            return Self(now.0 + terms.initial);
        }
        self
    }

    /// Takes `cost` tokens if there are as many. A refusal changes nothing.
    #[inline]
    pub(crate) fn take(self, terms: &Terms, cost: u64, now: Moment) -> (Self, Decision) {
        let (bucket, said) = self.ask(terms, cost, now);
        (bucket, terms.decision(said))
    }

    /// The same, answered in the quota's own units: as much as has to be known to try again.
    #[inline]
    pub(crate) fn ask(self, terms: &Terms, cost: u64, now: Moment) -> (Self, Said) {
        if cost > terms.capacity {
            return (self, Said::Never);
        }
        let bucket = self.met(terms, now);
        let debt = bucket.debt(now);
        let after = debt.saturating_add(terms.price(cost));
        if cost == 0 {
            // Nobody's place in a table is worth it.
            return (self, Said::Admitted { debt });
        }
        if after <= terms.tolerance + terms.grace {
            return (Self(now.0 + after), Said::Admitted { debt: after });
        }
        let missing = after - terms.tolerance;
        // A new one is remembered from its first refusal on: otherwise it would never fill.
        (bucket, Said::Refused { missing })
    }

    /// Gives tokens back, never more than it holds when full. One that nobody remembers stays so.
    #[inline]
    pub(crate) fn refund(self, price: u64, now: Moment) -> Self {
        Self(self.0.saturating_sub(price).max(self.0.min(now.0)))
    }

    /// Takes tokens that were used already, whether there are as many or not. The debt that lies
    /// beyond an empty bucket grows to at most `max_debt` by this.
    #[inline]
    pub(crate) fn charge(self, terms: &Terms, price: u64, max_debt: u64, now: Moment) -> Self {
        let debt = self.met(terms, now).debt(now);
        let limit = terms.tolerance.saturating_add(max_debt).max(debt);
        let after = debt.saturating_add(price).min(limit);
        Self(now.0.saturating_add(after))
    }

    /// Admits nobody before `time` has passed.
    pub(crate) fn pause(self, terms: &Terms, time: u64, now: Moment) -> Self {
        let debt = terms.tolerance.saturating_add(time);
        Self(self.met(terms, now).0.max(now.0.saturating_add(debt)))
    }
}

fn from_nanos(nanos: u128) -> Duration {
    let secs = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    Duration::new(secs, rest)
}

#[cfg(test)]
mod tests;
