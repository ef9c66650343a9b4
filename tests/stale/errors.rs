//! Stale answers in place of failed ones, and those that were marked stale.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use larder::{CacheLayer, Invalidate};
use tower::{Layer, ServiceExt};

use super::drive::*;
use super::support::*;
use super::*;

#[tokio::test]
async fn a_stale_response_stands_in_for_an_answer_that_failed() {
    for code in [500, 502, 503, 504] {
        for (directives, route) in [("max-age=60, stale-if-error=5", 0), ("max-age=60", 5)] {
            let (cache, clock) = cache();
            let mut layer = cache.layer().ttl(secs(10));
            if route > 0 {
                layer = layer.stale_if_error(secs(route));
            }
            let (origin, permits) = slow_to_refresh(move |number| {
                let mut response = if number == 1 {
                    text("kept")
                } else {
                    status(code)
                };
                response
                    .headers_mut()
                    .insert("cache-control", directives.parse().unwrap());
                response
            });
            permits.add_permits(10);
            ask(&layer, &origin, &[]).await;
            clock.advance(secs(12));
            let answer = send(&layer, &origin, get("/", &[])).await;
            let decision = format!("fwd=stale; fwd-status={code}; detail=stale-if-error");
            assert_eq!((answer.text(), answer.status), ("kept", 200));
            assert_eq!(answer.decision(), decision);
            assert_eq!(answer.field("age"), "12");
            clock.advance(secs(3)); // the window has closed
            assert_eq!(send(&layer, &origin, get("/", &[])).await.status, code);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_failure_is_not_replaced_by_a_stale_one() {
    for code in [200, 404, 429, 501, 505] {
        let (cache, clock) = cache();
        let layer = cache.layer().ttl(secs(10)).stale_if_error(MINUTE);
        let (origin, permits) = slow_to_refresh(move |number| {
            if number == 1 {
                text("kept")
            } else {
                status(code)
            }
        });
        permits.add_permits(10);
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        let answer = send(&layer, &origin, get("/", &[])).await;
        assert_eq!((answer.text(), answer.status), ("", code));
    }
}

/// A service whose error is its own; it fails while it is told to.
#[derive(Clone, Default)]
struct Failing(Arc<AtomicBool>);

impl Failing {
    async fn ask(&self, layer: &CacheLayer) -> Result<String, String> {
        let fails = Arc::clone(&self.0);
        let inner = tower::service_fn(move |_: Request<Full<Bytes>>| {
            let failed = fails.load(Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                if failed {
                    return Err("no connection".to_owned());
                }
                Ok(Response::new(Full::new(Bytes::from_static(b"kept"))))
            }
        });
        let response = layer.layer(inner).oneshot(get("/", &[])).await?;
        Ok(read(response).await.decision())
    }
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_error_of_the_service_which_else_is_kept() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10)).stale_if_error(secs(5));
    let service = Failing::default();
    assert_eq!(service.ask(&layer).await.unwrap(), "fwd=uri-miss; stored");
    service.0.store(true, Ordering::SeqCst);
    assert_eq!(service.ask(&layer).await.unwrap(), "hit; ttl=10");
    clock.advance(secs(12));
    let (leads, follows) = tokio::join!(service.ask(&layer), service.ask(&layer));
    assert_eq!(leads.unwrap(), "fwd=stale; detail=stale-if-error");
    assert_eq!(
        follows.unwrap(),
        "fwd=stale; collapsed; detail=stale-if-error"
    );
    clock.advance(secs(3));
    assert_eq!(service.ask(&layer).await.unwrap_err(), "no connection");
}

#[tokio::test]
async fn must_revalidate_and_its_siblings_forbid_every_stale_answer() {
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let (cache, clock) = cache();
        let layer = cache
            .layer()
            .ttl(secs(10))
            .stale_while_revalidate(MINUTE)
            .stale_if_error(MINUTE);
        let (origin, permits) = slow_to_refresh(move |number| {
            let mut response = if number == 1 {
                text("kept")
            } else {
                status(503)
            };
            let said =
                format!("max-age=60, stale-while-revalidate=60, stale-if-error=60, {directive}");
            response
                .headers_mut()
                .insert("cache-control", said.parse().unwrap());
            response
        });
        permits.add_permits(10);
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        for fields in [&[][..], &[("cache-control", "max-stale")]] {
            let answer = send(&layer, &origin, get("/", fields)).await;
            assert_eq!(answer.status, 503, "{directive} {fields:?}");
        }
    }
}

#[tokio::test]
async fn what_was_purged_is_never_a_source_of_stale_answers() {
    for fields in [&[][..], &[("cache-control", "max-stale")]] {
        let (cache, clock) = cache();
        let layer = cache
            .layer()
            .ttl(secs(10))
            .stale_while_revalidate(MINUTE)
            .stale_if_error(MINUTE)
            .tag("posts");
        let (origin, permits) = slow_to_refresh(|number| match number {
            1 => text("purged"),
            _ => status(503),
        });
        permits.add_permits(10);
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        drop(cache.invalidate_tag("posts")); // not even counted
        assert_eq!(send(&layer, &origin, get("/", fields)).await.status, 503);
    }
}

#[tokio::test]
async fn what_is_purged_while_its_failing_call_runs_does_not_stand_in_for_it() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(secs(10))
        .stale_if_error(MINUTE)
        .tag("posts");
    let (origin, permits) = slow_to_refresh(|number| match number {
        1 => text("purged"),
        _ => status(503),
    });
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(12));
    let leads = spawn(&layer, &origin, get("/", &[]));
    let follows = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    drop(cache.invalidate_tag("posts"));
    permits.add_permits(10);
    assert_eq!(leads.await.unwrap().status, 503);
    assert_eq!(follows.await.unwrap().status, 503);
}

#[tokio::test]
async fn a_softly_invalidated_response_is_stale_and_usable_where_stale_ones_are() {
    let (cache, _clock) = cache();
    let plain = cache.layer().ttl(MINUTE).tag("posts");
    let (origin, permits) = slow_to_refresh(numbered);
    permits.add_permits(10);
    let soft = || cache.invalidate(Invalidate::tag("posts").soft());
    ask(&plain, &origin, &[]).await;
    assert_eq!(soft().await.entries, Some(1));
    assert_eq!(
        ask(&plain, &origin, &[]).await,
        is("call 2", "fwd=stale; stored")
    );

    let lenient = cache
        .layer()
        .ttl(MINUTE)
        .tag("posts")
        .stale_while_revalidate(secs(5));
    let _ = cache.invalidate_all().await;
    ask(&lenient, &origin, &[]).await;
    assert_eq!(soft().await.entries, Some(1));
    let stale = is("call 3", "hit; ttl=-1; detail=stale-while-revalidate");
    assert_eq!(ask(&lenient, &origin, &[]).await, stale);
    assert_eq!(
        ask(&lenient, &origin, &[]).await,
        is("call 4", "hit; ttl=60")
    );
    assert_eq!(origin.calls(), 4);
}

#[tokio::test]
async fn a_softly_invalidated_response_stands_in_for_a_failing_call() {
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .stale_if_error(secs(5))
        .tag("posts");
    let (origin, permits) = slow_to_refresh(|number| {
        if number == 1 {
            text("kept")
        } else {
            status(500)
        }
    });
    permits.add_permits(10);
    ask(&layer, &origin, &[]).await;
    drop(cache.invalidate(Invalidate::all().soft()));
    let decision = "fwd=stale; fwd-status=500; detail=stale-if-error";
    assert_eq!(ask(&layer, &origin, &[]).await, is("kept", decision));
    drop(cache.invalidate_tag("posts"));
    assert_eq!(send(&layer, &origin, get("/", &[])).await.status, 500);
}
