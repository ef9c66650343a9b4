//! When a turn comes, and when it does not.

use super::{begin, pacer, settle, upstream, Client, Duration, Request, SECOND};
use larder::limit::wait::{MaxWait, Pacer, Priority, WaitLayer};
use larder::limit::{Fallback, Quota};
use tower::{BoxError, Layer, Service, ServiceExt};

const NORMAL: Priority = Priority::Normal;
const CRITICAL: Priority = Priority::Critical;

#[tokio::test]
async fn calls_pass_at_the_pace_of_the_quota() {
    let (pacer, clock) = pacer(Quota::per_second(1).capacity(2), |builder| builder);
    let (client, _) = upstream();
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(begin(&pacer, &client, NORMAL).await);
    }
    for expected in [2, 3, 4, 5] {
        settle().await;
        assert_eq!(pacer.stats().granted[1], expected);
        clock.advance(SECOND / 2);
        settle().await;
        assert_eq!(pacer.stats().granted[1], expected, "half a token");
        clock.advance(SECOND / 2);
    }
    for call in calls {
        assert!(call.answer().await.is_ok());
    }
    assert_eq!(pacer.stats().waiting, [0; 3]);
}

#[tokio::test]
async fn ten_thousand_who_stop_waiting_have_paid_nothing() {
    let settings = |builder: larder::limit::wait::PacerBuilder| {
        builder.max_queue(20_000).max_wait(SECOND * 2_000)
    };
    let (pacer, clock) = pacer(Quota::per_second(10).capacity(10), settings);
    let (client, calls) = upstream();
    for _ in 0..10 {
        begin(&pacer, &client, CRITICAL)
            .await
            .answer()
            .await
            .unwrap();
    }
    let mut gone = Vec::new();
    for _ in 0..10_000 {
        gone.push(begin(&pacer, &client, CRITICAL).await);
    }
    assert_eq!(pacer.stats().waiting, [10_000, 0, 0]);
    // Five have their turn, and are gone before they look.
    clock.advance(SECOND / 2);
    drop(gone);
    while pacer.stats().waiting != [0; 3] {
        settle().await;
    }
    settle().await;
    for _ in 0..5 {
        assert!(begin(&pacer, &client, CRITICAL).await.is_done().await);
    }
    assert!(!begin(&pacer, &client, CRITICAL).await.is_done().await);
    assert_eq!(
        calls.load(std::sync::atomic::Ordering::SeqCst),
        15,
        "ten and five"
    );
}

#[tokio::test]
async fn who_cannot_be_served_in_time_is_told_at_once() {
    let (pacer, clock) = pacer(Quota::per_second(1), |builder| {
        builder.max_wait(SECOND * 7 / 2)
    });
    let (client, _) = upstream();
    begin(&pacer, &client, NORMAL).await.answer().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(begin(&pacer, &client, NORMAL).await);
    }
    let refused = begin(&pacer, &client, NORMAL)
        .await
        .answer()
        .await
        .unwrap_err();
    assert!(refused.is_too_late() && refused.is_refused());
    assert_eq!(refused.retry_after().unwrap().as_secs_f64().round(), 4.0);
    // A more urgent one can.
    let critical = begin(&pacer, &client, Priority::Critical).await;
    clock.advance(SECOND);
    assert!(critical.is_done().await);
    // Now the last of the three cannot; it was not known when it came.
    for _ in 0..5 {
        clock.advance(SECOND / 2);
        settle().await;
    }
    let last = waiting.pop().unwrap();
    assert!(last.answer().await.unwrap_err().is_too_late());
    for call in waiting {
        call.answer().await.unwrap();
    }
    assert_eq!(pacer.stats().too_late, 2);
}

#[tokio::test]
async fn nobody_waits_for_what_one_would_have_cost_who_is_gone() {
    let (pacer, clock) = pacer(Quota::per_second(10).capacity(100), |builder| builder);
    let ready = |cost: u64| {
        let pacer = pacer.clone();
        let waits = async move { pacer.ready_within("a", CRITICAL, cost, 30 * SECOND).await };
        tokio::spawn(waits)
    };
    ready(100).await.unwrap().unwrap();
    let dear = ready(60);
    settle().await;
    let cheap = ready(1);
    settle().await;
    dear.abort();
    settle().await;
    clock.advance(SECOND / 5);
    settle().await;
    assert!(cheap.is_finished(), "its token is there");
}

#[tokio::test]
async fn who_has_less_time_does_not_wait_for_what_the_first_one_costs() {
    let (pacer, clock) = pacer(Quota::per_second(10).capacity(100), |builder| builder);
    let ready = |cost: u64, limit: Duration| {
        let pacer = pacer.clone();
        tokio::spawn(async move { pacer.ready_within("a", CRITICAL, cost, limit).await })
    };
    ready(100, SECOND).await.unwrap().unwrap();
    let _dear = ready(60, 30 * SECOND);
    settle().await;
    let hurried = ready(1, SECOND);
    settle().await;
    clock.advance(SECOND / 5);
    settle().await;
    assert!(hurried.is_finished());
    hurried.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_says_how_long_it_waits_what_it_costs_and_for_which_bucket() {
    let (pacer, _) = pacer(Quota::per_second(1).capacity(3), |builder| builder);
    let (client, _) = upstream();
    let layer = pacer
        .layer()
        .cost(|parts| parts.uri.path().len() as u64 - 1)
        .by(|parts| parts.uri.host().unwrap_or_default().to_owned());
    let service = layer.layer(client);
    let ask = |uri: &str, wait: u64| {
        let mut request = Request::new(String::new());
        *request.uri_mut() = uri.parse().unwrap();
        request
            .extensions_mut()
            .insert(MaxWait(SECOND * wait as u32));
        service.clone().oneshot(request)
    };
    ask("http://a/xxx", 0).await.unwrap();
    assert!(ask("http://a/x", 0).await.unwrap_err().is_too_late());
    ask("http://a/", 0).await.unwrap();
    ask("http://b/xx", 0).await.unwrap();
    assert!(ask("http://b/xxxx", 9)
        .await
        .unwrap_err()
        .is_too_expensive());
}

#[tokio::test]
async fn who_waits_keeps_nobody_from_the_inner_service_and_readiness_is_awaited() {
    let (pacer, clock) = pacer(Quota::per_second(1).capacity(1), |builder| builder);
    let (client, _) = upstream();
    let client: Client = Client::new(tower::limit::ConcurrencyLimit::new(client, 1));
    begin(&pacer, &client, NORMAL).await.answer().await.unwrap();
    let _waiting = begin(&pacer, &client, Priority::Background).await;
    let urgent = begin(&pacer, &client, Priority::Critical).await;
    clock.advance(SECOND);
    assert!(urgent.is_done().await);
}

#[tokio::test]
async fn a_token_for_a_call_that_could_not_be_made_is_given_back_and_errors_are_kept() {
    #[derive(Clone)]
    struct Broken;
    impl Service<Request<String>> for Broken {
        type Response = http::Response<String>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("broken".into()))
        }
        fn call(&mut self, _: Request<String>) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let (pacer, _) = pacer(Quota::per_second(1).capacity(1), |builder| builder);
    for _ in 0..3 {
        let service = pacer.layer().layer(Broken);
        let error = service
            .oneshot(Request::new(String::new()))
            .await
            .unwrap_err();
        assert!(!error.is_refused());
        assert_eq!(error.into_inner().unwrap().to_string(), "broken");
        settle().await;
    }
    let boxed: BoxError = Box::new(
        pacer
            .ready_within("a", NORMAL, 2, SECOND)
            .await
            .unwrap_err(),
    );
    assert_eq!(
        boxed.to_string(),
        "the call costs more than the quota allows"
    );
}

#[tokio::test]
async fn keys_are_bounded_and_whoever_waits_for_none_makes_room() {
    let (pacer, clock) = pacer(Quota::per_second(1).capacity(2), |builder| {
        builder.max_keys(3)
    });
    let waits = |key: &'static str| {
        let pacer = pacer.clone();
        tokio::spawn(async move { pacer.ready(key, CRITICAL).await })
    };
    for key in ["a", "a", "b"] {
        pacer.ready(key, CRITICAL).await.unwrap();
    }
    let for_a = waits("a");
    settle().await;
    // Nobody waits for these, and each is forgotten for the next.
    for key in ["c", "c", "d", "e", "f"] {
        pacer.ready(key, CRITICAL).await.unwrap();
    }
    assert!(!for_a.is_finished());
    // The one who lacks most is kept.
    assert!(pacer
        .ready_within("c", CRITICAL, 1, SECOND / 2)
        .await
        .unwrap_err()
        .is_too_late());
    pacer.ready("g", CRITICAL).await.unwrap();
    pacer.ready("g", CRITICAL).await.unwrap();
    let (for_c, for_g) = (waits("c"), waits("g"));
    settle().await;
    let refused = pacer.ready("h", CRITICAL).await.unwrap_err();
    assert!(refused.is_queue_full(), "for each of them one waits");
    clock.advance(SECOND + SECOND / 10);
    for call in [for_a, for_c, for_g] {
        call.await.unwrap().unwrap();
    }
    pacer.ready("h", CRITICAL).await.unwrap();
}

#[test]
fn a_queue_is_served_on_when_the_runtime_that_served_it_is_gone() {
    let (pacer, clock) = pacer(Quota::per_second(1), |builder| builder);
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    first.block_on(pacer.ready("a", NORMAL)).unwrap();
    let ready = |runtime: &tokio::runtime::Runtime| {
        let pacer = pacer.clone();
        runtime.spawn(async move { pacer.ready("a", NORMAL).await })
    };
    let waiting = |number: usize| {
        while pacer.stats().waiting[1] != number {
            std::thread::yield_now();
        }
    };
    ready(&first);
    waiting(1);
    let waits = ready(&second);
    waiting(2);
    drop(first);
    waiting(1);
    clock.advance(SECOND);
    second.block_on(waits).unwrap().unwrap();
}

#[test]
fn a_share_may_be_as_small_and_a_quota_as_slow_as_one_likes() {
    let year = 366 * 86_400 * SECOND;
    for builder in [
        Pacer::builder(Quota::per_second(1)).starvation(SECOND, 1e-300),
        Pacer::builder(Quota::per_second(1)).starvation(SECOND, f64::MIN_POSITIVE / 2.0),
        Pacer::builder(Quota::new(1, year)),
        Pacer::builder(Quota::new(10, year)).starvation(SECOND, 0.999),
        Pacer::builder(Quota::new(1_000_000_000, SECOND)),
    ] {
        builder.build().unwrap();
    }
}

#[test]
fn contradictions_are_told_while_building() {
    let builder = || Pacer::builder(Quota::per_second(10));
    let refused = [
        Pacer::builder(Quota::per_second(0)),
        builder().reserve(Priority::Critical, 0.1),
        builder().reserve(Priority::Background, 1.0),
        builder().reserve(Priority::Normal, f64::NAN),
        builder().starvation(SECOND, 0.0),
        builder().starvation(SECOND, 1.0),
        builder().max_queue(0),
        builder().max_wait(Duration::ZERO),
        builder().max_keys(0),
        builder().fallback(Fallback::Local { share: 0 }),
        builder().name("two words"),
        builder().name("x".repeat(65)),
    ];
    for builder in refused {
        let printed = format!("{builder:?}");
        builder.build().expect_err(&printed);
    }
    let panics = std::panic::catch_unwind(|| WaitLayer::new(Quota::per_second(0)));
    assert!(panics.is_err());
}
