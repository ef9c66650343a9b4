//! What does a hit cost, over the least a service can do?
//!
//! The limit clones a prebuilt header map and a `Bytes`. The route is the README's: a ttl, three tags,
//! a `Vary`, `Cache-Status` on. Both are driven in process, in turns, so that noise hits both alike;
//! the ratio is taken round by round and its median printed. Comparisons with other caches are in
//! `peers/`.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use larder::{Cache, Profile};
use tower::{service_fn, Layer, Service};

const BATCH: usize = 500;
const ROUNDS: usize = 400;

fn main() {
    println!("| body | limit, ns | hit, ns | hit over limit | `Rfc9111` over `Safe` |");
    println!("| --- | --- | --- | --- | --- |");
    for length in [256, 4 << 10, 64 << 10, 1 << 20] {
        let body = Bytes::from(vec![b'x'; length]);
        let mut limit = origin(body.clone());
        let mut hit = route(Profile::Safe, body.clone());
        let mut proxied = route(Profile::Rfc9111, body);

        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let (limit, _) = time(&mut limit, BATCH);
            let (hit, _) = time(&mut hit, BATCH);
            let (proxied, _) = time(&mut proxied, BATCH);
            rounds.push((limit, hit, hit / limit, proxied / hit));
        }
        let median = |pick: fn(&(f64, f64, f64, f64)) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(pick).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (limit, hit, ratio) = (median(|r| r.0), median(|r| r.1), median(|r| r.2));
        let profiles = median(|r| r.3);
        println!("| {length} B | {limit:.0} | {hit:.0} | {ratio:.2} | {profiles:.2} |");
    }
}

/// The README's route, of which all but the first answers are hits.
fn route(
    profile: Profile,
    body: Bytes,
) -> impl Service<Request<Empty<Bytes>>, Response = Response<impl Sized>, Error = Infallible> {
    let cache = Cache::builder().build().expect("the defaults agree");
    let route = cache
        .layer()
        .profile(profile)
        .ttl(Duration::from_secs(3600));
    let mut hit = route
        .tag("posts")
        .tag("posts:all")
        .tag("site")
        .layer(origin(body));
    assert_eq!(time(&mut hit, BATCH).1, BATCH);
    assert_eq!(cache.stats().misses, 1, "all but the first are hits");
    hit
}

/// Answers with prebuilt fields and a prebuilt body.
fn origin(
    body: Bytes,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
       + Send
       + 'static {
    let mut fields = HeaderMap::new();
    fields.insert("content-type", HeaderValue::from_static("application/json"));
    fields.insert("vary", HeaderValue::from_static("accept-encoding"));
    fields.insert(
        "cache-control",
        HeaderValue::from_static("public, max-age=3600"),
    );
    service_fn(move |_request| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = fields.clone();
        std::future::ready(Ok(response))
    })
}

/// Nanoseconds per answer, and how many there were.
#[allow(
    clippy::disallowed_methods,
    reason = "a stopwatch has no clock to inject"
)]
fn time<S, B>(service: &mut S, requests: usize) -> (f64, usize)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let batch: Vec<_> = std::iter::repeat_with(request).take(requests).collect();
    let mut cx = Context::from_waker(Waker::noop());
    let mut answers = 0;
    let start = Instant::now();
    for request in batch {
        let mut future = std::pin::pin!(service.call(request));
        if let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) {
            answers += usize::from(black_box(response).status().is_success());
        }
    }
    (start.elapsed().as_nanos() as f64 / requests as f64, answers)
}

fn request() -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = "/posts?limit=20&offset=0"
        .parse()
        .expect("a path and a query");
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::from_static("localhost"));
    fields.insert("accept", HeaderValue::from_static("application/json"));
    fields.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
    request
}
