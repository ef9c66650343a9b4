//! What does a limit cost, over the least a service can do?
//!
//! The service under it is that of `cache_hit`: it clones a prebuilt header map and a `Bytes`. The limit is the
//! README's: by the address of the connection, fields on. All are driven in process, in turns, so
//! that noise hits them alike; the ratio is taken round by round and its median printed. Comparisons with other
//! limiters are in `peers/`.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use larder::limit::Profile;
use larder::{LimitLayer, Quota};
use tower::{service_fn, Layer, Service};

const BATCH: usize = 500;
const ROUNDS: usize = 400;

fn main() {
    let plenty = Quota::per_second(1_000_000_000).capacity(1_000_000_000);
    let layer = |quota| LimitLayer::new(quota).by_peer_ip();
    let mut limit = origin();
    let mut admitted = layer(plenty).layer(origin());
    let mut bare = layer(plenty).fields(Profile::None).layer(origin());
    let mut several = layer(plenty).and(plenty).and(plenty).layer(origin());
    let mut refused = layer(Quota::per_hour(1)).layer(origin());
    time(&mut refused, 1);

    let mut rounds = vec![Vec::new(); 5];
    for _ in 0..ROUNDS {
        rounds[0].push(time(&mut limit, BATCH));
        rounds[1].push(time(&mut admitted, BATCH));
        rounds[2].push(time(&mut bare, BATCH));
        rounds[3].push(time(&mut several, BATCH));
        rounds[4].push(time(&mut refused, BATCH));
    }
    println!("| | ns | over limit |");
    println!("| --- | --- | --- |");
    let names = [
        "limit",
        "admitted",
        "without fields",
        "three quotas",
        "refused",
    ];
    for (name, times) in names.iter().zip(&rounds) {
        let ratios = times
            .iter()
            .zip(&rounds[0])
            .map(|(time, limit)| time / limit);
        let (ratio, time) = (median(ratios.collect()), median(times.clone()));
        println!("| {name} | {time:.0} | {ratio:.2} |");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers with prebuilt fields and a prebuilt body.
fn origin() -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone {
    let body = Bytes::from(vec![b'x'; 4096]);
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("vary", "accept-encoding"),
        ("cache-control", "public, max-age=3600"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    service_fn(move |_request| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = fields.clone();
        std::future::ready(Ok(response))
    })
}

/// Nanoseconds per answer.
#[allow(
    clippy::disallowed_methods,
    reason = "a stopwatch has no clock to inject"
)]
fn time<S, B>(service: &mut S, requests: usize) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let batch: Vec<_> = (0..requests).map(request).collect();
    let mut cx = Context::from_waker(Waker::noop());
    let start = Instant::now();
    for request in batch {
        let mut future = std::pin::pin!(service.call(request));
        if let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) {
            black_box(response);
        }
    }
    let elapsed: Duration = start.elapsed();
    elapsed.as_nanos() as f64 / requests as f64
}

/// As axum serves it.
fn request(_: usize) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = "/posts?limit=20&offset=0"
        .parse()
        .expect("a path and a query");
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::from_static("localhost"));
    fields.insert("accept", HeaderValue::from_static("application/json"));
    fields.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}
