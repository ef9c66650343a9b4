//! Leases: of many processes that miss, one makes the response.
//!
//! ```text
//! look ─► take ─┬─ mine ──────► make, renewing; store; release ── "stored" or "free" ──┐
//!               ├─ another's ─► wait: for that word, or a poll  ◄─────────────────────┘
//!               ├─ stored ────► look again: it was stored since the look
//!               └─ no answer ─► make, as if there were no leases
//! ```
//!
//! A lease saves work and promises nothing: two holders cost one call too many, and whether a
//! response holds is for the clock to say. So it can be short, and a holder that dies delays the
//! others by no more than its rest and one poll.
//!
//! The word travels on a channel of its own, so that the mirror of the invalidation clock never sees
//! what it does not know. One that is lost costs the time to the next poll.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Once};
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::driver::Driver;
use super::waiters::{End, Waiter, Waiters};
use crate::clock::millis;
use crate::redis::{NoAnswer, Script};

static LEASE: Script = Script::new(include_str!("lease.lua"));

/// How long a lease lasts that its holder does not renew.
const LASTS: Duration = Duration::from_millis(1500);
/// How long one is renewed: as long as a request waits for another one's call, unless told otherwise.
const LONGEST: Duration = Duration::from_secs(10);
/// Nobody polls again before this, not even when the lease is said to end sooner.
const SHORTEST: Duration = Duration::from_millis(20);
/// Between two polls of one that waits. Most responses are made before the first.
const POLL: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(100));

/// Who makes the response.
pub(crate) enum Taken {
    Mine(Lease),
    /// A response was stored since the caller looked: look again. Whoever finds nothing then (it
    /// was purged, or is another variant) asks again, as one who looked after that.
    Stored,
    Theirs(Waiting),
    /// Nobody knows: make it.
    Unknown,
}

/// The leases of one cache.
pub(crate) struct Leases {
    driver: Arc<Driver>,
    waiters: Arc<Waiters>,
    listening: Once,
}

impl Leases {
    pub(super) fn new(driver: Arc<Driver>) -> Arc<Self> {
        Arc::new(Self {
            driver,
            waiters: Arc::default(),
            listening: Once::new(),
        })
    }

    /// Asks for a lease, on behalf of a look-up that was sent at `looked` and found nothing.
    pub(super) async fn take(
        self: &Arc<Self>,
        lease: Vec<u8>,
        looked: Instant,
        limit: Duration,
    ) -> Taken {
        self.listen();
        let mut waiting = Waiting {
            // Before it is asked for, so that no release is missed in between.
            waiter: self.waiters.register(&lease),
            leases: Arc::clone(self),
            lease,
            looked,
            left: Duration::ZERO,
        };
        match waiting.ask(limit).await {
            Ok(Some(taken)) => taken,
            Ok(None) => Taken::Theirs(waiting),
            Err(_) => Taken::Unknown,
        }
    }

    /// Caches that never ask for a lease do not listen.
    fn listen(&self) {
        self.listening.call_once(|| {
            let waiters = Arc::clone(&self.waiters);
            let channel = self.driver.keys().done();
            let redis = self.driver.redis();
            redis.subscribe(channel, move |event| waiters.hear(&event));
        });
    }
}

/// One that waits for somebody else's response.
pub(crate) struct Waiting {
    leases: Arc<Leases>,
    lease: Vec<u8>,
    looked: Instant,
    waiter: Option<Waiter>,
    /// Of the other's lease, when it was last asked for.
    left: Duration,
}

impl Waiting {
    /// Waits until there is something to do: never [`Taken::Theirs`]. It takes as long as the other
    /// one does, so it needs a limit. Whoever drops it waits no more.
    pub(crate) async fn next(mut self) -> Taken {
        let limit = self.leases.driver.redis().deadline();
        loop {
            let pause = pause().min(self.left.max(SHORTEST));
            if let Ok(End::Stored) = tokio::time::timeout(pause, self.ended()).await {
                return Taken::Stored;
            }
            match self.ask(limit).await {
                Ok(Some(taken)) => return taken,
                // A server that is slow for a moment must not make everybody work. Of one that is
                // gone the breaker knows soon.
                Ok(None) | Err(NoAnswer::TimedOut | NoAnswer::Busy) => {}
                Err(_) => return Taken::Unknown,
            }
        }
    }

    async fn ended(&mut self) -> End {
        match &mut self.waiter {
            Some(waiter) => waiter.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Asks for the lease once. `None` while it is another's.
    async fn ask(&mut self, limit: Duration) -> Result<Option<Taken>, NoAnswer> {
        // Released by whoever stops waiting for the answer: nobody shall wait for a holder that does
        // not know of it.
        let mut lease = Lease::wanted(&self.leases, &self.lease);
        let looked = self.looked.elapsed();
        let answer = lease.claim.say("take", looked, limit).await;
        match answer {
            Ok(1) => {
                lease.keep();
                return Ok(Some(Taken::Mine(lease)));
            }
            Err(NoAnswer::TimedOut) => {} // it may have been carried out all the same
            _ => lease.end = None,
        }
        match answer? {
            0 => Ok(Some(Taken::Stored)),
            left => {
                self.left = Duration::from_millis(left.unsigned_abs());
                Ok(None)
            }
        }
    }
}

/// The right to make a response. Dropped, it is released in the background.
pub(crate) struct Lease {
    claim: Arc<Claim>,
    /// What is said when it ends; nothing where it is another's.
    end: Option<&'static str>,
    renewal: Option<AbortHandle>,
}

/// Who asks for which lease.
struct Claim {
    leases: Arc<Leases>,
    lease: Vec<u8>,
    token: Vec<u8>,
}

impl Lease {
    fn wanted(leases: &Arc<Leases>, lease: &[u8]) -> Self {
        let random = || RandomState::new().hash_one(0).to_be_bytes();
        let claim = Claim {
            leases: Arc::clone(leases),
            lease: lease.to_vec(),
            token: [random(), random()].concat(),
        };
        Self {
            claim: Arc::new(claim),
            end: Some("free"),
            renewal: None,
        }
    }

    /// Renews it until it is dropped, or lost: then it is not fought for. Nor for ever: nobody shall
    /// wait again and again for a call that hangs.
    fn keep(&mut self) {
        let claim = Arc::clone(&self.claim);
        let until = Instant::now() + LONGEST;
        let renew = async move {
            let mut mine = true;
            while mine && Instant::now() < until {
                tokio::time::sleep(LASTS / 3).await;
                let answer = claim.say("renew", Duration::ZERO, LASTS / 3).await;
                mine = answer.is_err() || answer == Ok(1);
            }
        };
        self.renewal = Handle::try_current()
            .ok()
            .map(|runtime| runtime.spawn(renew).abort_handle());
    }

    /// Releases it, now that the response is there for the others.
    pub(crate) fn stored(mut self) {
        self.end = Some("stored");
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        if let (Some(end), Ok(runtime)) = (self.end, Handle::try_current()) {
            let claim = Arc::clone(&self.claim);
            runtime.spawn(async move {
                let _ = claim.say(end, Duration::ZERO, LASTS / 3).await;
            });
        }
    }
}

impl Claim {
    async fn say(&self, what: &str, looked: Duration, limit: Duration) -> Result<i64, NoAnswer> {
        let driver = &self.leases.driver;
        let lasts = LASTS.as_millis().to_string();
        // Rounded up: it was not before that.
        let looked = millis(looked).saturating_add(1).to_string();
        let args = [
            what.as_bytes(),
            &self.token,
            lasts.as_bytes(),
            looked.as_bytes(),
            driver.keys().done().as_bytes(),
        ];
        let keys = [self.lease.as_slice()];
        match driver.redis().script(&LEASE, &keys, &args, limit).await? {
            Value::Int(answer) => Ok(answer),
            other => Err(NoAnswer::Refused(format!("a lease answered {other:?}"))),
        }
    }
}

/// The pause before a poll: never in step with the others.
fn pause() -> Duration {
    let (shortest, longest) = POLL;
    let random = RandomState::new().hash_one(0) % 1000;
    shortest + (longest - shortest).mul_f64(random as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_60_to_100_ms_apart_and_never_in_step() {
        let pauses: Vec<_> = (0..100).map(|_| pause()).collect();
        assert!(pauses
            .iter()
            .all(|pause| *pause >= POLL.0 && *pause <= POLL.1));
        assert!(pauses.windows(2).any(|two| two[0] != two[1]));
    }
}
