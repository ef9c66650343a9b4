//! A route without a cache, written as one writes a handler, answering the same bytes and fields.

use axum::response::IntoResponse;
use axum::routing::get;
use axum::Router;

use crate::origin::{Origin, FIELDS};

/// A router is a service.
pub fn service(origin: &'static Origin) -> Router {
    Router::new().route("/posts", get(move || posts(origin)))
}

async fn posts(origin: &'static Origin) -> impl IntoResponse {
    (FIELDS, origin.work().await)
}
