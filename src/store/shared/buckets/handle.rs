//! The handle: who asks Redis, who waits for another's call, and who need not ask.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::calls::{CallStats, Calls};
use super::denied::{duration, Denied};
use super::lines::{Lines, Place};
use super::policy::{Answer, Ask, Leasing};
use super::prepaid::{Prepaid, Turn};
use super::pump::{Leading, Pump, Waiting};
use super::scripts::{self, Adjustment, Run};
use super::shards::Key;
use super::{groups, Change, Charge, Policy, Taken, Unavailable};
use crate::redis::Redis;
use crate::store::shared::keys::in_braces;

/// The buckets behind one Redis handle. A clone asks for the same ones, in the same lines.
#[derive(Clone)]
pub(crate) struct SharedBuckets {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) redis: Redis,
    /// What all names begin with.
    prefix: String,
    pub(super) lines: Lines,
    pub(super) denied: Denied,
    pub(super) prepaid: Prepaid,
    pub(super) calls: Calls,
}

/// The buckets behind each handle that is in use.
static KNOWN: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

impl SharedBuckets {
    /// The ones behind this handle, whoever asked for them before: what they know is one.
    pub(crate) fn new(redis: Redis) -> Self {
        let mut known = KNOWN.lock();
        known.retain(|inner| inner.strong_count() > 0);
        let mut known_here = known.iter().filter_map(Weak::upgrade);
        if let Some(inner) = known_here.find(|inner| inner.redis.is_same(&redis)) {
            return Self { inner };
        }
        let inner = Arc::new(Inner {
            prefix: format!("{}:b:", redis.prefix()),
            redis,
            lines: Lines::default(),
            denied: Denied::default(),
            prepaid: Prepaid::default(),
            calls: Calls::default(),
        });
        known.push(Arc::downgrade(&inner));
        Self { inner }
    }

    /// Whether both ask for the same buckets, so that one call can.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Takes all charges or none. Those of one principal must stand together, and a principal that
    /// many share (everybody, an upstream) last: what is taken from it is rarely given back then.
    pub(crate) async fn take(&self, charges: &[Charge<'_>]) -> Result<Taken, Unavailable> {
        let limit = self.inner.redis.deadline();
        match charges {
            [charge] if charge.cost > 0 => {
                let Charge {
                    principal,
                    policy,
                    cost,
                } = charge;
                let key = self.inner.key(*principal, policy);
                let (ask, lease) = (policy.ask(*cost), policy.lease());
                let answer = self.inner.take_one(&key, ask, lease, limit).await?;
                Ok(Taken {
                    granted: answer.granted,
                    debts: vec![duration(answer.debt)],
                })
            }
            _ => groups::take(&self.inner, charges).await,
        }
    }

    /// Takes the charge up to `times` times, as often as there is enough. How often, and the debt
    /// afterwards.
    pub(crate) async fn take_up_to(
        &self,
        charge: &Charge<'_>,
        times: u64,
    ) -> Result<(u64, Duration), Unavailable> {
        let inner = &self.inner;
        let key = inner.key(charge.principal, charge.policy);
        let ask = charge.policy.ask(charge.cost);
        let run = Run { ask, number: times };
        let limit = inner.redis.deadline();
        let runs = [run];
        let call = scripts::batch(&inner.redis, &key, 0.0, &runs, limit);
        let (debt, granted) = inner.calls.counted(times, call).await?;
        let granted = granted.first().copied().unwrap_or_default();
        Ok((granted, duration(debt + ask.price * granted as f64)))
    }

    /// What [`take`](Self::take) would say, which takes nothing.
    pub(crate) async fn peek(&self, charges: &[Charge<'_>]) -> Result<Taken, Unavailable> {
        groups::peek(&self.inner, charges).await
    }

    /// Changes one bucket; its debt afterwards.
    pub(crate) async fn adjust(
        &self,
        principal: u128,
        policy: &Policy,
        change: Change,
    ) -> Result<Duration, Unavailable> {
        let key = self.inner.key(principal, policy);
        let adjustment = adjustment(policy, change);
        self.inner.adjust(&key, adjustment).await.map(duration)
    }

    /// Gives back what was taken, in the background.
    pub(crate) fn give_back(&self, principal: u128, policy: &Policy, tokens: u64) {
        if tokens > 0 {
            let key = self.inner.key(principal, policy);
            self.inner.give_back(&key, policy.ask(tokens));
        }
    }

    /// What the calls for these buckets cost so far.
    pub(crate) fn calls(&self) -> CallStats {
        self.inner.calls.snapshot()
    }

    /// Gives back what was taken in advance: before a process ends.
    pub(crate) async fn return_leases(&self) {
        for (key, tokens, token) in self.inner.prepaid.all() {
            let refund = refund(token.price * tokens as f64, token.kept);
            let _ = self.inner.adjust(&key, refund).await;
        }
    }
}

pub(super) fn adjustment(policy: &Policy, change: Change) -> Adjustment {
    let kept = policy.kept();
    let (change, most, least) = match change {
        Change::Refund(tokens) => return refund(policy.price(tokens), kept),
        Change::Charge { tokens, beyond } => {
            let most = policy.tolerance() + policy.price(beyond);
            (policy.price(tokens), most, 0.0)
        }
        Change::Pause(time) => (0.0, 0.0, policy.tolerance() + time.as_secs_f64() * 1e6),
    };
    Adjustment {
        change,
        most,
        least,
        initial: policy.initial(),
        kept,
    }
}

pub(super) fn refund(price: f64, kept: u64) -> Adjustment {
    Adjustment {
        change: -price,
        most: 0.0,
        least: 0.0,
        // One that is not there is given nothing back.
        initial: 0.0,
        kept,
    }
}

impl Inner {
    pub(super) fn key(&self, principal: u128, policy: &Policy) -> Key {
        let mut name = in_braces(&self.prefix, &principal.to_be_bytes());
        name.push(b':');
        name.extend(policy.name().as_bytes());
        name.into()
    }

    /// Takes what is asked of one bucket.
    pub(super) async fn take_one(
        self: &Arc<Self>,
        key: &Key,
        ask: Ask,
        lease: Option<Leasing>,
        limit: Duration,
    ) -> Result<Answer, Unavailable> {
        if let Some(lease) = &lease {
            let held = self.prepaid.spend(key, lease.tokens(&ask), Instant::now());
            if let Some(granted) = held {
                return Ok(granted);
            }
        }
        if let Some(refused) = self.denied.refusal(key, &ask) {
            return Ok(refused);
        }
        let answered = match self.lines.join(key, ask, lease) {
            Place::First => None,
            Place::Second(answered) => {
                Pump::start(self, key);
                Some(answered)
            }
            Place::Behind(answered) => Some(answered),
            // Redis is well, so this is no reason to do without it.
            Place::Nowhere { ahead } => return Ok(ask.crowded_out(ahead, self.redis.deadline())),
        };
        let inner = self;
        let answer = match answered {
            None => {
                let _line = Leading { inner, key };
                self.call(key, ask, lease, limit).await?
            }
            Some(answered) => {
                let waiting = Waiting {
                    inner,
                    key,
                    ask,
                    answered,
                };
                waiting.answer(limit).await?
            }
        };
        self.denied.heard(key, answer);
        Ok(answer)
    }

    /// The call of one who is first in line.
    async fn call(
        self: &Arc<Self>,
        key: &Key,
        ask: Ask,
        lease: Option<Leasing>,
        limit: Duration,
    ) -> Result<Answer, Unavailable> {
        let ahead = lease.and_then(|lease| self.ahead(key, &ask, lease));
        let Some(ahead) = ahead else {
            let call = scripts::one(&self.redis, key, ask, limit);
            return self.calls.counted(1, call).await;
        };
        let run = ahead.run();
        let runs = [Run { ask, number: 1 }, run];
        let call = scripts::batch(&self.redis, key, 0.0, &runs, limit);
        let (debt, granted) = self.calls.counted(1 + run.number, call).await?;
        let debt = debt + granted[0] as f64 * ask.price;
        ahead.deposit(granted[1], debt);
        Ok(Answer {
            granted: granted[0] > 0,
            debt,
        })
    }

    /// What is taken in advance beside what is asked for.
    pub(super) fn ahead<'a>(
        self: &'a Arc<Self>,
        key: &'a Key,
        ask: &Ask,
        lease: Leasing,
    ) -> Option<Ahead<'a>> {
        let (cost, now) = (lease.tokens(ask), Instant::now());
        let wanted = self.prepaid.wanted(key, cost, &lease, now);
        if wanted.is_new {
            self.end_turns(key, lease.turn);
        }
        let (prepaid, tokens) = (&self.prepaid, wanted.tokens);
        (tokens > 0).then_some(Ahead {
            prepaid,
            key,
            lease,
            tokens,
        })
    }

    /// Has what is not spent go back, for as long as somebody asks.
    fn end_turns(self: &Arc<Self>, key: &Key, turn: Duration) {
        let turns = Turns {
            inner: Arc::clone(self),
            key: Key::clone(key),
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(turns.end(turn));
        }
    }

    pub(super) async fn adjust(
        &self,
        key: &Key,
        adjustment: Adjustment,
    ) -> Result<f64, Unavailable> {
        let limit = self.redis.deadline();
        let debt = scripts::adjust(&self.redis, key, adjustment, limit).await;
        match debt {
            Ok(debt) => self.denied.changed(key, debt),
            // It may have been carried out.
            Err(_) => self.denied.forget(key),
        }
        debt
    }

    /// Gives back what was taken, in the background. If that fails there is too little for
    /// somebody, never too much.
    pub(super) fn give_back(self: &Arc<Self>, key: &Key, ask: Ask) {
        if self.lines.spare(key, ask) {
            return; // The next call in line does it.
        }
        let (inner, key) = (Arc::clone(self), Key::clone(key));
        let refund = refund(ask.price, ask.kept);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = inner.adjust(&key, refund).await;
            });
        }
    }
}

/// Tokens that a call asks for in advance. Dropped, the call has ended, whatever it brought.
pub(super) struct Ahead<'a> {
    prepaid: &'a Prepaid,
    key: &'a Key,
    lease: Leasing,
    tokens: u64,
}

impl Ahead<'_> {
    pub(super) fn run(&self) -> Run {
        Run {
            ask: self.lease.token,
            number: self.tokens,
        }
    }

    /// So many were granted, of a bucket with this debt before them.
    pub(super) fn deposit(self, tokens: u64, debt: f64) {
        if tokens > 0 {
            let Leasing { turn, token, .. } = self.lease;
            let debt = debt + tokens as f64 * token.price;
            let now = Instant::now();
            self.prepaid.deposit(self.key, tokens, debt, turn, now);
        }
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        self.prepaid.came(self.key, self.tokens);
    }
}

/// Whoever ends the turns of one leased bucket. Gone, the bucket is not leased any more.
struct Turns {
    inner: Arc<Inner>,
    key: Key,
}

impl Turns {
    async fn end(self, turn: Duration) {
        let Self { inner, key } = &self;
        loop {
            tokio::time::sleep(turn).await;
            match inner.prepaid.turn(key, turn, Instant::now()) {
                Turn::Next => {}
                Turn::Last => return,
                Turn::Return { tokens, token } => {
                    let refund = refund(token.price * tokens as f64, token.kept);
                    let _ = inner.adjust(key, refund).await;
                }
            }
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.inner.prepaid.forget(&self.key);
    }
}

impl fmt::Debug for SharedBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBuckets")
            .field("redis", &self.inner.redis)
            .finish_non_exhaustive()
    }
}
