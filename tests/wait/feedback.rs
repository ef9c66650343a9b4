//! What the upstream says.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::{pacer, settle, Call, Duration, Request, Response, SECOND};
use larder::limit::wait::{Pacer, Priority};
use larder::limit::Quota;
use larder::ManualClock;
use tower::{service_fn, Layer, ServiceExt};

/// An upstream that refuses its first calls.
struct Refusing {
    pacer: Pacer,
    clock: ManualClock,
    calls: Arc<AtomicUsize>,
    refusals: usize,
    after: &'static str,
}

impl Refusing {
    fn new(refusals: usize, after: &'static str) -> Self {
        let (pacer, clock) = pacer(Quota::per_second(100).capacity(10), |builder| builder);
        Self {
            pacer,
            clock,
            calls: Arc::default(),
            refusals,
            after,
        }
    }

    async fn ask(&self, method: &str, retries: u32) -> Call {
        let (calls, refusals, after) = (Arc::clone(&self.calls), self.refusals, self.after);
        let client = service_fn(move |request: Request<String>| {
            let refuses = calls.fetch_add(1, Ordering::SeqCst) < refusals;
            async move {
                let mut response = Response::new(request.into_body());
                if refuses {
                    *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
                    response
                        .headers_mut()
                        .insert("retry-after", after.parse().unwrap());
                }
                Ok::<_, Infallible>(response)
            }
        });
        let request = Request::builder()
            .method(method)
            .body("body".to_owned())
            .unwrap();
        let service = self.pacer.layer().retry_idempotent(retries).layer(client);
        Call::begin(service.oneshot(request)).await
    }
}

#[tokio::test]
async fn a_refusal_of_the_upstream_pauses_everybody_and_is_returned() {
    let upstream = Refusing::new(1, "20");
    let refused = upstream.ask("GET", 0).await.answer().await.unwrap();
    assert_eq!(refused.status(), 429);
    let next = upstream.ask("GET", 0).await;
    for _ in 0..20 {
        assert!(!next.is_done().await);
        upstream.clock.advance(SECOND);
    }
    assert_eq!(upstream.calls.load(Ordering::SeqCst), 1);
    upstream.clock.advance(SECOND / 10);
    assert_eq!(next.answer().await.unwrap().status(), 200);
    assert_eq!(upstream.pacer.stats().pauses, 1);
}

#[tokio::test]
async fn what_may_be_made_twice_is_made_again_waits_again_and_pays_again() {
    let upstream = Refusing::new(2, "1");
    let call = upstream.ask("PUT", 2).await;
    for refusals in [1, 2] {
        assert!(!call.is_done().await);
        assert_eq!(upstream.calls.load(Ordering::SeqCst), refusals);
        upstream.clock.advance(SECOND + SECOND / 10);
    }
    settle().await;
    let response = call.answer().await.unwrap();
    assert_eq!(
        (response.status(), &**response.body()),
        (http::StatusCode::OK, "body")
    );
    assert_eq!(upstream.pacer.stats().granted, [0, 3, 0]);
}

#[tokio::test]
async fn what_may_not_be_made_twice_or_too_often_is_answered_as_it_is() {
    for (method, retries, calls) in [("POST", 5, 1), ("GET", 1, 2)] {
        let upstream = Refusing::new(9, "0");
        let call = upstream.ask(method, retries).await;
        for _ in 0..20 {
            if call.is_done().await {
                break;
            }
            upstream.clock.advance(SECOND);
        }
        assert_eq!(upstream.calls.load(Ordering::SeqCst), calls, "{method}");
    }
}

#[tokio::test]
async fn the_first_answer_is_returned_where_the_second_call_cannot_be_made_in_time() {
    let upstream = Refusing::new(1, "86400");
    let answer = upstream.ask("GET", 3).await.answer().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(upstream.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn only_what_the_upstream_did_not_answer_now_is_made_again() {
    for (status, calls) in [(404, 1), (500, 1), (301, 1), (429, 3), (503, 3)] {
        let upstream = Telling::new(status, "\"a\";r=0;t=0");
        let answer = upstream.ask(2).await;
        assert_eq!((answer, upstream.calls()), (status, calls), "{status}");
    }
}

#[tokio::test]
async fn an_upstream_with_nothing_left_that_answers_is_called_again_as_soon_as_a_token_is_there() {
    let upstream = Telling::new(200, "\"a\";r=0;t=3600");
    assert_eq!(upstream.ask(0).await, 200);
    // What was saved is not used, and what comes is not lost by being told again.
    for (after, calls) in [(0, 1), (9, 1), (3, 2), (9, 3)] {
        upstream.clock.advance(Duration::from_millis(after));
        let call = upstream.begin(0).await;
        let _ = call.is_done().await;
        assert_eq!(upstream.calls(), calls);
    }
    assert_eq!(upstream.pacer.stats().pauses, 0);
}

/// An upstream that answers everything with one status and one `RateLimit`, at a hundred calls per second.
struct Telling {
    pacer: Pacer,
    clock: ManualClock,
    calls: Arc<AtomicUsize>,
    status: u16,
    limit: &'static str,
}

impl Telling {
    fn new(status: u16, limit: &'static str) -> Self {
        let (pacer, clock) = pacer(Quota::per_second(100).capacity(10), |builder| builder);
        Self {
            pacer,
            clock,
            calls: Arc::default(),
            status,
            limit,
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn begin(&self, retries: u32) -> Call {
        let (calls, status, limit) = (Arc::clone(&self.calls), self.status, self.limit);
        let client = service_fn(move |_: Request<String>| {
            calls.fetch_add(1, Ordering::SeqCst);
            let response = Response::builder().status(status);
            let response = response.header("ratelimit", limit).body(String::new());
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        let layer = self.pacer.layer().priority(Priority::Critical);
        let service = layer.retry_idempotent(retries).layer(client);
        Call::begin(service.oneshot(Request::new(String::new()))).await
    }

    async fn ask(&self, retries: u32) -> u16 {
        let call = self.begin(retries).await;
        while !call.is_done().await {
            self.clock.advance(SECOND / 100);
        }
        call.answer().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn nobody_is_paused_for_longer_than_ten_minutes_and_no_other_bucket() {
    let upstream = Refusing::new(1, "86400");
    let _ = upstream.ask("GET", 0).await.answer().await.unwrap();
    let next = upstream.ask("GET", 0).await.answer().await;
    let wait = next.unwrap_err().retry_after().unwrap();
    let ten_minutes = Duration::from_secs(600);
    assert!(
        wait >= ten_minutes && wait < ten_minutes + SECOND,
        "{wait:?}: never longer"
    );
    upstream.pacer.pause("other", SECOND).await;
    assert!(upstream
        .pacer
        .ready("third", Priority::Normal)
        .await
        .is_ok());
}
