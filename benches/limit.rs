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
    let mut refused = layer(Quota::per_hour(1)).layer(origin());
    time(&mut refused, 1, one_client);
    let subjects: [(&str, Box<dyn FnMut() -> f64>); 6] = [
        ("limit", timed(origin(), one_client)),
        ("admitted", timed(layer(plenty).layer(origin()), one_client)),
        // Who each have something else left: what they are told is not the same each time.
        (
            "many clients",
            timed(
                layer(Quota::per_minute(6_000)).layer(origin()),
                many_clients,
            ),
        ),
        (
            "without fields",
            timed(
                layer(plenty).fields(Profile::None).layer(origin()),
                one_client,
            ),
        ),
        (
            "three quotas",
            timed(
                layer(plenty).and(plenty).and(plenty).layer(origin()),
                one_client,
            ),
        ),
        ("refused", timed(refused, one_client)),
    ];
    // Those that are named are measured; the limit always is.
    let named: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<&String> = named.iter().filter(|name| !name.starts_with('-')).collect();
    let (names, mut subjects): (Vec<_>, Vec<_>) = subjects
        .into_iter()
        .filter(|(name, _)| *name == "limit" || named.is_empty() || named.iter().any(|n| n == name))
        .unzip();
    let mut rounds = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (times, subject) in rounds.iter_mut().zip(&mut subjects) {
            times.push(subject());
        }
    }
    println!("| | ns | over limit |");
    println!("| --- | --- | --- |");
    for (name, times) in names.iter().zip(&rounds) {
        let ratios = times
            .iter()
            .zip(&rounds[0])
            .map(|(time, limit)| time / limit);
        let (ratio, time) = (median(ratios.collect()), median(times.clone()));
        println!("| {name} | {time:.0} | {ratio:.2} |");
    }
}

/// The time of a batch, each time it is called.
fn timed<S, B>(mut service: S, client: fn(usize) -> u8) -> Box<dyn FnMut() -> f64>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + 'static,
{
    Box::new(move || time(&mut service, BATCH, client))
}

/// The last part of the address that the n-th request comes from.
fn one_client(_: usize) -> u8 {
    7
}

/// Some of them ask more often.
fn many_clients(n: usize) -> u8 {
    (n * n % 251) as u8
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
fn time<S, B>(service: &mut S, requests: usize, client: fn(usize) -> u8) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let batch: Vec<_> = (0..requests).map(|n| request(client(n))).collect();
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
fn request(client: u8) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = "/posts?limit=20&offset=0"
        .parse()
        .expect("a path and a query");
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::from_static("localhost"));
    fields.insert("accept", HeaderValue::from_static("application/json"));
    fields.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
    let peer = SocketAddr::from(([192, 0, 2, client], 4711));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}
