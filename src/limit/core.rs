//! The buckets of one quota, wherever they lie, and what the files around share.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::fallback::Fallback;
use super::key::Key;
use super::owed::Owed;
use super::stats::{Counted, Counters, LimitStats};
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::policy::bucket::{Bucket, Decision, Moment, Quota, Said, Terms};
use crate::store::near::Buckets;
use crate::store::shared::buckets::{self as shared, Change, SharedBuckets};

/// Redis keeps no debt much longer, and nobody needs one.
const LONGEST_PAUSE: Duration = Duration::from_secs(20 * 365 * 86_400);

/// The configuration of one limiter.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) quota: Quota,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) max_keys: usize,
    pub(super) max_debt: Option<u64>,
    /// What a new bucket holds; all of it, if nothing was said.
    pub(super) initial: Option<u64>,
    pub(super) clock: Clock,
    pub(super) shared: Option<SharedBuckets>,
    /// What was said of it, if anything.
    pub(super) fallback: Option<Fallback>,
    pub(super) secret: Vec<u8>,
    /// For how many processes, which part of the capacity, and whether that is left in the bucket.
    pub(super) leases: Option<(u32, f64, bool)>,
}

impl Settings {
    pub(super) fn max_debt(&self) -> u64 {
        self.max_debt.unwrap_or(self.quota.tokens())
    }

    pub(super) fn initial(&self) -> u64 {
        self.initial.unwrap_or(self.quota.tokens())
    }

    pub(super) fn debt_time(&self) -> Duration {
        self.quota.capacity(self.max_debt()).refill_time()
    }
}

/// Whose bucket it is, hashed: for this process, and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    near: u64,
    pub(super) shared: u128,
    /// One that all requests have in common.
    pub(super) everyone: bool,
}

impl Principal {
    /// A number below `most` that differs between principals.
    pub(super) const fn spread(&self, most: u64) -> u64 {
        self.near % most
    }
}

/// What is asked of one bucket.
#[derive(Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) core: &'a Core,
    pub(super) principal: Principal,
    pub(super) cost: u64,
    /// Set where it was granted, and Redis has not charged it.
    pub(super) alone: Option<&'a AtomicBool>,
}

impl<'a> Charge<'a> {
    pub(super) const fn telling(mut self, alone: &'a AtomicBool) -> Self {
        self.alone = Some(alone);
        self
    }

    /// It was granted, and Redis does not know.
    pub(super) fn note_alone(&self, shared: &Shared) {
        shared.owed.note(self.principal.shared, self.cost);
        if let Some(alone) = self.alone {
            alone.store(true, Ordering::Relaxed);
        }
    }
}

/// One quota and its buckets.
pub(super) struct Core {
    pub(super) name: Cow<'static, str>,
    pub(super) quota: Quota,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    max_debt: u64,
    /// The quota of the buckets in this process: with Redis, its share.
    terms: Terms,
    /// With Redis, what this process was granted lies here too, so that it knows how to go on alone.
    near: Buckets,
    seed: RandomState,
    secret: Vec<u8>,
    pub(super) shared: Option<Shared>,
}

/// The buckets that processes share.
pub(super) struct Shared {
    pub(super) buckets: SharedBuckets,
    pub(super) policy: shared::Policy,
    pub(super) fallback: Fallback,
    pub(super) owed: Owed,
    /// When it was last told that Redis does not answer; 0 for never.
    pub(super) warned: AtomicU64,
}

impl Core {
    pub(super) fn new(settings: Settings) -> Result<Self, ConfigError> {
        let Settings { quota, .. } = settings;
        let (max_debt, initial) = (settings.max_debt(), settings.initial());
        let name = settings.name.unwrap_or(Cow::Borrowed("default"));
        let mut here = (quota, settings.max_keys, initial);
        let fallback = settings.fallback.unwrap_or_default();
        let shared = settings.shared.map(|buckets| {
            here = match fallback {
                Fallback::Local { share } => {
                    // At least one token, as of the capacity, unless it was to be none.
                    let initial = (initial / u64::from(share.max(1))).max(initial.min(1));
                    (quota.share(share), settings.max_keys, initial)
                }
                Fallback::Open | Fallback::Closed => (quota, 1, initial),
            };
            Shared {
                buckets,
                policy: {
                    let policy = shared::Policy::new(&name, &quota).starting_with(initial);
                    match settings.leases {
                        Some((nodes, part, capped)) => policy.leased(nodes, part, capped),
                        None => policy,
                    }
                },
                fallback,
                owed: Owed::new(settings.clock.clone()),
                warned: AtomicU64::new(0),
            }
        });
        let terms = Terms::of(&here.0)?.starting_with(here.2);
        note_one_more(&quota);
        Ok(Self {
            name,
            quota,
            clock: settings.clock,
            counters: Counters::default(),
            max_debt,
            terms,
            near: Buckets::new(here.1),
            seed: RandomState::new(),
            secret: settings.secret,
            shared,
        })
    }

    #[inline]
    pub(super) fn principal(&self, key: &Key<'_>) -> Principal {
        let mut near = self.seed.build_hasher();
        key.feed(&mut |bytes: &[u8]| near.write(bytes));
        let shared = match &self.shared {
            None => 0,
            Some(_) => self.digest(key),
        };
        Principal {
            near: near.finish(),
            shared,
            everyone: matches!(key, Key::Everyone),
        }
    }

    /// The same in all processes that have the same secret.
    fn digest(&self, key: &Key<'_>) -> u128 {
        let mut digest = Sha256::new();
        digest.update((self.secret.len() as u64).to_be_bytes());
        digest.update(&self.secret);
        key.feed(&mut |bytes: &[u8]| digest.update(bytes));
        let mut first = [0; 16];
        first.copy_from_slice(&digest.finalize()[..16]);
        u128::from_be_bytes(first)
    }

    pub(super) const fn charge(&self, principal: Principal, cost: u64) -> Charge<'_> {
        Charge {
            core: self,
            principal,
            cost,
            alone: None,
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Moment {
        self.terms.at(self.clock.nanos())
    }

    /// Takes tokens here, if there are as many.
    #[inline]
    pub(super) fn take_here(&self, principal: Principal, cost: u64) -> Decision {
        let now = self.now();
        let ask = |bucket: Bucket| bucket.ask(&self.terms, cost, now);
        let said = self
            .near
            .update(principal.near, self.terms.forgotten(now), ask);
        // Two words until here: a decision takes three, and many tries must not carry them around.
        self.terms.decision(said)
    }

    /// What [`take_here`](Self::take_here) would say to one who asks and takes later, if all others grant: a refusal
    /// is one, from which on a new bucket fills.
    pub(super) fn look_here(&self, principal: Principal, cost: u64) -> Decision {
        let now = self.now();
        let look = |bucket: Bucket| match bucket.ask(&self.terms, cost, now) {
            (met, said @ Said::Refused { .. }) => (met, said),
            (_, said) => (bucket, said),
        };
        let said = self
            .near
            .update(principal.near, self.terms.forgotten(now), look);
        self.terms.decision(said)
    }

    /// What [`take_here`](Self::take_here) would say.
    pub(super) fn peek_here(&self, principal: Principal, cost: u64) -> Decision {
        let now = self.now();
        let look = |bucket: Bucket| (bucket, bucket.take(&self.terms, cost, now).1);
        self.near
            .update(principal.near, self.terms.forgotten(now), look)
    }

    /// Takes what was granted elsewhere, whether there is as much here or not: to go on from there alone.
    pub(super) fn note(&self, principal: Principal, cost: u64) {
        let fallback = self.shared.as_ref().map(|shared| shared.fallback);
        if let Some(Fallback::Local { .. }) = fallback {
            let _ = self.change_here(principal, 0, cost, 0);
        }
    }

    /// Makes what cost `was` cost `is`. How the bucket stands then.
    pub(super) fn settle_here(&self, principal: Principal, was: u64, is: u64) -> Decision {
        self.change_here(principal, was, is, self.max_debt)
    }

    fn change_here(&self, principal: Principal, was: u64, is: u64, max_debt: u64) -> Decision {
        let now = self.now();
        let terms = &self.terms;
        let (refund, more) = (was.saturating_sub(is), is.saturating_sub(was));
        self.near
            .update(principal.near, self.terms.forgotten(now), |bucket| {
                let changed = match more {
                    0 => bucket.refund(terms.price(refund), now),
                    more => bucket.charge(terms, terms.price(more), terms.price(max_debt), now),
                };
                (changed, terms.admitted(changed.met(terms, now).debt(now)))
            })
    }

    fn pause_here(&self, principal: Principal, time: Duration) {
        let now = self.now();
        let time = self.terms.time(time);
        let pause = |bucket: Bucket| (bucket.pause(&self.terms, time, now), ());
        self.near
            .update(principal.near, self.terms.forgotten(now), pause);
    }

    /// Makes what cost `was` cost `is`, wherever the bucket lies. What was granted `alone`, Redis has
    /// not charged: it must not give that back.
    pub(super) async fn settle(&self, principal: Principal, was: u64, is: u64, alone: bool) {
        let _ = self.settle_here(principal, was, is);
        if let (Some(shared), true) = (&self.shared, alone) {
            shared
                .owed
                .forgive(principal.shared, was.saturating_sub(is));
            shared.owed.note(principal.shared, is.saturating_sub(was));
            return;
        }
        let change = match was.cmp(&is) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => Change::Refund(was - is),
            std::cmp::Ordering::Less => Change::Charge {
                tokens: is - was,
                beyond: self.max_debt,
            },
        };
        self.change(principal, change).await;
    }

    pub(super) async fn pause(&self, principal: Principal, time: Duration) {
        let time = time.min(LONGEST_PAUSE);
        self.pause_here(principal, time);
        self.change(principal, Change::Pause(time)).await;
    }

    async fn change(&self, principal: Principal, change: Change) {
        if let Some(shared) = &self.shared {
            let adjusting = shared
                .buckets
                .adjust(principal.shared, &shared.policy, change);
            if let Err(why) = adjusting.await {
                tracing::debug!(%why, policy = &*self.name, "a bucket was changed here alone");
                shared.owed.keep(principal.shared, change, why);
            }
        }
    }

    #[inline]
    pub(super) fn count(&self, decision: Decision) {
        self.counters.count(match decision {
            Decision::Admitted { .. } => Counted::Admitted,
            Decision::Refused { .. } | Decision::Unavailable => Counted::Refused,
            Decision::Never => Counted::Never,
        });
    }

    pub(super) fn stats(&self) -> LimitStats {
        let (live, slots) = self.near.occupancy(self.terms.forgotten(self.now()));
        LimitStats {
            live,
            slots,
            bytes: self.near.bytes(),
            evicted: self.near.evicted(),
            redis: self.shared.as_ref().map(|shared| shared.buckets.calls()),
            ..self.counters.snapshot()
        }
    }
}

/// So many live limiters of one quota are no plan.
const MANY: usize = 128;

static LIVE: LazyLock<Mutex<HashMap<Quota, usize>>> = LazyLock::new(Mutex::default);

fn note_one_more(quota: &Quota) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let mut live = LIVE.lock();
    let count = live.entry(*quota).or_default();
    *count += 1;
    if *count >= MANY && !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            ?quota,
            "{MANY} limiters of one quota are alive: one made per request or per connection admits \
             everything; make it once, and clone it"
        );
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let mut live = LIVE.lock();
        if let Some(count) = live.get_mut(&self.quota) {
            *count -= 1;
            if *count == 0 {
                live.remove(&self.quota);
            }
        }
    }
}
