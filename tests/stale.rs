//! Stale answers: when they are allowed, what refreshes them, and what never lets them come back.

#[path = "support/drive.rs"]
mod drive;
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drive::*;
use http::{Request, Response};
use http_body_util::Full;
use larder::{Cache, CacheLayer, Invalidate, ManualClock};
use support::*;
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Answers its first call at once, and each later one when it gets a permit; answers are numbered
/// and made by `respond`.
fn slow_to_refresh(
    respond: impl Fn(usize) -> Response<TestBody> + Send + Sync + 'static,
) -> (Origin, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(1));
    let (gate, respond, number) = (Arc::clone(&permits), Arc::new(respond), AtomicUsize::new(0));
    let origin = Origin::later(move |_| {
        let (gate, respond) = (Arc::clone(&gate), Arc::clone(&respond));
        let number = number.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            respond(number)
        })
    });
    (origin, permits)
}

fn numbered(number: usize) -> Response<TestBody> {
    text(format!("call {number}"))
}

/// Asks, and gives a refresh that this starts its turns.
async fn ask(layer: &CacheLayer, origin: &Origin, fields: &[(&str, &str)]) -> (String, String) {
    let answer = send(layer, origin, get("/", fields)).await;
    settle().await;
    (answer.text().to_owned(), answer.decision())
}

/// The text of an answer and what `Cache-Status` says of it.
fn is(text: &str, decision: &str) -> (String, String) {
    (text.to_owned(), decision.to_owned())
}

#[tokio::test]
async fn a_stale_response_answers_while_one_request_refreshes_it() {
    let from_route = |cache: &Cache| cache.layer().ttl(secs(10)).stale_while_revalidate(secs(5));
    let from_response = |cache: &Cache| cache.layer().ttl(secs(10));
    type Configure = fn(&Cache) -> CacheLayer;
    let layers: [(Configure, _); 2] = [
        (from_route, ""),
        (from_response, "max-age=60, stale-while-revalidate=5"),
    ];
    for (layer, directives) in layers {
        let (cache, clock) = cache();
        let layer = layer(&cache);
        let (origin, permits) = slow_to_refresh(move |number| {
            let mut response = numbered(number);
            if !directives.is_empty() {
                response
                    .headers_mut()
                    .insert("cache-control", directives.parse().unwrap());
            }
            response
        });
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        let stale = is("call 1", "hit; ttl=-2; detail=stale-while-revalidate");
        for _ in 0..10 {
            assert_eq!(ask(&layer, &origin, &[]).await, stale);
        }
        assert_eq!(origin.calls(), 2, "one refresh per key");
        permits.add_permits(1);
        settle().await;
        assert_eq!(ask(&layer, &origin, &[]).await, is("call 2", "hit; ttl=10"));
        let stats = cache.stats();
        assert_eq!((stats.stale, stats.refreshes, stats.hits), (10, 1, 1));
        // Beyond the window the caller waits.
        clock.advance(secs(15));
        permits.add_permits(1);
        assert_eq!(
            ask(&layer, &origin, &[]).await,
            is("call 3", "fwd=stale; stored")
        );
    }
}

#[tokio::test]
async fn a_refresh_whose_body_streams_is_completed_whoever_looks_on() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10)).stale_while_revalidate(secs(5));
    let (open, wait) = gate();
    let bodies = Mutex::new(vec![
        vec![Step::Data("b"), wait, Step::Data("b")],
        vec![Step::Data("a")],
    ]);
    let origin = Origin::new(move |_| {
        let steps = bodies.lock().unwrap().pop().expect("two calls");
        Response::new(TestBody::new(steps))
    });
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(12));
    for _ in 0..3 {
        ask(&layer, &origin, &[]).await;
    }
    clock.advance(secs(4)); // the window has closed: this one waits for the refresh
    let waiting = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    open.send(()).unwrap();
    settle().await;
    assert_eq!(waiting.await.unwrap().decision(), "fwd=stale; collapsed");
    assert_eq!(ask(&layer, &origin, &[]).await.0, "bb");
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn a_refresh_that_fails_changes_nothing_and_the_next_request_tries_again() {
    let panics: fn() -> Response<TestBody> = || panic!("the handler panicked, as its test wanted");
    let breaks: fn() -> Response<TestBody> =
        || Response::new(TestBody::new([Step::Data("x"), Step::Yield, Step::Fail]));
    let body_panics: fn() -> Response<TestBody> =
        || Response::new(TestBody::new([Step::Data("x"), Step::Yield, Step::Panic]));
    let fails: fn() -> Response<TestBody> = || status(500);
    let is_gone: fn() -> Response<TestBody> = || status(404);
    let is_private: fn() -> Response<TestBody> = || {
        let mut response = text("x");
        response
            .headers_mut()
            .insert("set-cookie", "a=b".parse().unwrap());
        response
    };
    for second in [panics, breaks, body_panics, fails, is_gone, is_private] {
        let (cache, clock) = cache();
        let layer = cache.layer().ttl(secs(10)).stale_while_revalidate(secs(5));
        let (origin, permits) = slow_to_refresh(move |number| match number {
            2 => second(),
            _ => numbered(number),
        });
        permits.add_permits(10);
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        for calls in [2, 3] {
            assert_eq!(ask(&layer, &origin, &[]).await.0, "call 1");
            assert_eq!(origin.calls(), calls);
        }
        assert_eq!(ask(&layer, &origin, &[]).await, is("call 3", "hit; ttl=10"));
    }
}

#[test]
fn a_refresh_whose_runtime_is_gone_changes_nothing_and_is_started_again() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10)).stale_while_revalidate(secs(5));
    let (origin, permits) = slow_to_refresh(numbered);
    runtime().block_on(async {
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        assert_eq!(ask(&layer, &origin, &[]).await.0, "call 1");
        assert_eq!(origin.calls(), 2);
    }); // the refresh is dropped in the middle
    runtime().block_on(async {
        permits.add_permits(1);
        let stale = is("call 1", "hit; ttl=-2; detail=stale-while-revalidate");
        assert_eq!(ask(&layer, &origin, &[]).await, stale);
        assert_eq!(ask(&layer, &origin, &[]).await.0, "call 3");
    });
}

#[tokio::test]
async fn a_refresh_that_an_invalidation_overtakes_does_not_bring_the_old_value_back() {
    for soft in [false, true] {
        let (cache, clock) = cache();
        let layer = cache
            .layer()
            .ttl(secs(10))
            .stale_while_revalidate(secs(5))
            .tag("posts");
        let (origin, permits) = slow_to_refresh(numbered);
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        ask(&layer, &origin, &[]).await; // call 2 refreshes
        if soft {
            drop(cache.invalidate(Invalidate::tag("posts").soft()));
        } else {
            drop(cache.invalidate_tag("posts"));
        }
        permits.add_permits(1);
        settle().await;
        permits.add_permits(1);
        let (text, decision) = ask(&layer, &origin, &[]).await;
        if soft {
            // Stale, but allowed; and no longer after its refresh.
            assert!(
                decision.ends_with("detail=stale-while-revalidate"),
                "{text} {decision}"
            );
        } else {
            assert_eq!(text, "call 3");
        }
        assert_eq!(ask(&layer, &origin, &[]).await, is("call 3", "hit; ttl=10"));
    }
}

#[tokio::test]
async fn an_older_call_that_ends_later_does_not_replace_what_was_called_after_an_invalidation() {
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .no_collapsing();
    let (open, wait) = gate();
    let bodies = Mutex::new(vec![vec![Step::Data("new")], vec![wait, Step::Data("old")]]);
    let origin = Origin::new(move |_| {
        let steps = bodies.lock().unwrap().pop().expect("two calls");
        Response::new(TestBody::new(steps))
    });
    let older = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    drop(cache.invalidate(Invalidate::all().soft()));
    assert_eq!(ask(&layer, &origin, &[]).await.0, "new");
    open.send(()).unwrap();
    assert_eq!(older.await.unwrap().text(), "old");
    assert_eq!(ask(&layer, &origin, &[]).await, is("new", "hit; ttl=60"));
}

#[tokio::test]
async fn requests_that_cannot_store_an_answer_do_not_run_the_refresh() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10)).stale_while_revalidate(secs(5));
    let origin = Origin::counting();
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(12));
    let of_head = send(&layer, &origin, request("HEAD", "/", &[], "")).await;
    settle().await;
    assert_eq!(
        of_head.decision(),
        "hit; ttl=-2; detail=stale-while-revalidate"
    );
    assert_eq!(
        ask(&layer, &origin, &[("cache-control", "no-store")])
            .await
            .0,
        "call 1"
    );
    assert_eq!(origin.calls(), 1);
    ask(&layer, &origin, &[]).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn a_refresh_asks_for_a_whole_answer_whatever_the_client_holds() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10)).stale_while_revalidate(secs(5));
    let origin = Origin::new(|request| {
        if request.headers().contains_key("if-none-match") {
            return status(304);
        }
        let mut response = text("whole");
        response
            .headers_mut()
            .insert("etag", "\"a\"".parse().unwrap());
        response
    });
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(12));
    ask(&layer, &origin, &[("if-none-match", "\"a\"")]).await;
    assert_eq!(ask(&layer, &origin, &[]).await, is("whole", "hit; ttl=10"));
    assert_eq!(origin.calls(), 2);
}

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

#[tokio::test]
async fn an_early_refresh_runs_before_the_end_and_not_for_all_responses_at_once() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(100)).early_refresh(0.2);
    let origin = Origin::counting();
    let paths: Vec<String> = (0..64).map(|n| format!("/{n}")).collect();
    for path in &paths {
        send(&layer, &origin, get(path, &[])).await;
    }
    let mut began = Vec::new();
    for second in 1..100 {
        clock.advance(secs(1));
        let before = origin.calls();
        for path in &paths {
            assert!(send(&layer, &origin, get(path, &[])).await.is_hit());
        }
        settle().await;
        began.extend(vec![second; origin.calls() - before]);
    }
    assert_eq!(began.len(), 64, "each is refreshed once, and nobody waited");
    assert!(
        began.iter().all(|second| (80..=91).contains(second)),
        "{began:?}"
    );
    let together = |second| began.iter().filter(|other| **other == second).count();
    assert!((80..=91).all(|second| together(second) < 32), "{began:?}");
}

#[tokio::test]
async fn an_early_refresh_is_one_per_key_and_says_so() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(100)).early_refresh(0.2);
    let (origin, permits) = slow_to_refresh(numbered);
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(95));
    for _ in 0..5 {
        let early = is("call 1", "hit; ttl=5; detail=early-refresh");
        assert_eq!(ask(&layer, &origin, &[]).await, early);
    }
    assert_eq!(origin.calls(), 2);
    permits.add_permits(1);
    settle().await;
    assert_eq!(
        ask(&layer, &origin, &[]).await,
        is("call 2", "hit; ttl=100")
    );
}

#[tokio::test]
async fn a_clock_set_back_makes_no_response_younger_or_longer_lived() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(secs(10))
        .stale_while_revalidate(MINUTE)
        .stale_if_error(MINUTE);
    let origin = Origin::counting();
    ask(&layer, &origin, &[]).await;
    clock.set_back(secs(4));
    let answer = send(&layer, &origin, get("/", &[])).await;
    assert_eq!(
        (answer.decision().as_str(), answer.field("age").as_str()),
        ("hit; ttl=14", "0")
    );
    clock.set_back(secs(3600));
    assert_eq!(
        ask(&layer, &origin, &[]).await,
        is("call 2", "fwd=stale; stored")
    );
    assert_eq!(ask(&layer, &origin, &[]).await, is("call 2", "hit; ttl=10"));
    clock.advance(secs(3600)); // put right: what was stored meanwhile is old
    assert_eq!(
        ask(&layer, &origin, &[]).await,
        is("call 3", "fwd=stale; stored")
    );
}

#[tokio::test]
async fn the_request_s_own_directives_are_heeded_and_can_be_ignored() {
    // Stored with 60 s to live, asked for after 20 s; then stale for 10 s of a window of 30 s.
    let rows: [(&str, &str, &str); 12] = [
        ("", "hit; ttl=40", "fwd=stale; stored"),
        ("no-cache", "fwd=request; stored", "fwd=request; stored"),
        ("max-age=0", "fwd=request; stored", "fwd=request; stored"),
        ("max-age=19", "fwd=request; stored", "fwd=request; stored"),
        ("max-age=20", "hit; ttl=40", "fwd=request; stored"),
        ("min-fresh=40", "hit; ttl=40", "fwd=request; stored"),
        ("min-fresh=41", "fwd=request; stored", "fwd=request; stored"),
        ("max-stale", "hit; ttl=40", "hit; ttl=-10; detail=max-stale"),
        (
            "max-stale=10",
            "hit; ttl=40",
            "hit; ttl=-10; detail=max-stale",
        ),
        ("max-stale=9", "hit; ttl=40", "fwd=stale; stored"),
        (
            "only-if-cached",
            "hit; ttl=40",
            "fwd=request; detail=only-if-cached",
        ),
        (
            "no-store",
            "hit; ttl=40",
            "fwd=stale; detail=request-no-store",
        ),
    ];
    for (directive, fresh, stale) in rows {
        for (seconds, decision) in [(20, fresh), (70, stale)] {
            for ignores in [false, true] {
                let (cache, clock) = cache();
                let mut layer = cache.layer().ttl(MINUTE).stale_if_error(secs(30));
                if ignores {
                    layer = layer.ignore_client_directives();
                }
                let origin = Origin::counting();
                ask(&layer, &origin, &[]).await;
                clock.advance(secs(seconds));
                let answer = send(&layer, &origin, get("/", &[("cache-control", directive)])).await;
                let unheeded = if seconds == 20 {
                    "hit; ttl=40"
                } else {
                    "fwd=stale; stored"
                };
                let expected = if ignores { unheeded } else { decision };
                assert_eq!(answer.decision(), expected, "{directive} after {seconds} s");
                let timed_out = decision.ends_with("only-if-cached") && !ignores;
                assert_eq!(answer.status, if timed_out { 504 } else { 200 });
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_anything_stale_is_not_given_more_than_the_route_allows() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10));
    let origin = Origin::counting();
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(12));
    let answer = ask(&layer, &origin, &[("cache-control", "max-stale")]).await;
    assert_eq!(answer, is("call 2", "fwd=stale; stored"));
}

#[tokio::test]
async fn a_content_keyed_route_serves_stale_answers_as_any_other() {
    let clock = ManualClock::new();
    let cache = Cache::builder().clock(clock.clock()).build().unwrap();
    let layer = cache
        .layer()
        .ttl(secs(10))
        .stale_while_revalidate(secs(5))
        .stale_if_error(secs(30))
        .key_body(64);
    let origin = Origin::counting();
    let ask = |directives: &'static str| {
        let asked = request("POST", "/ask", &[("cache-control", directives)], "why?");
        async {
            let answer = send(&layer, &origin, asked).await;
            settle().await;
            answer
        }
    };
    assert_eq!(ask("").await.text(), "call 1");
    clock.advance(secs(20));
    assert_eq!(
        ask("max-stale").await.decision(),
        "hit; ttl=-10; detail=max-stale"
    );
    assert_eq!(origin.calls(), 1, "`max-stale` asks for no refresh");
    assert_eq!(ask("").await.text(), "call 2");
    clock.advance(secs(12));
    let stale = ask("").await;
    assert_eq!(
        stale.decision(),
        "hit; ttl=-2; detail=stale-while-revalidate"
    );
    assert_eq!(ask("").await.text(), "call 3");
}
