//! The builder's settings for a cache that is shared through Redis.

use std::time::Duration;

use super::handle::{Cache, CacheBuilder};
use crate::error::ConfigError;
use crate::redis::Redis;
use crate::store::envelope::Envelope;
#[cfg(feature = "encryption")]
use crate::store::envelope::Sealing;
use crate::store::invalidation::Bounds;
use crate::store::shared::{Keys, Settings, Tier};

/// What the tier behind the near one is made of.
#[derive(Clone, Debug)]
pub(crate) struct SharedSettings {
    redis: Option<Redis>,
    version: String,
    grace: Duration,
    #[cfg(feature = "encryption")]
    sealing: Option<SealingKeys>,
}

/// Never printed.
#[cfg(feature = "encryption")]
#[derive(Clone)]
struct SealingKeys(Vec<(u8, [u8; 32])>);

#[cfg(feature = "encryption")]
impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.0.iter().map(|(id, _)| id);
        f.debug_list().entries(ids).finish()
    }
}

impl Default for SharedSettings {
    fn default() -> Self {
        Self {
            redis: None,
            version: String::new(),
            grace: Duration::from_secs(10),
            #[cfg(feature = "encryption")]
            sealing: None,
        }
    }
}

impl SharedSettings {
    pub(crate) fn is_on(&self) -> bool {
        self.redis.is_some()
    }

    /// The tier, where there is to be one.
    pub(crate) fn start(self, bits: u32, index: bool) -> Result<Option<Tier>, ConfigError> {
        let envelope = self.envelope()?;
        let Some(redis) = self.redis else {
            return Ok(None);
        };
        let keys = Keys::new(redis.prefix(), &self.version, redis.database());
        let keys = keys.ok_or_else(|| {
            ConfigError::new(
                "a version cannot contain `:`, `{` and `}`, which have a meaning in Redis keys",
                "`.version(\"2026-11\")`",
            )
        })?;
        let defaults = Settings::default();
        let settings = Settings {
            bits: u8::try_from(bits).unwrap_or(defaults.bits),
            bounds: Bounds {
                grace: self.grace,
                ..defaults.bounds
            },
            ..defaults
        };
        Ok(Some(Tier::start(redis, keys, settings, envelope, index)))
    }

    #[cfg(feature = "encryption")]
    fn envelope(&self) -> Result<Envelope, ConfigError> {
        let Some(SealingKeys(keys)) = &self.sealing else {
            return Ok(Envelope::default());
        };
        let sealing = Sealing::new(keys).ok_or_else(|| {
            ConfigError::new(
                "sealing needs a key, and each key an id of its own",
                "`.sealed([(2, new_key), (1, old_key)])`",
            )
        })?;
        Ok(Envelope {
            sealing: Some(sealing),
        })
    }

    #[cfg(not(feature = "encryption"))]
    fn envelope(&self) -> Result<Envelope, ConfigError> {
        Ok(Envelope::default())
    }
}

/// With feature `redis`.
impl CacheBuilder {
    /// Shares responses and invalidations with every process that uses the same Redis, database and
    /// [prefix](crate::RedisBuilder::prefix). The memory of this process stays the first tier; Redis
    /// is asked once when that has nothing.
    ///
    /// While Redis is away, slow or full, the cache goes on without it: near responses answer for the
    /// [grace](Self::grace), and after that those which this process has just made; invalidations hold
    /// here at once and are sent when it is back.
    ///
    /// ```
    /// use larder::{Cache, Redis};
    ///
    /// let redis = Redis::open("redis://127.0.0.1:6379")?; // connects in the background
    /// let cache = Cache::builder().redis(redis).build()?;
    /// # Ok::<(), larder::ConfigError>(())
    /// ```
    pub fn redis(mut self, redis: Redis) -> Self {
        self.tier.redis = Some(redis);
        self
    }

    /// Keeps apart, in Redis, the responses of releases whose answers differ: give it your release's
    /// name. Invalidations reach the responses of all versions. Default: none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.tier.version = version.into();
        self
    }

    /// How long near responses go on answering when Redis cannot be reached, and with it no other
    /// process's invalidations: the most that a relaxed answer can be behind. Default: 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.tier.grace = grace;
        self
    }

    /// Encrypts what is stored in Redis (AES-256-GCM, feature `encryption`), each key with an id. The
    /// first key seals and all of them open: to rotate, put the new key first, and drop the old one
    /// when nothing it sealed is fresh any more. What is not sealed by one of them is not read.
    #[cfg(feature = "encryption")]
    pub fn sealed(mut self, keys: impl IntoIterator<Item = (u8, [u8; 32])>) -> Self {
        self.tier.sealing = Some(SealingKeys(keys.into_iter().collect()));
        self
    }
}

/// With feature `redis`.
impl Cache {
    /// Sends the invalidations that Redis has not heard of, for at most `limit`; true if none is left.
    /// For a shutdown: a process that ends with deferred invalidations takes them along, and other
    /// processes' copies live until their ttl.
    pub async fn flush(&self, limit: Duration) -> bool {
        match self.shared.tier() {
            Some(tier) => tier.flush(limit).await,
            None => true,
        }
    }
}
