//! Waiting for one's turn: a client that keeps to the quota of its upstream.
//!
//! A server that is asked too much refuses, and that is [`LimitLayer`](super::LimitLayer)'s work. A client that asks too
//! much wants the opposite: not a refusal, but its answer a little later, and first the answers that somebody
//! waits for.
//!
//! ```
//! use std::time::Duration;
//! use http::Request;
//! use larder::limit::wait::{Priority, WaitLayer};
//! use larder::limit::Quota;
//! use tower::{Layer, Service, ServiceExt};
//! # use std::convert::Infallible;
//! # use http::Response;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::limit::wait::Error> {
//! # let client = tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
//! // The upstream allows 1000 requests in any minute, however it counts them.
//! let client = WaitLayer::new(Quota::strict(1000, Duration::from_secs(60))).layer(client);
//!
//! let mut nightly = Request::new(());
//! nightly.extensions_mut().insert(Priority::Background);
//! client.clone().oneshot(nightly).await?; // when nothing else wants to go
//! # Ok(()) }
//! ```
//!
//! [`Pacer::builder`] has the settings, and Redis makes one quota of all processes':
//! `Pacer::builder(quota).name("github").redis(redis).build()?.layer()`.
//!
//! # What it promises
//!
//! 1. **The quota holds**, in all processes together: a call is made after its token was taken, from one bucket,
//!    atomically. What was not used is given back; who stops waiting has paid nothing.
//! 2. **The more urgent goes first.** In a process strictly, by [`Priority`]; then by deadline, so in order of
//!    arrival where all wait equally long. Between processes by what is left: calls leave a part of the bucket to
//!    more urgent ones ([`reserve`](PacerBuilder::reserve)), and a critical one that comes finds a token.
//! 3. **Nobody starves.** Whoever has waited for five seconds shares a twentieth of the rate with its likes, and
//!    goes first then ([`starvation`](PacerBuilder::starvation)).
//! 4. **Nobody waits in vain.** A call whose turn cannot come in time fails at once; so does the least urgent
//!    one when the queue is full.
//! 5. **One no is heard by all.** When the upstream refuses, by 429 or by 503 with `Retry-After`, all processes pause,
//!    ten minutes at most. When it answers, with `RateLimit: ..;r=0;t=..`, they only use nothing that they saved.
//! 6. **Redis may fail.** Then each process goes on with its share of the quota, which it has been keeping books on
//!    ([`Fallback`](super::Fallback)).
//!
//! ```text
//!  call ─► queue ──── pump, one per bucket ────► inner service ─► 429? ─► all pause
//!          by priority  takes tokens for those        │
//!          and deadline  who are next, or sleeps      └─► made again, where asked for: waits and pays again
//! ```
//!
//! # What is left to you
//!
//! - **Which quota.** "1000 per minute" may mean a bucket, or windows of a minute that begin somewhere:
//!   [`Quota::strict`](super::Quota::strict) keeps to any of them, at the price of a tenth of the burst.
//! - **What happens after the call is made.** Calls that take differently long to arrive may arrive closer together
//!   than they were made: leave some of the quota where that matters.
//! - **Body clones**, where calls are made again.
//! - Several quotas at once (per second *and* per day) are two layers, the narrower one inside; what waits inside has
//!   paid outside.

mod builder;
mod error;
mod feedback;
mod layer;
mod line;
mod pacer;
mod priority;
mod pump;
mod queue;
mod retry;
mod service;
mod stats;
mod tokens;

pub use self::builder::PacerBuilder;
pub use self::error::Error;
pub use self::layer::{MaxWait, WaitLayer};
pub use self::pacer::Pacer;
pub use self::priority::Priority;
pub use self::retry::{Idempotent, Never, Retry};
pub use self::service::{ResponseFuture, Wait};
pub use self::stats::WaitStats;
