//! Refreshes in the background: one at a time, and none of them brings an old value back.

use std::sync::Mutex;

use http::Response;
use larder::{Cache, CacheLayer, Invalidate};

use super::drive::*;
use super::support::*;
use super::*;

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
    let tasks = tokio::runtime::Handle::current().metrics();
    assert_eq!(tasks.num_alive_tasks(), 0, "a refresh never ended");
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
async fn a_content_keyed_route_serves_stale_answers_as_any_other() {
    let (cache, clock) = cache();
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

#[tokio::test]
async fn a_refresh_that_hangs_costs_those_who_wait_for_it_one_deadline_and_later_ones_nothing() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(secs(10))
        .stale_while_revalidate(secs(10))
        .collapse_timeout(secs(5));
    let calls = AtomicUsize::new(0);
    let origin = Origin::later(move |_| {
        let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            if number == 2 {
                std::future::pending::<()>().await;
            }
            numbered(number)
        })
    });
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(10));
    ask(&layer, &origin, &[]).await;
    assert_eq!(origin.calls(), 2, "the refresh hangs");
    clock.advance(secs(10));
    let waiting = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    clock.advance(secs(5));
    settle().await;
    assert!(waiting.is_finished());
    for expected in 4..7 {
        clock.advance(secs(20));
        let later = spawn(&layer, &origin, get("/", &[]));
        settle().await;
        assert!(later.is_finished(), "it waits for what will never come");
        let text = format!("call {expected}");
        assert_eq!(later.await.unwrap().text(), text);
    }
}
