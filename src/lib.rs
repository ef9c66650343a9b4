//! Tower layers that keep web responses fresh.
pub mod cache;
mod clock;
mod error;
mod header;
mod policy;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "the shared tier is about to call it")]
pub mod redis;
mod store;

#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisBuilder, RedisHealth};
pub use cache::{
    user, Cache, CacheBuilder, CacheFor, CacheLayer, CacheService, ClientCache, Invalidate,
    Invalidated, NoStore, Stats, Tags,
};
pub use clock::{Clock, ManualClock};
pub use error::{ConfigError, KeyError};
pub use policy::decision::{Decision, Forward, Reason};

/// The README's example, compiled.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
