//! The handle: one cache, its settings and its bounds.

use std::fmt;
use std::sync::Arc;

use http::header::HeaderValue;

use super::collapse::Flights;
use super::core::{Authority, Shared};
use super::invalidate::{self, Invalidating};
use super::layer::CacheLayer;
use super::limits::Limits;
use super::searches::Searches;
#[cfg(feature = "redis")]
use super::shared::SharedSettings;
use super::signals::Invalidate;
use super::stats::{Counters, Stats};
use super::status::{CacheStatus, MAX_NAME};
use super::uncacheable::Uncacheable;
use super::watch::WatchLayer;
use crate::clock::Clock;
#[cfg(feature = "compress")]
use crate::coding::{self, Coding, Levels};
use crate::error::ConfigError;
#[cfg(feature = "compress")]
use crate::policy::encoding::Rules;
use crate::policy::profile::Audience;
use crate::store::invalidation::InvalidationClock;
use crate::store::near::{Responses, Settings};
use crate::store::shared::Tier;

/// One cache: layers come from it, handlers hold it. A clone is the same cache.
///
/// The [module](crate::cache) tells how it works.
#[derive(Clone)]
pub struct Cache {
    pub(crate) shared: Arc<Shared>,
}

impl Cache {
    /// Settings for a cache; `Cache::builder().build()?` is a cache of 64 MiB in memory.
    pub fn builder() -> CacheBuilder {
        CacheBuilder::new()
    }

    /// A layer that caches the answers of what it is put around.
    pub fn layer(&self) -> CacheLayer {
        CacheLayer::new(Arc::clone(&self.shared))
    }

    /// A layer for a whole router that carries out the [`Invalidate`] of its handlers, and
    /// invalidates what unsafe requests spoil (RFC 9111 §4.4), before the answer leaves.
    pub fn watch(&self) -> WatchLayer {
        WatchLayer::new(Arc::clone(&self.shared))
    }

    /// Invalidates every response with this tag.
    ///
    /// The responses are invalid when this returns, before it is awaited; the future counts them
    /// and frees their memory, a few hundred at a time. It cannot fail. Call it after the change it
    /// tells of is committed.
    pub fn invalidate_tag(&self, tag: impl Into<String>) -> Invalidating {
        self.invalidate(Invalidate::tag(tag))
    }

    /// Invalidates every response with one of these tags, each counted once.
    pub fn invalidate_tags<T: Into<String>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Invalidating {
        self.invalidate(Invalidate::tags(tags))
    }

    /// Invalidates every response of this URI, for all users and in all variants; see
    /// [`Invalidate::uri`] for what it may name.
    pub fn invalidate_uri(&self, uri: impl Into<String>) -> Invalidating {
        self.invalidate(Invalidate::uri(uri))
    }

    /// Invalidates everything.
    pub fn invalidate_all(&self) -> Invalidating {
        self.invalidate(Invalidate::all())
    }

    /// Invalidates what the argument names; `cache.invalidate(Invalidate::tag("posts").soft())`
    /// marks responses stale instead of removing them.
    pub fn invalidate(&self, what: Invalidate) -> Invalidating {
        what.take();
        invalidate::start(&self.shared, vec![what])
    }

    /// What this cache did so far, and what it holds.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        Stats {
            evicted: shared.responses.evicted(),
            entries: shared.responses.len(),
            bytes: shared.responses.weight(),
            #[cfg(feature = "redis")]
            shared: shared.tier().map(Tier::stats),
            ..shared.counters.snapshot()
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Settings for a [`Cache`]. Every bound has a default; over a bound, a request bypasses the cache
/// or a response is not stored, with the reason in `Cache-Status`.
///
/// ```
/// use larder::Cache;
///
/// assert!(Cache::builder().capacity(256 << 20).body_limit(4 << 20).build().is_ok());
///
/// let refused = Cache::builder().capacity(1 << 20).build().unwrap_err();
/// assert_eq!(refused.instead(), "`.capacity(2097152)` or more, or a smaller `.body_limit(..)`");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheBuilder {
    limits: Limits,
    namespace: String,
    audience: Audience,
    name: String,
    clock: Clock,
    index: Option<bool>,
    buckets: u32,
    near: bool,
    strict: Option<bool>,
    #[cfg(feature = "compress")]
    codings: Vec<Coding>,
    #[cfg(feature = "compress")]
    levels: Levels,
    #[cfg(feature = "redis")]
    pub(crate) tier: SharedSettings,
}

impl CacheBuilder {
    fn new() -> Self {
        Self {
            limits: Limits {
                capacity: 64 << 20,
                body: 1 << 20,
                tags: 64,
                tag_length: 256,
                variants: 16,
                vary_fields: 8,
                key: 4096,
                head: 16 << 10,
                waiters: 1024,
            },
            namespace: String::new(),
            audience: Audience::Everybody,
            name: "larder".to_owned(),
            clock: Clock::system(),
            index: None,
            buckets: 16,
            near: true,
            strict: None,
            #[cfg(feature = "compress")]
            codings: coding::available(),
            #[cfg(feature = "compress")]
            levels: Levels::default(),
            #[cfg(feature = "redis")]
            tier: SharedSettings::default(),
        }
    }

    /// The memory that stored responses may take, in bytes, bookkeeping included. Default: 64 MiB.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.limits.capacity = bytes;
        self
    }

    /// The longest body that is stored, in bytes, where a route does not say otherwise. Default:
    /// 1 MiB.
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.limits.body = bytes;
        self
    }

    /// The most tags a response may have; one with more is not stored. Default: 64.
    pub fn max_tags(mut self, tags: usize) -> Self {
        self.limits.tags = tags;
        self
    }

    /// The longest tag, in bytes; a response with a longer one is not stored. Default: 256. (A tag
    /// takes eight bytes in store, however long it is.)
    pub fn max_tag_length(mut self, bytes: usize) -> Self {
        self.limits.tag_length = bytes;
        self
    }

    /// The most fields that a response may name in `Vary` (RFC 9111 §4.1), those of
    /// [`vary_on`](CacheLayer::vary_on) included; one with more is not stored. With 0, only responses
    /// that do not vary are stored. Default: 8.
    pub fn max_vary_fields(mut self, fields: usize) -> Self {
        self.limits.vary_fields = fields;
        self
    }

    /// The most variants (RFC 9111 §4.1) that are stored under one key; further ones are not stored
    /// while those may still answer. Default: 16.
    pub fn max_variants(mut self, variants: usize) -> Self {
        self.limits.variants = variants;
        self
    }

    /// The most bytes that the fields of a response may have, names and values; one with more is not
    /// stored. Short fields that many responses share, such as `Content-Type`, are kept once and do
    /// not count. Default: 16 KiB.
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.limits.head = bytes;
        self
    }

    /// The longest key, in bytes; a request with a longer one bypasses the cache. Default: 4096.
    pub fn max_key(mut self, bytes: usize) -> Self {
        self.limits.key = bytes;
        self
    }

    /// The most requests that wait for the call of another one, per key; further ones call by
    /// themselves. Default: 1024.
    pub fn max_waiters(mut self, requests: usize) -> Self {
        self.limits.waiters = requests;
        self
    }

    /// Keeps apart the responses of different services, or of versions of one service whose answers
    /// differ (`"shop-v2"`). Default: none.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Makes this the private cache of one user (RFC 9111 §1), as a browser's is: for a client that asks
    /// in one user's name. Default: a shared cache.
    ///
    /// It stores what is `private` (§5.2.2.7) and answers to requests with `Authorization` (§3.5) or
    /// cookies, and ignores what is said to shared caches alone: `s-maxage` (§5.2.2.10),
    /// `proxy-revalidate` (§5.2.2.8) and `CDN-Cache-Control` (RFC 9213). All else is as in the
    /// [`Profile`](crate::Profile) of the layer. It is in memory alone: what is stored in Redis may be
    /// found by others.
    ///
    /// Whoever sends requests for several users through it shows one of them what is another's.
    pub fn private(mut self) -> Self {
        self.audience = Audience::OneUser;
        self
    }

    /// The name under which the cache writes `Cache-Status` (RFC 9211). Default: `larder`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether invalidations count the responses they reach and free their memory at once. Default:
    /// yes in memory alone, no with Redis, where it costs a set per tag. Without it
    /// [`Invalidated::entries`](crate::Invalidated::entries) is `None`, and memory is freed by eviction.
    pub fn tag_index(mut self, index: bool) -> Self {
        self.index = Some(index);
        self
    }

    /// Whether responses are kept in the memory of this process; without it, every look-up asks
    /// Redis, and is [strict](Self::strict) unless you say otherwise. Default: yes.
    pub fn near(mut self, near: bool) -> Self {
        self.near = near;
        self
    }

    /// With Redis: whether the shared invalidation clock is asked before each answer from store, where
    /// a route does not say; see [`CacheLayer::strict`]. Default: no, unless nothing is kept
    /// [near](Self::near).
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = Some(strict);
        self
    }

    /// The number of buckets of the invalidation clock is two to the power of this, 10 to 20; each
    /// takes eight bytes. More buckets make it rarer that two tags share one and are invalidated
    /// together. Default: 16 (512 KiB).
    pub fn clock_bits(mut self, bits: u32) -> Self {
        self.buckets = bits;
        self
    }

    /// The codings that responses are kept in, where a route does not say otherwise; see
    /// [`CacheLayer::codings`]. Default: those whose features are on, in the order br, zstd, gzip.
    #[cfg(feature = "compress")]
    pub fn codings(mut self, codings: impl IntoIterator<Item = Coding>) -> Self {
        self.codings = codings.into_iter().collect();
        self
    }

    /// How hard a coding tries, once per response: gzip 1 to 9 (default 6), br 0 to 11 (default 4), zstd
    /// 1 to 22 (default 3). Numbers beyond these count as the nearest.
    #[cfg(feature = "compress")]
    pub fn coding_level(mut self, coding: Coding, level: i32) -> Self {
        self.levels.set(coding, level);
        self
    }

    /// Where the cache takes the time from; for tests. Default: the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// If settings contradict each other or a bound is zero; the error says what to write instead.
    pub fn build(self) -> Result<Cache, ConfigError> {
        self.validate()?;
        let limits = self.limits;
        let tier = self.start_tier()?;
        let shared_too = tier.is_some();
        let authority = match tier {
            Some(tier) => Authority::Shared(tier),
            None => Authority::Here(InvalidationClock::new(self.buckets)),
        };
        let responses = Responses::new(Settings {
            capacity: limits.capacity,
            largest: limits.body,
            variants: limits.variants,
            index: self.index.unwrap_or(!shared_too),
            off: !self.near,
        });
        let shared = Shared {
            limits,
            namespace: self.namespace,
            audience: self.audience,
            status: CacheStatus::new(self.name),
            clock: self.clock,
            responses,
            authority,
            strict: self.strict.unwrap_or(!self.near),
            flights: Flights::new(),
            uncacheable: Uncacheable::new(),
            searches: Searches::new(),
            counters: Counters::default(),
            #[cfg(feature = "compress")]
            codings: self.codings,
            #[cfg(feature = "compress")]
            levels: self.levels,
            #[cfg(feature = "compress")]
            makings: super::coded::Makings::default(),
        };
        Ok(Cache {
            shared: Arc::new(shared),
        })
    }

    #[cfg(feature = "redis")]
    fn start_tier(&self) -> Result<Option<Tier>, ConfigError> {
        let index = self.index.unwrap_or(false);
        self.tier.clone().start(self.buckets, index)
    }

    #[cfg(not(feature = "redis"))]
    #[allow(clippy::unnecessary_wraps, reason = "as with the feature")]
    fn start_tier(&self) -> Result<Option<Tier>, ConfigError> {
        Ok(None)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        limits.validate()?;
        #[cfg(feature = "redis")]
        let has_tier = self.tier.is_on();
        #[cfg(not(feature = "redis"))]
        let has_tier = false;
        if !self.near && !has_tier {
            return Err(ConfigError::new(
                "a cache that keeps nothing in memory needs Redis",
                "`.near(false).redis(redis)`, or no `.near(false)`",
            ));
        }
        if self.audience == Audience::OneUser && has_tier {
            return Err(ConfigError::new(
                "what a private cache stores is one user's, and others may read it in Redis",
                "`.private()` without `.redis(..)`, or the other one alone",
            ));
        }
        #[cfg(feature = "compress")]
        if let Some(error) = Rules::new(self.codings.clone()).unavailable(coding::is_available) {
            return Err(error);
        }
        if self.namespace.len() >= limits.key.min(1 << 16) {
            return Err(ConfigError::new(
                format!(
                    "a namespace of {} bytes leaves no room in a key of {} bytes",
                    self.namespace.len(),
                    limits.key
                ),
                "`.namespace(\"shop-v2\")`",
            ));
        }
        if !(10..=20).contains(&self.buckets) {
            return Err(ConfigError::new(
                "the invalidation clock has 2^10 to 2^20 buckets",
                "`.clock_bits(16)`",
            ));
        }
        let token = |name: &str| {
            name.len() <= MAX_NAME
                && name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte))
        };
        if !token(&self.name) || HeaderValue::from_str(&self.name).is_err() {
            return Err(ConfigError::new(
                "the name in Cache-Status is a token of at most 64 letters (RFC 9211)",
                "`.name(\"shop-cache\")`",
            ));
        }
        Ok(())
    }
}
