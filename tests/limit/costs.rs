//! What a request costs, and what its answer makes of that.

use std::time::Duration;

use larder::limit::is_hit;
use larder::{Cache, Quota};
use tower::{Layer, Service, ServiceExt};

use crate::support::{get, status, text, Origin};
use crate::{ask, by_peer, from, passing, with_peer};

#[tokio::test]
async fn a_request_costs_what_it_is_said_to() {
    let (layer, _) = by_peer(Quota::per_minute(10));
    let origin = Origin::counting();
    assert_eq!(
        passing(&layer.clone().cost(3), &origin, 9, "192.0.2.1").await,
        3
    );
    let by_size = layer.cost_by(|parts| parts.uri.path().len() as u64);
    let long = || with_peer(get("/four", &[]), "192.0.2.2");
    assert_eq!(ask(&by_size, &origin, long()).await.status, 200);
    assert_eq!(
        ask(&by_size, &origin, long()).await.field("ratelimit"),
        "\"default\";r=0;t=6"
    );
    assert_eq!(ask(&by_size, &origin, long()).await.status, 429);
}

#[tokio::test]
async fn answers_may_give_back_what_was_taken_and_take_more() {
    let (layer, clock) = by_peer(Quota::per_minute(10));
    let layer = layer
        .cost(5)
        .settle_by(|answer| match answer.status.as_u16() {
            200 => Some(1),
            206 => Some(14),
            _ => None,
        });
    let origin = Origin::new(|request| status(request.uri().path()[1..].parse().unwrap()));
    let go = |path: &'static str| with_peer(get(path, &[]), "192.0.2.1");
    for left in [9, 8, 7] {
        let answer = ask(&layer, &origin, go("/200")).await;
        assert!(answer
            .field("ratelimit")
            .starts_with(&format!("\"default\";r={left};")));
    }
    let kept = ask(&layer, &origin, go("/404")).await;
    assert!(kept.field("ratelimit").starts_with("\"default\";r=2;"));
    assert_eq!(
        ask(&layer, &origin, go("/200")).await.status,
        429,
        "taken first"
    );

    clock.advance(Duration::from_secs(60));
    // 14 of 10: it owes 4, and so 5 have to be refilled before there is one, and 9 before 5 can be taken.
    assert_eq!(
        ask(&layer, &origin, go("/206")).await.field("ratelimit"),
        "\"default\";r=0;t=30"
    );
    assert_eq!(
        ask(&layer, &origin, go("/200")).await.field("retry-after"),
        "54"
    );
    clock.advance(Duration::from_secs(54));
    assert_eq!(ask(&layer, &origin, go("/200")).await.status, 200);
}

#[tokio::test]
async fn only_failures_cost_where_successes_are_refunded() {
    let (layer, _) = by_peer(Quota::per_minute(3));
    let layer = layer.refund_when(|answer| answer.status.is_success());
    let origin = Origin::new(|request| status(request.uri().path()[1..].parse().unwrap()));
    let go = |path: &'static str| with_peer(get(path, &[]), "192.0.2.1");
    for _ in 0..9 {
        assert_eq!(ask(&layer, &origin, go("/200")).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(ask(&layer, &origin, go("/401")).await.status, 401);
    }
    assert_eq!(
        ask(&layer, &origin, go("/200")).await.status,
        429,
        "no more attempts"
    );
}

#[tokio::test]
async fn attempts_at_the_same_time_cannot_all_pass_before_one_of_them_has_failed() {
    let (layer, _) = by_peer(Quota::per_minute(3));
    let layer = layer.refund_when(|answer| answer.status.is_success());
    let (origin, gate) = Origin::gated(0, |_| status(401));
    let mut service = layer.layer(origin.clone());
    let mut attempts = Vec::new();
    for _ in 0..20 {
        let attempt = service.ready().await.unwrap().call(from("192.0.2.1"));
        attempts.push(tokio::spawn(attempt));
    }
    gate.add_permits(20);
    for attempt in attempts {
        attempt.await.unwrap().unwrap();
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test]
async fn a_client_that_goes_away_pays_what_was_taken() {
    let (layer, _) = by_peer(Quota::per_minute(4));
    let layer = layer.cost(4).settle_by(|_| Some(0));
    let (origin, _gate) = Origin::gated(0, |_| text("never"));
    let mut service = layer.layer(origin);
    drop(service.call(from("192.0.2.1")));
    assert_eq!(
        passing(&layer, &Origin::counting(), 1, "192.0.2.1").await,
        0
    );
}

#[tokio::test]
async fn a_hit_of_the_cache_costs_less_than_a_miss() {
    let (layer, clock) = by_peer(Quota::per_minute(20));
    let layer = layer
        .cost(10)
        .settle_by(|answer| is_hit(answer).then_some(1));
    let cache = Cache::builder().clock(clock.clock()).build().unwrap();
    let origin = Origin::counting();
    let cached = cache
        .layer()
        .ttl(Duration::from_secs(600))
        .layer(origin.clone());
    let left = |answer: &crate::Answer| {
        answer
            .field("ratelimit")
            .split(';')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(left(&ask(&layer, &cached, from("192.0.2.1")).await), "r=10");
    let hit = ask(&layer, &cached, from("192.0.2.1")).await;
    assert!(hit.is_hit());
    assert_eq!(left(&hit), "r=9");
    clock.advance(Duration::from_secs(60));
    for _ in 0..11 {
        assert!(ask(&layer, &cached, from("192.0.2.1")).await.is_hit());
    }
    assert_eq!(
        ask(&layer, &cached, from("192.0.2.1")).await.status,
        429,
        "9 are left"
    );
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn what_a_limit_says_is_not_kept_by_a_cache_around_it() {
    let (layer, clock) = by_peer(Quota::per_minute(2));
    let cache = Cache::builder().clock(clock.clock()).build().unwrap();
    let limited = layer.layer(Origin::counting());
    let around = cache.layer().ttl(Duration::from_secs(600));
    let mut seen = Vec::new();
    for path in ["/a", "/a", "/b", "/c", "/c"] {
        let request = with_peer(get(path, &[]), "192.0.2.1");
        let answer = crate::support::send(&around, &limited, request).await;
        seen.push((answer.status, answer.field("ratelimit")));
    }
    let statuses: Vec<u16> = seen.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(seen[1].1, "", "a kept answer says nothing of a bucket");
    assert_eq!(cache.stats().stored, 2);
}
