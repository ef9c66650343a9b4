//! What does an answer in gzip cost: kept by the cache, over the least a service can do, and made for the
//! first time, over tower-http's layer?
//!
//! The limit clones a prebuilt header map and a `Bytes`. Both sides of each ratio are driven in process,
//! in turns, so that noise hits both alike; the ratio is taken round by round and its median printed.

#![allow(clippy::print_stdout, reason = "it prints tables")]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full};
use larder::{Cache, CompressLayer};
use tower::{service_fn, Layer, Service};
use tower_http::compression::CompressionLayer;

fn main() {
    println!("| body | limit, ns | gzip hit, ns | gzip hit over limit | plain hit over limit |");
    println!("| --- | --- | --- | --- | --- |");
    for length in [4 << 10, 64 << 10, 1 << 20] {
        hits(length);
    }
    println!("\n| stream | tower-http, us | larder, us | larder over tower-http |");
    println!("| --- | --- | --- | --- |");
    for (chunks, length) in [(1, 4 << 10), (16, 4 << 10), (64, 16 << 10)] {
        first_time(chunks, length);
    }
}

fn hits(length: usize) {
    const BATCH: usize = 500;
    let body = text(length);
    let mut limit = origin(body.clone());
    let cache = Cache::builder().build().expect("the defaults agree");
    let route = cache.layer().ttl(Duration::from_secs(3600));
    let mut hit = route
        .tag("posts")
        .tag("posts:all")
        .tag("site")
        .layer(origin(body));
    // Made without a runtime, a large form is there when its first answer is.
    drive(&mut hit, 2, gzip);
    let mut rounds = Vec::new();
    for _ in 0..400 {
        let limit = drive(&mut limit, BATCH, gzip);
        let coded = drive(&mut hit, BATCH, gzip);
        let plain = drive(&mut hit, BATCH, plain);
        rounds.push([limit, coded, coded / limit, plain / limit]);
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.misses, stats.encoded),
        (1, 1),
        "all but the first are hits"
    );
    let [limit, coded, ratio, plain] = medians(&rounds);
    println!("| {length} B | {limit:.0} | {coded:.0} | {ratio:.2} | {plain:.2} |");
}

fn first_time(chunks: usize, length: usize) {
    let chunk = text(length);
    let stream = move || Chunks(std::iter::repeat_n(chunk.clone(), chunks).collect());
    let handler = service_fn(move |_: Request<Empty<Bytes>>| {
        let response = Response::builder().header("content-type", "application/json");
        std::future::ready(Ok::<_, Infallible>(
            response.body(stream()).expect("a field"),
        ))
    });
    let mut theirs = CompressionLayer::new().layer(handler.clone());
    let mut ours = CompressLayer::new().layer(handler);
    let mut rounds = Vec::new();
    for _ in 0..150 {
        let theirs = read_to_end(&mut theirs);
        let ours = read_to_end(&mut ours);
        rounds.push([theirs, ours, ours / theirs, 0.0]);
    }
    let [theirs, ours, ratio, _] = medians(&rounds);
    let (theirs, ours) = (theirs / 1000.0, ours / 1000.0);
    println!("| {chunks} x {length} B | {theirs:.0} | {ours:.0} | {ratio:.2} |");
}

fn medians(rounds: &[[f64; 4]]) -> [f64; 4] {
    [0, 1, 2, 3].map(|at| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// JSON that becomes about a fifth, as answers of services do.
fn text(length: usize) -> Bytes {
    let mut state = 1_u64;
    let mut text = Vec::new();
    while text.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (id, views) = (state >> 50, (state >> 20) & 0xfff);
        let item = format!("{{\"id\":{id},\"title\":\"post number {id}\",\"views\":{views}}},");
        text.extend_from_slice(item.as_bytes());
    }
    text.truncate(length);
    text.into()
}

/// A stream of unknown length, all of it there.
struct Chunks(Vec<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|chunk| Ok(Frame::data(chunk))))
    }
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

/// Nanoseconds per answer.
#[allow(
    clippy::disallowed_methods,
    reason = "a stopwatch has no clock to inject"
)]
fn drive<S, B>(service: &mut S, requests: usize, request: fn() -> Request<Empty<Bytes>>) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let batch: Vec<_> = std::iter::repeat_with(request).take(requests).collect();
    let mut cx = Context::from_waker(Waker::noop());
    let start = Instant::now();
    for request in batch {
        let mut future = pin!(service.call(request));
        if let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) {
            black_box(response);
        }
    }
    start.elapsed().as_nanos() as f64 / requests as f64
}

/// Nanoseconds for an answer, read to its end.
#[allow(
    clippy::disallowed_methods,
    reason = "a stopwatch has no clock to inject"
)]
fn read_to_end<S, B>(service: &mut S) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let request = gzip();
    let start = Instant::now();
    let mut future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        unreachable!("the handler is ready at once");
    };
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut body = pin!(response.into_body());
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => drop(black_box(frame)),
            Poll::Pending => {} // it yielded
        }
    }
    start.elapsed().as_nanos() as f64
}

fn gzip() -> Request<Empty<Bytes>> {
    let mut request = plain();
    let fields = request.headers_mut();
    fields.insert("accept-encoding", HeaderValue::from_static("gzip"));
    request
}

fn plain() -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = "/posts?limit=20&offset=0"
        .parse()
        .expect("a path and a query");
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::from_static("localhost"));
    fields.insert("accept", HeaderValue::from_static("application/json"));
    request
}
