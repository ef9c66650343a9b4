//! The shared tier as the cache sees it: what it may answer, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use quick_cache::sync::Cache;
use quick_cache::UnitWeighter;
use tokio::time::Instant;

use super::driver::{Deferral, Driver, Settings};
use super::responses::{Found, Miss, Query, Responses};
use super::{Asked, Budget, Keys, Lease, Question, Taken};
use crate::clock::Timestamp;
use crate::policy::stored::{Fence, StoredResponse, VaryField};
use crate::policy::tag::TagHash;
use crate::redis::{Redis, RedisHealth};
use crate::store::envelope::Envelope;
use crate::store::invalidation::{Reach, Strength, Validity};

/// The fields that this many keys vary on are remembered, so that a look-up takes one trip.
const VARYING: u64 = 1 << 16;

/// How the shared tier is, and what it did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStats {
    /// The connection.
    pub redis: RedisHealth,
    /// Whether all invalidations of other processes are known here. While they are not, responses
    /// answer only within the grace.
    pub sound: bool,
    /// Invalidations of this process that other processes have not heard of yet.
    pub deferred: u64,
    /// Look-ups that Redis had a response for.
    pub hits: u64,
    /// Look-ups that Redis had nothing for.
    pub misses: u64,
    /// Look-ups whose response an invalidation had reached.
    pub invalidated: u64,
    /// Look-ups that found a value which cannot be read: foreign, cut short, of another version or
    /// of a future time.
    pub unreadable: u64,
    /// Look-ups that Redis did not answer, or that nobody could vouch for.
    pub unanswered: u64,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    invalidated: AtomicU64,
    unreadable: AtomicU64,
    unanswered: AtomicU64,
}

/// The shared tier of one cache.
pub(crate) struct Tier {
    driver: Arc<Driver>,
    responses: Responses,
    /// By places: what responses that lie in Redis vary on.
    varying: Cache<u64, Arc<[HeaderName]>>,
    counters: Counters,
}

impl Tier {
    /// `index`: whether invalidations count what they reach.
    pub(crate) fn start(
        redis: Redis,
        keys: Keys,
        settings: Settings,
        envelope: Envelope,
        index: bool,
    ) -> Self {
        let driver = Driver::start(redis, keys, settings);
        let responses = Responses::new(Arc::clone(&driver), envelope);
        Self {
            responses: match index {
                true => responses.with_index(),
                false => responses,
            },
            driver,
            varying: Cache::with_weighter(1024, VARYING, UnitWeighter),
            counters: Counters::default(),
        }
    }

    /// The clock as it stands, for a response whose making begins now.
    pub(crate) fn fence(&self) -> Fence {
        self.driver.fence()
    }

    /// What a response may do that is here. One that nobody vouches for may answer nothing, as if
    /// it had been purged.
    pub(crate) fn answers(&self, stored: &StoredResponse) -> Validity {
        let vouched = self.driver.relaxed(stored.fence(), stored.tags());
        vouched.unwrap_or(Validity::Hard)
    }

    /// What is known of a response, whether or not anybody vouches for it now: whether it is worth
    /// its memory.
    pub(crate) fn keeps(&self, stored: &StoredResponse) -> Validity {
        self.driver.view().validity(stored.fence(), stored.tags())
    }

    /// Invalidates here and now, and everywhere in the background.
    pub(crate) fn invalidate(&self, reach: Reach) -> Option<Deferral> {
        Some(self.driver.invalidate(reach))
    }

    /// The time that one look-up may spend on Redis, from now on.
    pub(crate) fn budget(&self) -> Budget {
        Budget::of(self.driver.redis().deadline())
    }

    /// The fields that the responses of a place are known to vary on.
    pub(crate) fn varying(&self, place: u64) -> Arc<[HeaderName]> {
        self.varying.get(&place).unwrap_or_default()
    }

    /// Looks a response up. Never one that was purged.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Asked {
        self.driver.ensure_beating();
        let Some(limit) = question.budget.left() else {
            return Asked::Silence;
        };
        let known = match question.vary {
            Some(names) => Some(names),
            None => self.varying.get(&question.place),
        };
        let query = Query {
            key: question.key,
            request: question.request,
            vary: known.as_deref(),
            now: question.now,
            limit,
        };
        let found = match question.strict {
            true => self.responses.strict(query).await,
            false => self.responses.relaxed(query).await,
        };
        let asked = self.counted(found);
        if let Asked::Found(stored, _) = &asked {
            self.remember(question.place, stored);
        }
        asked
    }

    /// What the clock itself says of a response that is here; `None` where it cannot be asked.
    pub(crate) async fn confirm(
        &self,
        stored: &Arc<StoredResponse>,
        budget: &Budget,
    ) -> Option<Validity> {
        self.driver.ensure_beating();
        let limit = budget.left()?;
        match self.responses.confirm(Arc::clone(stored), limit).await {
            Found::Response(_, validity) => Some(validity),
            Found::Nothing(Miss::Invalid) => Some(Validity::Hard),
            Found::Nothing(_) => {
                count(&self.counters.unanswered);
                None
            }
        }
    }

    /// Stores a response in the background; a lease to make it ends when it lies there, or will not.
    pub(crate) fn store(
        &self,
        stored: &StoredResponse,
        place: u64,
        now: Timestamp,
        lease: Option<Lease>,
    ) {
        self.remember(place, stored);
        self.responses.store(stored, now, lease);
    }

    /// Asks for the right to make, for all processes, what a look-up sent at `looked` did not find.
    pub(crate) async fn lease(&self, key: &[u8], vary: &[VaryField], looked: Instant) -> Taken {
        let limit = self.driver.redis().deadline();
        let left = limit.saturating_sub(looked.elapsed()); // one deadline for both
        match left.is_zero() {
            true => Taken::Unknown,
            false => self.responses.lease(key, vary, looked, left).await,
        }
    }

    /// How many responses an invalidation of these tags reached, where that is counted. It frees
    /// them too.
    pub(crate) async fn reached(&self, tags: &[TagHash], strength: Strength) -> Option<u64> {
        self.responses.reached(tags, strength).await
    }

    pub(crate) fn stats(&self) -> SharedStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        SharedStats {
            redis: self.driver.redis().health(),
            sound: self.driver.is_sound(),
            deferred: self.driver.deferred(),
            hits: count(&counters.hits),
            misses: count(&counters.misses),
            invalidated: count(&counters.invalidated),
            unreadable: count(&counters.unreadable),
            unanswered: count(&counters.unanswered),
        }
    }

    /// Sends what is deferred, until `limit` has passed; true if nothing is left.
    pub(crate) async fn flush(&self, limit: Duration) -> bool {
        self.driver.flush(limit).await
    }

    fn remember(&self, place: u64, stored: &StoredResponse) {
        let names = || stored.vary().iter().map(|field| &field.name);
        let known = self.varying.get(&place);
        match known {
            None if stored.vary().is_empty() => {}
            Some(known) if known.iter().eq(names()) => {}
            _ if stored.vary().is_empty() => drop(self.varying.remove(&place)),
            _ => self.varying.insert(place, names().cloned().collect()),
        }
    }

    fn counted(&self, found: Found) -> Asked {
        let counters = &self.counters;
        let why = match found {
            Found::Response(stored, validity) => {
                count(&counters.hits);
                return Asked::Found(stored, validity);
            }
            Found::Nothing(why) => why,
        };
        tracing::debug!(?why, "redis has no response");
        count(match why {
            Miss::Absent => &counters.misses,
            Miss::Invalid => &counters.invalidated,
            Miss::Odd(_) | Miss::FromTheFuture => &counters.unreadable,
            Miss::Unsound | Miss::NoAnswer(_) => &counters.unanswered,
        });
        match why {
            Miss::Unsound | Miss::NoAnswer(_) => Asked::Silence,
            _ => Asked::Nothing,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
