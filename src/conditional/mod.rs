//! Does the client hold it already?
//!
//! A client that has an answer asks whether it is still the one, and gets a `304 Not Modified` of a
//! hundred bytes instead of the whole. For that the answer needs a name, its validator, and somebody
//! must compare. This room does both, and keeps a `PUT` from overwriting what its client has not seen.
//!
//! One route of details, with nothing but this layer:
//!
//! ```
//! # #[cfg(feature = "axum")] mod example {
//! use axum::{body::Body, http::Request, routing::get, Router};
//! use larder::ConditionalLayer;
//! use tower::ServiceExt;
//!
//! async fn post() -> &'static str {
//!     "{\"id\":7,\"title\":\"First\"}"
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/posts/7", get(post).layer(ConditionalLayer::new()));
//!
//! let first = app.clone().oneshot(Request::get("/posts/7").body(Body::empty())?).await?;
//! let etag = &first.headers()["etag"];
//! let again = Request::get("/posts/7").header("if-none-match", etag).body(Body::empty())?;
//! assert_eq!(app.oneshot(again).await?.status(), 304);
//! # Ok(()) }
//! # }
//! # #[cfg(feature = "axum")] example::run().unwrap();
//! ```
//!
//! # What gets a tag
//!
//! | the answer | its tag |
//! | --- | --- |
//! | 200 or 203 to `GET`, with a body that says how long it is, up to [the limit](ConditionalLayer::body_limit) | the first 144 bits of its SHA-256, strong; weak [where asked](ConditionalLayer::weak) |
//! | has an `ETag` of the handler's | that one, untouched |
//! | longer, of unknown length, with trailers, cut short or failed while it was read | none; it passes as it came |
//! | server-sent events, `Incremental`, an upgrade, a part (206), any other status or method | none; nothing is looked at |
//! | to `HEAD` | the handler's own; made only where the layer sees the content, as it does in axum's routes |
//!
//! The handler's `Last-Modified` stands beside either, and alone is enough for `If-Modified-Since`.
//! `no-transform` does not forbid tags: they change no byte.
//!
//! # Who is answered how
//!
//! Conditions apply where the plain answer would be a success, in the order of RFC 9110 §13.2.2:
//!
//! | the request has | and it | then |
//! | --- | --- | --- |
//! | `If-Match` (compared strongly), else `If-Unmodified-Since` | does not hold | 412 |
//! | `If-None-Match` (compared weakly), else `If-Modified-Since` | says the client has it | 304 to `GET` and `HEAD`; 412 to others |
//! | `Range` | | left to the handler, and to a cache further out |
//!
//! A 304 has no content and the fields of the 200 without those that describe content (RFC 9110
//! §15.4.5). A 412 is marked `no-store`.
//!
//! # Lost updates
//!
//! For unsafe methods the answer is made after the harm is done, so the layer has to ask before:
//! [`current`](ConditionalLayer::current) tells it what the resource is now. Then `If-Match: "7"` on
//! a `PUT` means *only if nobody changed it since*, and `If-None-Match: *` means *only create it*; who is too
//! late gets 412, and the handler is not called. Without it unsafe requests pass untouched. That a request
//! *must* be conditional (428) is the handler's to say.
//!
//! # Beside other layers
//!
//! Every order gives every client the right bytes, a tag that names them, and 304 for it. What an order
//! costs is work:
//!
//! | this layer stands | what that costs |
//! | --- | --- |
//! | inside the cache, inside a compressing layer: `.layer((CompressLayer::new(), cache.layer(), ConditionalLayer::new()))` | nothing: the tag is made once per stored response, of what the handler made; the cache answers conditions and ranges by itself |
//! | around a cache | every hit is hashed, unless the handler names what it makes; `If-Range` gets the whole |
//! | around a compressing layer | what is encoded as it streams by has no length, so no tag and no 304, unless the handler names it |
//! | inside tower-http's compression | that one keeps the strong tag on bytes that it changes: ask for [`weak`](ConditionalLayer::weak) ones |
//!
//! The second and the third are seldom meant: the first answer that shows one of them logs a warning,
//! once per process.

mod body;
mod future;
mod layer;
mod order;
mod route;
mod service;
mod tag;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::ConditionalLayer;
pub use service::Conditional;
pub use tag::Validator;
