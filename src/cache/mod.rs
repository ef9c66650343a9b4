//! Do we have the answer already?
//!
//! A handler that asks a database the same question a thousand times a second can answer from
//! memory, if somebody keeps track of what may be kept, for whom, for how long, and until which
//! change. This room does.
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use larder::Cache;
//! use tower::{Layer, ServiceExt};
//! # use std::convert::Infallible;
//! # type Body = http_body_util::Full<bytes::Bytes>;
//! # async fn list_posts(_: Request<Body>) -> Result<Response<Body>, Infallible> {
//! #     Ok(Response::new(Body::from("[]")))
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::builder().capacity(256 << 20).build()?;
//! let layer = cache.layer().ttl(Duration::from_secs(60)).tag("posts");
//! let posts = layer.layer(tower::service_fn(list_posts)); // or any other service, or a route of axum
//!
//! let answer = posts.clone().oneshot(Request::new(Body::default())).await?;
//! assert_eq!(answer.headers()["cache-status"], "larder; fwd=uri-miss; stored");
//! posts.clone().oneshot(Request::new(Body::default())).await?;
//! assert_eq!(cache.stats().hits, 1);
//!
//! assert_eq!(cache.invalidate_tag("posts").await.entries, Some(1));
//! # Ok(()) }
//! ```
//!
//! # A request
//!
//! 1. [`CacheLayer`] decides whether it is looked up: `GET` and `HEAD`, `POST` and `QUERY` where the
//!    route is [keyed by content](CacheLayer::key_body), or [`QUERY` alone](CacheLayer::key_query).
//!    `Authorization` and cookies bypass until the route says what they mean
//!    ([`per_user`](CacheLayer::per_user), [`ignore_cookies`](CacheLayer::ignore_cookies),
//!    [`shared_despite_credentials`](CacheLayer::shared_despite_credentials)) or the cache is
//!    [private](CacheBuilder::private).
//! 2. Its key is the method class, host, original path, query parameters in any order, user and
//!    further parts, each with its length, compared byte by byte.
//! 3. A stored response that is fresh (RFC 9111 §4.2), selected by its `Vary` (§4.1) and not
//!    invalidated answers at once, without a task, a lock across an await, or a call.
//! 4. Otherwise one request per key calls the inner service; those that come meanwhile wait for what
//!    it publishes, with a deadline. If it fails, they elect another one, once.
//! 5. What comes back streams to the client while a bounded copy is made, and is stored if that is
//!    safe (§3): 200, 203, 301, 308, 410, without `no-store`, `private`, `no-cache`, `Set-Cookie`,
//!    `Vary: *`, trailers or a nonce; whole, of the declared length, within the limit. Fields about
//!    one exchange (`X-Request-Id`, `Server-Timing`, `Retry-After`, `RateLimit` and their like) reach
//!    their own client and are not stored.
//!
//! `Cache-Status` (RFC 9211) says on each answer what happened and why; [`Decision`](crate::Decision)
//! is the same as a value, for `tracing`, and [`Stats`] counts it.
//!
//! All this is the default, [`Profile::Safe`](crate::Profile::Safe). In front of an origin that speaks
//! HTTP caching, [`Profile::Rfc9111`](crate::Profile::Rfc9111) does all that a shared cache may.
//!
//! # Conditions and ranges
//!
//! A stored response answers more than those who want the whole of it:
//!
//! | the request has | answer from store |
//! | --- | --- |
//! | `If-None-Match` (any of its tags, in either strength, or `*`), else `If-Modified-Since` | 304, where the client holds it (RFC 9111 §4.3.2) |
//! | `Range: bytes=…` to a stored 200, with `If-Range` or without | 206 with one part or several, 416 beyond the end (RFC 9110 §14) |
//! | `If-Match`, `If-Unmodified-Since`, or a range in another unit | none: the handler answers |
//!
//! Where nothing that is stored may answer, they reach the handler as they came, and share no call.
//! The cache invents no tag: what is stored has the one it came with. Put a
//! [`ConditionalLayer`](crate::ConditionalLayer) *inside* the cache, and it comes with one.
//!
//! # Two clocks of freshness
//!
//! The route's [`ttl`](CacheLayer::ttl) says how long *we* reuse a response; `Cache-Control` says what
//! caches downstream may do. We reuse for the smaller of the two where both speak. Where the handler
//! is silent, downstream is told `no-cache`, so that a purge here is a purge everywhere;
//! [`client`](CacheLayer::client) changes that. `Age` (§5.1) is sent with every stored answer.
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
//! # Codings
//!
//! With a feature that makes one (`gzip`, `br`, `zstd`), a stored response answers in the coding that a
//! client weighs most (RFC 9110 §12.5.3). A coding is made once, when the first client wants it, and kept with
//! the response, in its memory and for its time; a hit runs no encoder, and the handler is called once
//! however many codings clients want.
//!
//! - The handler is asked for `Accept-Encoding: identity` instead of what the client accepts, and the
//!   field does not split the store. What it has encoded all the same is stored as it came.
//! - All forms have `Vary: Accept-Encoding`; a strong `ETag` is weak on the coded ones.
//! - Up to 64 KiB are encoded at once. More is encoded on a blocking thread, and sent as it is made to all who ask
//!   meanwhile.
//! - Left as they are: less than 600 bytes, types that are not text or its like, `no-transform`, what a
//!   coding does not shorten, and routes per user unless they name their codings
//!   (see "Secrets" in the module `compress`).
//! - A body that streams, or outgrows the limit, passes as the handler wrote it; a
//!   `CompressLayer` around the router encodes it, and leaves alone what comes from here encoded.
//! - Redis keeps one form of a response; each process makes the codings that its clients want. With
//!   [`near(false)`](CacheBuilder::near) nothing is encoded here, as it could not be kept.
//!
//! # Around a client
//!
//! A layer knows nothing of which side it is on: around a client it keeps what the server lets it keep, validates
//! it (§4.3), and follows what changes. A client that asks in one user's name has a private cache
//! ([`private`](CacheBuilder::private)), which stores that user's answers; one that asks for many has a shared one.
//! [`Profile::Rfc9111`](crate::Profile::Rfc9111) is for servers that one does not know. hyper's client is a service
//! already (`examples/client.rs`); reqwest's becomes one:
//!
//! ```ignore
//! let client = reqwest::Client::new();
//! let client = tower::service_fn(move |request: http::Request<reqwest::Body>| {
//!     let client = client.clone();
//!     async move {
//!         let answer = client.execute(request.try_into()?).await?;
//!         Ok::<http::Response<reqwest::Body>, reqwest::Error>(answer.into())
//!     }
//! });
//! let cache = Cache::builder().private().build()?;
//! let client = cache.layer().profile(Profile::Rfc9111).layer(client);
//! let answer = client.clone().oneshot(http::Request::get(url).body(reqwest::Body::default())?).await?;
//! ```
//!
//! # Shared between processes
//!
//! With feature `redis`, `CacheBuilder::redis` puts Redis behind the memory of each process. A
//! response that one of them has stored answers in all of them, and so do invalidations.
//!
//! ```text
//!  near tier ── fresh ─────────────────────────────────────────────► answer (no question to Redis)
//!      └─ nothing ─► Redis: one GET ─┬─ fresh, not invalidated ────► near tier, answer
//!                                    └─ nothing, or no answer ─────► the inner service
//! ```
//!
//! - **Redis is never waited for** longer than its deadline, 50 ms for
//!   all that a request asks, and not at all while it is known to be away. Whatever it does, the
//!   inner service answers as if there were no cache.
//! - **Relaxed** look-ups, the default, learn of other processes' invalidations by a push, usually
//!   within milliseconds; if pushes are lost, within 600 ms; if Redis cannot be reached, near
//!   responses end with the grace. **Strict** ones
//!   ([`CacheLayer::strict`]) ask the invalidation clock in the same round trip, and never show what
//!   was invalidated before they began; without Redis they go to the inner service.
//! - **Invalidations** hold in their own process at once, and are awaited before the answer that
//!   caused them leaves. Without Redis they are [deferred](Invalidated::deferred): kept, and sent
//!   when it is back (`Cache::flush` for a shutdown; a process that dies takes them along, and then
//!   the ttl is the bound). Every unsafe request that succeeds is one, as any process may have stored
//!   its URI: with more than some hundred of them per second, raise
//!   [`clock_bits`](CacheBuilder::clock_bits).
//! - **Counts** of what an invalidation reached need the [tag index](CacheBuilder::tag_index).
//! - **Releases** of one service share a Redis safely: stored bytes carry a format version, and
//!   `CacheBuilder::version` keeps apart those whose answers differ.
//! - Where Redis is trusted with less than the responses, feature `encryption` seals them
//!   (`CacheBuilder::sealed`).
//!
//! # What is bounded
//!
//! | what | default | over it |
//! | --- | --- | --- |
//! | [memory](CacheBuilder::capacity) | 64 MiB | the least useful responses make room |
//! | [body](CacheBuilder::body_limit) | 1 MiB | passes, is not stored |
//! | [key](CacheBuilder::max_key) | 4 KiB | bypass |
//! | [tags](CacheBuilder::max_tags), and the [length](CacheBuilder::max_tag_length) of each | 64, 256 bytes | not stored |
//! | [variants](CacheBuilder::max_variants) of a key, [fields in `Vary`](CacheBuilder::max_vary_fields) | 16, 8 | not stored |
//! | [fields](CacheBuilder::max_head) of a response | 16 KiB | not stored |
//! | queries known to mean the same ([`no_vary_search`](CacheLayer::no_vary_search)) | 8192, of 1024 paths | call |
//! | [waiters](CacheBuilder::max_waiters) for one call | 1024 | call by themselves |
//!
//! # Knowing whether something is cached
//!
//! A response time, or `Cache-Status`, tells a client whether somebody asked the same before. Where
//! that is a secret, key the route per user, and turn the field off with
//! [`cache_status(false)`](CacheLayer::cache_status).

mod answer;
mod ask;
mod body;
mod call;
#[cfg(feature = "compress")]
mod coded;
#[cfg(not(feature = "compress"))]
#[path = "coded/absent.rs"]
mod coded;
mod collapse;
mod compute;
mod content;
mod core;
mod exchange;
mod future;
mod handle;
mod head;
mod inquiry;
mod invalidate;
mod join;
mod keyed;
mod layer;
mod limits;
mod lookup;
mod parts;
mod posted;
mod publish;
mod route;
mod search;
mod searches;
mod selected;
mod service;
#[cfg(feature = "redis")]
mod shared;
mod signals;
mod stats;
mod status;
mod uncacheable;
pub mod user;
mod validate;
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
#[cfg(feature = "redis")]
pub use stats::SharedStats;
pub use stats::Stats;
pub use watch::{Watch, WatchFuture, WatchLayer};
