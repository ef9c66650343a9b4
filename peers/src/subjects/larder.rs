//! larder with its default settings: `Cache-Status` on, three tags, the tag index. Without codings, which none of
//! the others has: the requests are a browser's, and would get theirs.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use larder::Cache;
use tower::{Layer, Service};

use super::TTL;
use crate::origin::Origin;

pub fn service(
    origin: &'static Origin,
) -> impl Service<
    Request<Body>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
       + Send
       + Sync
       + 'static {
    let cache = Cache::builder().build().expect("the defaults agree");
    let layer = cache.layer().ttl(TTL);
    layer
        .tag("posts")
        .tag("posts:all")
        .tag("site")
        .codings([])
        .layer(origin.service())
}
