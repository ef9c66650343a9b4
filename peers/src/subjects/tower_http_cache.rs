//! tower-http-cache with its in-memory backend, keyed by path and query.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_http_cache::prelude::{CacheLayer, InMemoryBackend};

use super::{CAPACITY, TTL};
use crate::origin::Origin;

type Error = Box<dyn std::error::Error + Send + Sync>;

pub fn service(
    origin: &'static Origin,
) -> impl Service<
    Request<Body>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Error> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
       + Send
       + Sync
       + 'static {
    let layer = CacheLayer::builder(InMemoryBackend::new(CAPACITY))
        .ttl(TTL)
        .build();
    // It boxes the inner service's error, so a type says no longer that there is none.
    let infallible =
        |error: Error| -> Infallible { unreachable!("the origin never fails: {error}") };
    layer.layer(origin.service()).map_err(infallible)
}
