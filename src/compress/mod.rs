//! How shall the bytes travel?
//!
//! JSON and HTML become a fifth of their size on the way to a client that says it can undo that. This
//! room does it for the answers of any service, as they stream by.
//!
//! ```
//! use http::{Request, Response};
//! use larder::CompressLayer;
//! use tower::{Layer, ServiceExt};
//! # use std::convert::Infallible;
//! # type Body = http_body_util::Full<bytes::Bytes>;
//!
//! async fn report(_: Request<Body>) -> Result<Response<Body>, Infallible> {
//!     let rows = "date;amount\n".repeat(1000);
//!     let answer = Response::builder().header("content-type", "text/csv").body(rows.into());
//!     Ok(answer.expect("these are fields"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = CompressLayer::new().layer(tower::service_fn(report));
//! let request = Request::builder().header("accept-encoding", "gzip, br;q=0.8").body(Body::default())?;
//! let answer = service.oneshot(request).await?;
//! # if cfg!(feature = "gzip") {
//! assert_eq!(answer.headers()["content-encoding"], "gzip");
//! # }
//! assert_eq!(answer.headers()["vary"], "accept-encoding");
//! # Ok(()) }
//! ```
//!
//! # What is encoded
//!
//! 1. The client weighs codings in `Accept-Encoding` (RFC 9110 §12.5.3); the highest weight wins, and
//!    between equals the order of [`codings`](CompressLayer::codings): br, zstd, gzip. A client that
//!    does not ask gets no coding, nor one whose field cannot be read.
//! 2. The type is text or its like: `text/*`, JSON, JavaScript, XML, SVG, WebAssembly, uncompressed
//!    fonts ([`types`](CompressLayer::types)).
//! 3. There are 600 bytes or more, or nobody knows how many
//!    ([`min_size`](CompressLayer::min_size)). A client that refuses an answer without a coding gets
//!    a short one coded as well.
//! 4. It is not left alone for another reason: it has a `Content-Encoding` already (from a cache behind
//!    this layer, say), is part of something (206, `Content-Range`) or has no content (204, 304),
//!    forbids it (`Cache-Control: no-transform`), or is read as it comes: `text/event-stream`,
//!    `multipart/*`, `Incremental`, an upgrade.
//!
//! # What it makes of an answer
//!
//! Both forms get `Vary: Accept-Encoding`, whatever this client asked for. The coded form gets
//! `Content-Encoding` and loses what is true of the other one only: `Content-Length`, `Accept-Ranges`
//! and the digests of RFC 9530; a strong `ETag` becomes a weak one, since it named other bytes
//! (RFC 9110 §8.8.1). `HEAD` gets the fields that `GET` would. Trailers are kept, digests among them
//! excepted.
//!
//! The encoder is flushed whenever the inner body has to be waited for, so nothing arrives later than
//! it would without. After each 64 KiB the task yields, so that other tasks run. An error of the inner
//! body is the error of this one, and its content then has no end that a client could take for one.
//!
//! # Secrets
//!
//! Where an answer holds a secret (a CSRF token, say) *and* repeats what a stranger can choose (a search
//! term), its compressed length tells the secret to whoever watches the connection, letter by letter (BREACH). Leave such
//! answers alone: by [`skip_if`](CompressLayer::skip_if), for requests with cookies, or with
//! `Cache-Control: no-transform` from the handler. Answers that the cache keeps per user are left alone
//! unless their route names its codings. Padding only slows the attack.
//!
//! # Beside other layers
//!
//! Every order gives every client the right bytes in a coding that it accepts. What an order costs is
//! work:
//!
//! | this layer stands | what that costs |
//! | --- | --- |
//! | around a cache, around the conditional layer | nothing: what the cache has encoded passes, and tags are of what the handler made |
//! | inside a cache | nothing, since the cache asks for the identity form; with [no codings](crate::cache::CacheBuilder::codings) of its own it stores, and calls the handler for, each `Accept-Encoding` by itself |
//! | inside the conditional layer | no tags for what is encoded here, and so no 304 ([more](crate::conditional#beside-other-layers)) |
//! | beside tower-http's compression | nothing: whichever comes first encodes. Where that is tower-http's, strong tags stay on what it changes |
//!
//! # Content of requests
//!
//! [`DecompressLayer`] decodes what clients send, within limits.

mod body;
mod config;
mod future;
mod layer;
mod requests;
mod service;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::CompressLayer;
pub use requests::{
    Decompress, DecompressError, DecompressFuture, DecompressLayer, RefusalBody, RequestBody,
};
pub use service::Compress;
