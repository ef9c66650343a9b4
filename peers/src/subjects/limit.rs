//! The least a service can do: a prebuilt response, its fields and its `Bytes` cloned.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

use crate::origin::Origin;

pub fn service(
    origin: &'static Origin,
) -> impl Service<Request<Body>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
       + Clone
       + Send
       + Sync
       + 'static {
    origin.service()
}
