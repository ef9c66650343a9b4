//! May this caller pass? The limiter by itself, and the layer through the tower interface.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs them")]

#[cfg(feature = "redis")]
#[path = "../support/masters.rs"]
mod cluster;
#[cfg(feature = "redis")]
#[path = "../support/ledger.rs"]
mod ledger;
#[path = "../support/log.rs"]
mod log;
#[cfg(feature = "redis")]
#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "redis")]
#[path = "../support/watched.rs"]
mod watched;

mod answers;
#[cfg(feature = "axum")]
mod axum;
mod config;
mod costs;
mod fields;
mod groups;
mod keys;
mod limiter;
mod lists;
#[cfg(feature = "redis")]
mod masters;
#[cfg(feature = "redis")]
mod nodes;
mod readiness;
#[cfg(feature = "redis")]
mod redis;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use larder::limit::PeerAddr;
use larder::{LimitLayer, ManualClock, Quota};
use support::{get, read, Answer, Origin};
use tower::{Layer, Service, ServiceExt};

/// By peer address, with a clock that stands still until it is moved.
fn by_peer(quota: Quota) -> (LimitLayer, ManualClock) {
    let clock = ManualClock::new();
    let layer = LimitLayer::new(quota).clock(clock.clock()).by_peer_ip();
    (layer, clock)
}

/// `GET /` from this address.
fn from(peer: &str) -> Request<Full<Bytes>> {
    with_peer(get("/", &[]), peer)
}

fn with_peer(mut request: Request<Full<Bytes>>, peer: &str) -> Request<Full<Bytes>> {
    let address: SocketAddr = (peer.parse::<std::net::IpAddr>().unwrap(), 4711).into();
    request.extensions_mut().insert(PeerAddr(address));
    request
}

/// Sends a request through the layer. A service is made for each, as routers do.
async fn ask<S, B>(layer: &LimitLayer, inner: &S, request: Request<Full<Bytes>>) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Error: std::fmt::Debug>,
{
    let service = layer.layer(inner.clone());
    read(service.oneshot(request).await.unwrap()).await
}

/// How many of so many requests pass.
async fn passing(layer: &LimitLayer, origin: &Origin, requests: usize, peer: &str) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(ask(layer, origin, from(peer)).await.status == 200);
    }
    passed
}
