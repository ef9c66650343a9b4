//! May this caller pass?
//!
//! One client with a loop, or one customer with a large cron job, and everybody waits. This room refuses what is
//! over a quota, before a handler works for it, and says when to come back.
//!
//! ```
//! # #[cfg(feature = "axum")] mod example {
//! use axum::{body::Body, http::Request, routing::get, Router};
//! use larder::limit::PeerAddr;
//! use larder::{LimitLayer, Quota};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Served with `app.into_make_service_with_connect_info::<SocketAddr>()`.
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(LimitLayer::new(Quota::per_minute(2)).by_peer_ip());
//!
//! let request = || {
//!     let mut request = Request::get("/").body(Body::empty()).unwrap();
//!     request.extensions_mut().insert(PeerAddr(([192, 0, 2, 7], 4711).into()));
//!     request
//! };
//! let first = app.clone().oneshot(request()).await?;
//! assert_eq!(first.headers()["ratelimit"], "\"default\";r=1;t=30");
//! assert_eq!(app.clone().oneshot(request()).await?.status(), 200);
//! let third = app.oneshot(request()).await?;
//! assert_eq!((third.status().as_u16(), &third.headers()["retry-after"]), (429, &"30".parse()?));
//! # Ok(()) }
//! # }
//! # #[cfg(feature = "axum")] example::run().unwrap();
//! ```
//!
//! # What is promised
//!
//! 1. Over any time *w* at most `capacity + rate · w` tokens are admitted, by one process or, with Redis, by all
//!    together. Nothing drifts: tokens are counted whole.
//! 2. Of several quotas, all grant or none is touched.
//! 3. Whoever waits as long as `Retry-After` says, and asks alone, is admitted.
//! 4. A refused request never reaches the inner service, and takes none of its readiness.
//! 5. Requests without a key never share a bucket, and no client chooses its own address.
//! 6. Memory is what the settings say, from the first request on, however many keys come.
//! 7. Redis slow, full or gone fails no request, and nobody waits for it longer than the handle's deadline.
//!
//! # Whose bucket
//!
//! | setter | one bucket for each |
//! | --- | --- |
//! | [`by_peer_ip`](LimitLayer::by_peer_ip) | address of a connection; IPv6 by /64 |
//! | [`by_client_ip`](LimitLayer::by_client_ip) | address that [trusted proxies](ClientAddress) have noted |
//! | [`by`](LimitLayer::by), [`by_async`](LimitLayer::by_async), [`by_header`](LimitLayer::by_header) | user, key, tenant |
//! | [`by_route`](LimitLayer::by_route) | method and matched route |
//! | several of them in a row | combination |
//! | [`by_everyone`](LimitLayer::by_everyone) | nobody: one for all |
//!
//! Without the address of a connection (`into_make_service_with_connect_info`, or a [`PeerAddr`]) a request is
//! refused with 500 and the log says what to write; [`when_missing`](LimitLayer::when_missing) chooses otherwise.
//!
//! # What is answered
//!
//! | to | status | and |
//! | --- | --- | --- |
//! | who passes | the handler's | `RateLimit-Policy: "default";q=120;w=60`, `RateLimit: "default";r=119;t=1`, or [another profile](Profile) |
//! | who is over a quota | 429 | the same with `r=0`, `Retry-After`, `application/problem+json` that names the policies |
//! | who asks for more than a full bucket | 429 | no `Retry-After`: no waiting helps |
//! | who is on the [deny list](LimitLayer::deny) | 403 | |
//! | who has no key | 400, or as [set](LimitLayer::when_missing) | |
//! | anybody, while Redis is away and the limiter [closes](Fallback::Closed) | 503 | `Retry-After` of 1 to 3 s |
//!
//! [`respond_with`](LimitLayer::respond_with) answers otherwise, by the [`Refusal`].
//!
//! # Where it stands
//!
//! Outside the cache it counts every request; inside, only those that the handler would answer. Outside, a hit
//! may [cost less](is_hit). Before authentication it limits by address, behind it by user; often both are
//! wanted. Fields are appended behind those of limits further in. A cache never keeps them: it stores no 429,
//! and what it stored says nothing of buckets.
//!
//! # In memory, and in Redis
//!
//! In memory a decision is made in `call`: one hash, one look into a table of fixed size, one compare-and-swap.
//! With `.name("api").redis(redis)` all processes share the buckets, in one round trip for all quotas of a key; the
//! server's clock is the only one. A process that cannot ask goes on alone from what it was granted
//! ([`Fallback`]), and has Redis charge what it admitted, and block whom it blocked, when that answers again; until it
//! has heard, a few more may pass. What Redis forgets is a new bucket, full
//! unless [`initial_level`](LimiterBuilder::initial_level) says otherwise, so let it not evict (`noeviction` or `volatile-ttl`);
//! a failover forgets what had not been replicated.
//!
//! # What is left to you
//!
//! How many processes there are ([`Fallback::Local`] says 1 until told); which proxies to believe; and to make
//! a layer once, not per request or connection, since each has buckets of its own.

mod admit;
mod alone;
mod answer;
mod body;
mod builder;
mod core;
mod fallback;
mod future;
mod key;
mod layer;
mod limiter;
mod list;
mod owed;
mod route;
mod rule;
mod service;
mod shadow;
mod stats;
mod take;
mod taken;
mod tell;
mod template;
pub mod wait;

pub use self::answer::Refusal;
pub use self::body::ResponseBody;
pub use self::builder::LimiterBuilder;
pub use self::fallback::Fallback;
pub use self::future::ResponseFuture;
pub use self::key::{Key, PeerAddr};
pub use self::layer::LimitLayer;
pub use self::limiter::{Limiter, Reservation};
pub use self::list::List;
pub use self::rule::{is_hit, Missing, Source};
pub use self::service::Limit;
pub use self::stats::LimitStats;
pub use self::tell::Verdict;
pub use crate::header::rate_limit::Profile;
pub use crate::policy::bucket::{Decision, Quota};
pub use crate::policy::client_address::ClientAddress;
pub use crate::store::shared::buckets::CallStats;
