//! What an answer from store asks of the allocator: two pieces for its map of fields, and nothing else, whatever
//! is sent of it and in whichever coding.
//!
//! Counted in the whole process, so this is one test in a process of its own.

use std::alloc::System;
use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use larder::conditional::Validator;
use larder::Cache;
use stats_alloc::{Region, StatsAlloc, INSTRUMENTED_SYSTEM};
use tower::{service_fn, Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Field = (&'static str, &'static str);

#[test]
fn an_answer_from_store_takes_two_allocations() {
    let body = Bytes::from("0123456789 abcdef ".repeat(200));
    let tag = Validator::of_content(&body);
    let tag: &'static str = String::leak(tag.etag().unwrap().to_str().unwrap().to_owned());
    let cache = Cache::builder().build().unwrap();
    let layer = cache.layer().ttl(Duration::from_secs(3600));
    let mut service = layer.tag("posts").layer(service_fn(move |_| {
        let response = Response::builder()
            .header("content-type", "text/plain")
            .header("etag", tag)
            .body(Full::new(body.clone()));
        std::future::ready(Ok(response.unwrap()))
    }));
    let rows: [(&[Field], u16); 5] = [
        (&[], 200),
        (&[("accept-encoding", "gzip")], 200),
        (&[("accept-encoding", "gzip, deflate, br, zstd")], 200),
        (&[("if-none-match", tag)], 304),
        (&[("accept-encoding", "gzip"), ("if-none-match", tag)], 304),
    ];
    for (fields, status) in rows {
        let asked = |target| {
            let request = fields
                .iter()
                .fold(Request::get(target), |request, (name, value)| {
                    request.header(*name, *value)
                });
            request.header("host", "a").body(Empty::new()).unwrap()
        };
        // Stored, or put into its coding, by who asked first; other threads may allocate now and then.
        answer(&mut service, asked("/posts?limit=20&offset=0"), status);
        let counts =
            (0..8).map(|_| answer(&mut service, asked("/posts?limit=20&offset=0"), status));
        assert_eq!(counts.min(), Some(2), "{fields:?}");
    }
    assert_eq!(cache.stats().misses, 1);
}

/// How many allocations an answer takes.
fn answer<S, B>(service: &mut S, request: Request<Empty<Bytes>>, status: u16) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let region = Region::new(ALLOCATOR);
    let mut future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        panic!("everything is there already");
    };
    let counted = region.change();
    assert_eq!(black_box(response).status(), status);
    counted.allocations + counted.reallocations
}
