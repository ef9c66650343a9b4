//! What does a tag cost over its hash, and a 304 from the cache over the least a service can do?
//!
//! A fresh answer is tagged by the layer alone; beside it, sha-256 of the same bytes, and the same
//! service without the layer. A 304 is the answer to `If-None-Match` of a stored response with the
//! fields of the README's routes; the limit clones a prebuilt header map and a `Bytes`. All are
//! driven in process, in turns, so that noise hits them alike; medians of the rounds are printed.

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
use larder::conditional::Validator;
use larder::{Cache, ConditionalLayer};
use sha2::{Digest, Sha256};
use tower::{service_fn, Layer, Service};

const ROUNDS: usize = 400;
const SIZES: [usize; 4] = [256, 4 << 10, 64 << 10, 1 << 20];

fn main() {
    tags();
    not_modified();
}

fn tags() {
    println!("| fresh body | sha-256, ns | untagged, ns | tagged, ns | tagged less both, ns |");
    println!("| --- | --- | --- | --- | --- |");
    for length in SIZES {
        let body = Bytes::from(vec![b'x'; length]);
        let mut plain = origin(body.clone(), None);
        let mut tagged = ConditionalLayer::new().layer(origin(body.clone(), None));
        let batch = (64 << 10) / length.clamp(256, 64 << 10) + 1;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let hash = stopwatch(batch, || {
                black_box(Sha256::digest(black_box(&body)));
            });
            let plain = time(&mut plain, batch, None);
            let tagged = time(&mut tagged, batch, None);
            rounds.push([hash, plain, tagged, tagged - hash - plain]);
        }
        let [hash, plain, tagged, more] = medians(&rounds);
        println!("| {length} B | {hash:.0} | {plain:.0} | {tagged:.0} | {more:.0} |");
    }
}

fn not_modified() {
    println!("| stored body | limit, ns | hit, ns | 304, ns | hit over limit | 304 over limit |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for length in SIZES {
        let body = Bytes::from(vec![b'x'; length]);
        let tag = Validator::of_content(&body).etag().cloned();
        let mut limit = origin(body.clone(), tag.clone());
        let cache = Cache::builder().build().expect("the defaults agree");
        let route = cache.layer().ttl(Duration::from_secs(3600));
        let route = route.tag("posts").tag("posts:all").tag("site");
        let mut hit = route.layer(origin(body, tag.clone()));
        time(&mut hit, 2, None);
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let limit = time(&mut limit, 500, tag.as_ref());
            let whole = time(&mut hit, 500, None);
            let same = time(&mut hit, 500, tag.as_ref());
            rounds.push([limit, whole, same, whole / limit, same / limit]);
        }
        assert_eq!(cache.stats().misses, 1, "all but the first are hits");
        let [limit, whole, same, hit, not] = medians(&rounds);
        println!("| {length} B | {limit:.0} | {whole:.0} | {same:.0} | {hit:.2} | {not:.2} |");
    }
}

fn medians<const N: usize>(rounds: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|column| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// Answers with prebuilt fields and a prebuilt body.
fn origin(
    body: Bytes,
    tag: Option<HeaderValue>,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
       + Send
       + 'static {
    let mut fields = HeaderMap::new();
    let public = HeaderValue::from_static("public, max-age=3600");
    fields.insert("content-type", HeaderValue::from_static("application/json"));
    fields.insert("vary", HeaderValue::from_static("accept-encoding"));
    fields.insert("cache-control", public);
    if let Some(tag) = tag {
        fields.insert("etag", tag);
    }
    service_fn(move |_request| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = fields.clone();
        std::future::ready(Ok(response))
    })
}

/// Nanoseconds per answer.
fn time<S, B>(service: &mut S, requests: usize, held: Option<&HeaderValue>) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let mut batch: Vec<_> = std::iter::repeat_with(|| request(held))
        .take(requests)
        .collect();
    let mut cx = Context::from_waker(Waker::noop());
    stopwatch(requests, || {
        let request = batch.pop().expect("one for each call");
        let mut future = std::pin::pin!(service.call(request));
        let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
            panic!("everything is there already");
        };
        black_box(response);
    })
}

/// Nanoseconds per call.
#[allow(
    clippy::disallowed_methods,
    reason = "a stopwatch has no clock to inject"
)]
fn stopwatch(calls: usize, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn request(held: Option<&HeaderValue>) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    let target = "/posts?limit=20&offset=0".parse();
    *request.uri_mut() = target.expect("a path and a query");
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::from_static("localhost"));
    fields.insert("accept", HeaderValue::from_static("application/json"));
    fields.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
    if let Some(held) = held {
        fields.insert("if-none-match", held.clone());
    }
    request
}
