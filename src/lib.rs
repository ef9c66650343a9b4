//! Tower layers that keep web responses fresh and callers within their quotas.
//!
//! A [`Cache`] is a handle; layers come from it, and handlers hold it:
//!
//! ```
//! # #[cfg(feature = "axum")] mod example {
//! use std::time::Duration;
//! use axum::{routing::{get, put}, Router};
//! use larder::{Cache, Invalidate};
//!
//! # fn app() -> Result<axum::Router, larder::ConfigError> {
//! let cache = Cache::builder().build()?; // in memory, 64 MiB
//! let app = Router::new()
//!     .route("/posts", get(list_posts).layer(cache.layer().ttl(Duration::from_secs(60)).tag("posts")))
//!     .route("/posts/{id}", put(rename_post))
//!     .layer(cache.watch()); // carries out `Invalidate`, and what unsafe methods spoil
//! # Ok(app) }
//!
//! async fn list_posts() -> &'static str {
//!     "[]" // asked of a database once a minute
//! }
//!
//! async fn rename_post() -> (Invalidate, &'static str) {
//!     (Invalidate::tag("posts"), "renamed") // no later answer shows the old list
//! }
//! # }
//! ```
//!
//! # The walk
//!
//! A request meets the layers in this order, and each can be used alone. [**limit**](limit) refuses what is
//! over a quota before anybody works for it. **cache** answers what is
//! known, in the coding that is asked for; what it does not know it forwards, once for all who ask, and
//! remembers if that is safe. `compress` (features `gzip`, `br`, `zstd`) encodes what is not cached, and
//! leaves alone what the cache has encoded, so it can stand around a whole router.
//! [**conditional**](conditional) names what the handler made, so that a client that holds it gets a 304, and
//! keeps a `PUT` from overwriting what its client has not seen. Inside the cache it works once per
//! stored response: the cache keeps the name, and answers conditions and ranges by itself.
//!
//! # What cannot happen
//!
//! - One user's answer shown to another: credentials bypass the cache until a route says what they
//!   mean, or the cache is said to be one user's, and keys are compared whole.
//! - An invalidated response shown again: a response carries the clock of the moment *before* its
//!   handler was called ([how](cache#invalidation)).
//! - A failed request because of the cache: the error type is the inner service's, and whatever goes
//!   wrong here is a miss with a reason in `Cache-Status`.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `axum` | yes | keys follow `OriginalUri` and tags `MatchedPath`; [`Tags`], [`CacheFor`], [`NoStore`] and [`Invalidate`] can be returned beside a response |
//! | `gzip`, `br`, `zstd` | no | answers in these codings, made by `CompressLayer` or [kept by the cache](cache#codings); `zstd` needs a C compiler |
//! | `redis` | no | [responses and invalidations](cache#shared-between-processes), and [buckets](limit), shared by all processes with one Redis: a server, a Cluster, or behind Sentinels |
//! | `redis-tls` | no | `rediss://` URLs |
//! | `encryption` | no | seals what is stored in Redis (AES-256-GCM) |

pub mod cache;
mod clock;
#[cfg(feature = "compress")]
mod coding;
#[cfg(feature = "compress")]
pub mod compress;
pub mod conditional;
mod counters;
mod error;
mod header;
pub mod limit;
mod policy;
#[cfg(feature = "redis")]
pub mod redis;
mod store;

#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisBuilder, RedisHealth};
#[cfg(feature = "redis")]
pub use cache::SharedStats;
pub use cache::{
    user, Cache, CacheBuilder, CacheFor, CacheLayer, CacheService, ClientCache, Invalidate,
    Invalidated, NoStore, Stats, Tags,
};
pub use clock::{Clock, ManualClock};
#[cfg(feature = "compress")]
pub use coding::Coding;
#[cfg(feature = "compress")]
pub use compress::CompressLayer;
pub use conditional::ConditionalLayer;
pub use error::{ConfigError, KeyError};
pub use limit::{LimitLayer, Limiter};
pub use policy::bucket::Quota;
pub use policy::decision::{Decision, Forward, Reason};
pub use policy::profile::Profile;

/// The README's example, compiled.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
