//! Do we have the answer already?
//!
//! A handler that asks a database the same question a thousand times a second can answer from
//! memory, if somebody keeps track of what may be kept, for whom, for how long, and until which
//! change. This room does.
//!
//! ```
//! use std::time::Duration;
//! use larder::{user, Cache};
//!
//! let cache = Cache::builder().capacity(256 << 20).build()?;
//! let posts = cache.layer().ttl(Duration::from_secs(60)).tag("posts");
//! let me = cache.layer().ttl(Duration::from_secs(10)).per_user(user::from_cookie("session"));
//! # posts.try_validate()?; me.try_validate()?;
//! # Ok::<(), larder::ConfigError>(())
//! ```
//!
//! # A request
//!
//! 1. [`CacheLayer`] decides whether it is looked up: `GET` and `HEAD`, `POST` and `QUERY` where the
//!    route is [keyed by content](CacheLayer::key_body). `Authorization` and cookies bypass until the
//!    route says what they mean: [`per_user`](CacheLayer::per_user),
//!    [`ignore_cookies`](CacheLayer::ignore_cookies),
//!    [`shared_despite_credentials`](CacheLayer::shared_despite_credentials).
//! 2. Its key is the method class, host, original path, query parameters in any order, user and
//!    further parts, each with its length, compared byte by byte.
//! 3. A stored response that is fresh (RFC 9111 §4.2), selected by its `Vary` (§4.1) and not
//!    invalidated answers at once, without a task, a lock across an await, or a call.
//! 4. Otherwise one request per key calls the inner service; those that come meanwhile wait for what
//!    it publishes, with a deadline. If it fails, they elect another one, once.
//! 5. What comes back streams to the client while a bounded copy is made, and is stored if that is
//!    safe (§3): 200, 203, 301, 308, 410, without `no-store`, `private`, `no-cache`, `Set-Cookie`,
//!    `Vary: *`, trailers or a nonce; whole, of the declared length, within the limit.
//!
//! `Cache-Status` (RFC 9211) says on each answer what happened and why; [`Decision`](crate::Decision)
//! is the same as a value, for `tracing`, and [`Stats`] counts it.
//!
//! # Two clocks of freshness
//!
//! The route's [`ttl`](CacheLayer::ttl) says how long *we* reuse a response; `Cache-Control` says what
//! caches downstream may do. We reuse for the smaller of the two where both speak. Where the handler
//! is silent, downstream is told `no-cache`, so that a purge here is a purge everywhere;
//! [`client`](CacheLayer::client) changes that. `Age` is sent with every stored answer.
//!
//! # Invalidation
//!
//! By tag, by URI, or everything; [hard or soft](Invalidate::soft); from the handle, or as an
//! [`Invalidate`] that a handler answers with. It costs the same for one response or a million: a clock
//! counts invalidations, each tag remembers the last count it was invalidated at, and a response
//! carries the count from *before* its handler was called. So a response that was being made while
//! its tag was invalidated is never stored, nor given to those who wait for it and came later.
//! Counting and freeing memory come afterwards, from a bounded index.
//!
//! Invalidate after the change is committed. If a lagging replica of your database may still answer
//! the old value, invalidate a second time once it has caught up.
//!
//! # What is bounded
//!
//! | what | default | over it |
//! | --- | --- | --- |
//! | memory | 64 MiB | the least useful responses make room |
//! | body | 1 MiB | passes, is not stored |
//! | key | 4 KiB | bypass |
//! | tags, and the length of each | 64, 256 bytes | not stored |
//! | variants of a key, fields in `Vary` | 16, 8 | not stored |
//! | fields of a response | 16 KiB | not stored |
//! | waiters for one call | 1024 | call by themselves |
//!
//! # Knowing whether something is cached
//!
//! A response time, or `Cache-Status`, tells a client whether somebody asked the same before. Where
//! that is a secret, key the route per user, and turn the field off with
//! [`cache_status(false)`](CacheLayer::cache_status).

mod answer;
mod body;
mod call;
mod collapse;
mod compute;
mod content;
mod exchange;
mod future;
mod handle;
mod invalidate;
mod keyed;
mod layer;
mod lookup;
mod publish;
mod route;
mod service;
mod signals;
mod stats;
mod status;
mod uncacheable;
pub mod user;
mod watch;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use handle::{Cache, CacheBuilder};
pub use invalidate::{Invalidated, Invalidating};
pub use keyed::{BodyKeyed, HeadKeyed, KeyedBy};
pub use layer::CacheLayer;
pub use route::ClientCache;
pub use service::CacheService;
pub use signals::{CacheFor, Invalidate, NoStore, Tags};
pub use stats::Stats;
pub use watch::{Watch, WatchFuture, WatchLayer};
