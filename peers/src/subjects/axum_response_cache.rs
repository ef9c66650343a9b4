//! axum-response-cache, keyed by method and URI, in its map with a lifespan. It has no limit on entries.

use std::convert::Infallible;

use axum::body::Body;
use axum_response_cache::CacheLayer;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};

use super::TTL;
use crate::origin::Origin;

pub fn service(
    origin: &'static Origin,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
       + Clone
       + Send
       + Sync
       + 'static {
    // It demands axum's own body of the inner service; a hit calls that service too, but does not wait for it.
    let inner = origin.service().map_response(|r| r.map(Body::new));
    CacheLayer::with_lifespan(TTL).layer(inner)
}
