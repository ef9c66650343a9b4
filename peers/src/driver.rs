//! Runs a subject: one hit after another, many at once, on several threads, behind a router.

use std::convert::Infallible;
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::{Service, ServiceExt};

use crate::origin::{Origin, Requests};

/// A subject at work. Dispatched dynamically once per batch; within a batch every call is static.
pub trait Driver: Send {
    /// Sends the requests one after another, drops each answer unread, and tells how long that took.
    fn send(&mut self, requests: Vec<Request<Body>>) -> Duration;

    /// Sends the requests all at once and waits for all answers.
    fn send_at_once(&mut self, requests: Vec<Request<Body>>);

    /// Panics unless two requests on one key are both answered with the origin's bytes. Leaves the key warm.
    fn check(&mut self, origin: &Origin);

    /// Hits per second on one key, on so many threads, each with its own clone of the service.
    fn throughput(&self, threads: usize, window: Duration) -> f64;

    /// The service as the route `/posts` of a router.
    fn into_router(self: Box<Self>) -> Router;
}

/// Makes any tower service over HTTP a [`Driver`].
pub fn drive<S, B>(service: S) -> Box<dyn Driver>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    Box::new(Driven {
        service,
        runtime: runtime(),
        body: PhantomData,
    })
}

struct Driven<S, B> {
    service: S,
    runtime: Runtime,
    body: PhantomData<fn() -> B>,
}

impl<S, B> Driver for Driven<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    fn send(&mut self, requests: Vec<Request<Body>>) -> Duration {
        self.runtime
            .block_on(send_each(&mut self.service, requests))
    }

    fn send_at_once(&mut self, requests: Vec<Request<Body>>) {
        self.runtime.block_on(async {
            let mut answers = tokio::task::JoinSet::new();
            for request in requests {
                let service = self.service.clone();
                answers.spawn(async move { body_of(service, request).await });
            }
            answers.join_all().await;
        });
    }

    fn check(&mut self, origin: &Origin) {
        for request in Requests::for_one_page().batch(2) {
            let service = self.service.clone();
            let body = self.runtime.block_on(body_of(service, request));
            assert_eq!(&body, origin.body());
        }
    }

    fn throughput(&self, threads: usize, window: Duration) -> f64 {
        let barrier = Barrier::new(threads);
        let counts = std::thread::scope(|scope| {
            let threads: Vec<_> = std::iter::repeat_with(|| {
                let service = self.service.clone();
                scope.spawn(|| count_hits(service, &barrier, window))
            })
            .take(threads)
            .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a hit does not panic"))
                .collect::<Vec<f64>>()
        });
        counts.iter().sum()
    }

    fn into_router(self: Box<Self>) -> Router {
        // The router boxes the body, as it does for every route.
        Router::new().route_service("/posts", self.service.map_response(|r| r.map(Body::new)))
    }
}

/// Makes and sends requests for `window` once all threads are ready, and tells how many a second were answered.
fn count_hits<S, B>(mut service: S, barrier: &Barrier, window: Duration) -> f64
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let requests = Requests::for_one_page();
    let runtime = runtime();
    let mut sent = 0;
    barrier.wait();
    let start = Instant::now();
    while start.elapsed() < window {
        let batch = requests.batch(BATCH);
        runtime.block_on(send_each(&mut service, batch));
        sent += BATCH;
    }
    sent as f64 / start.elapsed().as_secs_f64()
}

/// How many requests are made ahead: few enough to stay in the processor's caches.
pub const BATCH: usize = 64;

async fn send_each<S, B>(service: &mut S, requests: Vec<Request<Body>>) -> Duration
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let start = Instant::now();
    for request in requests {
        let Ok(service) = service.ready().await;
        let Ok(response) = service.call(request).await;
        drop(black_box(response));
    }
    start.elapsed()
}

async fn body_of<S, B>(service: S, request: Request<Body>) -> Bytes
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>>,
{
    let Ok(response) = service.oneshot(request).await;
    let body = response.into_body().collect().await.map_err(Into::into);
    body.expect("the body is whole").to_bytes()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a current-thread runtime starts")
}
