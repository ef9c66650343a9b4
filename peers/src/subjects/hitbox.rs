//! hitbox-tower with its moka backend: the binary format that its documentation recommends (the default, JSON, writes
//! a body as a list of numbers), and the manager that collapses requests (the default does not).

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use hitbox::concurrency::BroadcastConcurrencyManager;
use hitbox::policy::{ConcurrencyLimit, PolicyConfig};
use hitbox::Config;
use hitbox_backend::format::BincodeFormat;
use hitbox_http::extractors::path::PathExtractor;
use hitbox_http::extractors::query::QueryExtractor;
use hitbox_http::extractors::Method;
use hitbox_http::predicates::{NeutralRequestPredicate, NeutralResponsePredicate};
use hitbox_moka::MokaBackend;
use hitbox_tower::Cache;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{CAPACITY, TTL};
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
    let key = Method::new()
        .path("{path}*")
        .query("limit".to_owned())
        .query("offset".to_owned());
    let policy = PolicyConfig::builder()
        .ttl(TTL)
        .concurrency(ConcurrencyLimit::MIN)
        .build();
    let config = Config::builder()
        .request_predicate(NeutralRequestPredicate::new())
        .response_predicate(NeutralResponsePredicate::new())
        .extractor(key)
        .policy(policy)
        .build();
    let backend = MokaBackend::builder()
        .value_format(BincodeFormat)
        .max_entries(CAPACITY)
        .build();
    Cache::builder()
        .backend(backend)
        .config(config)
        .concurrency_manager(BroadcastConcurrencyManager::new())
        .build()
        .layer(origin.service())
}
