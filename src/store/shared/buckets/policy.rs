//! What the scripts are told of a policy, and what they are asked.

use std::time::Duration;

use crate::clock::millis;
use crate::policy::bucket::Quota;

/// Kept for so much longer than it takes to refill: clocks and expiry are not that exact.
const SLACK: Duration = Duration::from_secs(1);
/// A part of a token by which a bucket may seem too empty: what doubles round away.
const ROUNDED: f64 = 1e-6;
/// And the most of it (microseconds): a debt of ten years has doubles an eighth apart.
const MOST_ROUNDED: f64 = 4.0;
/// The longest time in which a lease is to be spent.
const TURN: Duration = Duration::from_millis(200);

/// One policy, as Redis keeps it: all its times are those that refill something.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    name: Box<str>,
    /// Of its buckets: with less capacity than was asked for, where leases are capped.
    quota: Quota,
    /// What refills one token (microseconds).
    token: f64,
    /// The debt of an empty bucket (microseconds).
    tolerance: f64,
    /// What a new bucket holds.
    initial: u64,
    kept: Duration,
    /// The most tokens of a lease, and in what time it is to be spent.
    lease: Option<(u64, Duration)>,
}

/// How tokens may be taken in advance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leasing {
    /// The most tokens of one lease, 2 or more.
    pub(super) most: u64,
    /// In which a lease is to be spent.
    pub(super) turn: Duration,
    /// What is asked for one token.
    pub(super) token: Ask,
}

impl Leasing {
    /// How many tokens are asked for.
    pub(super) fn tokens(&self, ask: &Ask) -> u64 {
        (ask.price / self.token.price).round() as u64
    }
}

impl Policy {
    /// A quota, which has been validated. The name tells the policies of one principal apart.
    pub(crate) fn new(name: &str, quota: &Quota) -> Self {
        let token = quota.period().as_secs_f64() * 1e6 / quota.count().max(1) as f64;
        Self {
            name: name.into(),
            quota: *quota,
            token,
            tolerance: token * quota.tokens() as f64 + (token * ROUNDED).min(MOST_ROUNDED),
            initial: quota.tokens(),
            kept: quota.refill_time().saturating_add(SLACK),
            lease: None,
        }
    }

    /// Has new buckets hold so many tokens. Then one that is full is kept for as long again as it takes to refill.
    #[must_use]
    pub(crate) fn starting_with(mut self, tokens: u64) -> Self {
        if tokens < self.quota.tokens() {
            self.initial = tokens;
            self.kept = self.kept.saturating_add(self.quota.refill_time());
        }
        self
    }

    /// Lets each of `nodes` processes take tokens in advance, so that any window admits up to the
    /// part `excess` of the capacity more than it would. With `capped`, that part is left in the bucket
    /// instead, and no window admits more. Where that makes less than two tokens each, nothing is leased.
    #[must_use]
    pub(crate) fn leased(mut self, nodes: u32, excess: f64, capped: bool) -> Self {
        let nodes = f64::from(nodes.max(1));
        let capacity = self.quota.tokens();
        let ahead = (excess * capacity as f64 / nodes).floor();
        if ahead < 1.0 {
            return self;
        }
        let refill = Duration::from_secs_f64(self.tolerance / 1e6);
        self.lease = Some((1 + ahead as u64, refill.min(TURN)));
        if capped {
            let left = capacity.saturating_sub((nodes * ahead) as u64);
            self.quota = self.quota.capacity(left);
            self.tolerance -= nodes * ahead * self.token;
        }
        self
    }

    /// What its buckets hold.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The debt that so many tokens are, in microseconds.
    pub(super) fn price(&self, tokens: u64) -> f64 {
        self.token * tokens as f64
    }

    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// The debt of a new bucket, in microseconds.
    pub(super) fn initial(&self) -> f64 {
        self.price(self.quota.tokens().saturating_sub(self.initial))
    }

    pub(super) fn kept(&self) -> u64 {
        millis(self.kept)
    }

    /// What one who wants so many tokens asks of a bucket.
    pub(super) fn ask(&self, tokens: u64) -> Ask {
        Ask {
            price: self.price(tokens),
            tolerance: self.tolerance,
            initial: self.initial(),
            kept: self.kept(),
        }
    }

    pub(super) fn lease(&self) -> Option<Leasing> {
        let (most, turn) = self.lease?;
        Some(Leasing {
            most,
            turn,
            token: self.ask(1),
        })
    }
}

/// What is asked of one bucket, as scripts are asked it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ask {
    /// What is asked for, more than nothing, and the debt of an empty bucket (microseconds).
    pub(super) price: f64,
    pub(super) tolerance: f64,
    /// The debt of one that is not there (microseconds).
    pub(super) initial: f64,
    /// How long the bucket is kept (milliseconds).
    pub(super) kept: u64,
}

/// What one bucket answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) granted: bool,
    /// Of the bucket, afterwards (microseconds).
    pub(super) debt: f64,
}

impl Ask {
    /// What a bucket with this debt answers.
    pub(super) fn answered(&self, debt: f64) -> Answer {
        let after = debt + self.price;
        let granted = after <= self.tolerance;
        Answer {
            granted,
            debt: if granted { after } else { debt },
        }
    }

    /// What one is told who finds the line full: refused, as if those in it were granted what they ask
    /// for, and for `pause` at least, in which the line moves on.
    pub(super) fn crowded_out(&self, ahead: f64, pause: Duration) -> Answer {
        let soon = self.tolerance - self.price + pause.as_secs_f64() * 1e6;
        Answer {
            granted: false,
            debt: ahead.min(self.tolerance).max(soon),
        }
    }
}
