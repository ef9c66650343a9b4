//! What is answered to those who are refused.

use std::time::Duration;

use http::{Response, StatusCode};
use larder::limit::{Profile, Refusal, Verdict};
use larder::Quota;
use serde_json::{json, Value};
use tower::{Layer, ServiceExt};

use crate::support::Origin;
use crate::{ask, by_peer, from, passing};

#[tokio::test]
async fn who_is_over_the_quota_gets_429_with_the_time_to_wait_and_the_handler_is_not_called() {
    let (layer, clock) = by_peer(Quota::per_minute(2));
    let origin = Origin::counting();
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.1").await, 2);
    let refused = ask(&layer, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("retry-after"), "30");
    assert_eq!(refused.field("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(
        problem,
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "violated-policies": ["default"],
        })
    );
    assert_eq!(origin.calls(), 2);

    assert_eq!(passing(&layer, &origin, 3, "192.0.2.2").await, 2, "another");
    clock.advance(Duration::from_secs(29));
    assert_eq!(passing(&layer, &origin, 1, "192.0.2.1").await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(passing(&layer, &origin, 2, "192.0.2.1").await, 1);
}

#[tokio::test]
async fn retry_after_is_at_least_one_second_and_never_too_short() {
    for (quota, seconds) in [
        (Quota::per_second(1_000).capacity(1), "1"),
        (Quota::new(1, Duration::from_millis(999)), "1"),
        (Quota::new(1, Duration::from_millis(1_001)), "2"),
        (Quota::per_hour(1), "3600"),
    ] {
        let (layer, clock) = by_peer(quota);
        let origin = Origin::counting();
        assert_eq!(passing(&layer, &origin, 1, "192.0.2.1").await, 1);
        let refused = ask(&layer, &origin, from("192.0.2.1")).await;
        assert_eq!(refused.field("retry-after"), seconds, "{quota:?}");
        clock.advance(Duration::from_secs(seconds.parse().unwrap()));
        assert_eq!(passing(&layer, &origin, 1, "192.0.2.1").await, 1);
    }
}

#[tokio::test]
async fn a_request_that_can_never_pass_is_not_told_to_come_back() {
    let (layer, _) = by_peer(Quota::per_minute(5));
    let layer = layer.cost_by(|parts| parts.headers.len() as u64 * 6);
    let origin = Origin::counting();
    let mut request = from("192.0.2.1");
    request.headers_mut().insert("x", "1".parse().unwrap());
    let refused = ask(&layer, &origin, request).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("retry-after"), "");
    assert_eq!(refused.field("ratelimit"), "");
    assert!(refused.text().contains("more than its quota ever holds"));
    // Without a header it costs nothing.
    assert_eq!(passing(&layer, &origin, 20, "192.0.2.1").await, 20);
}

#[tokio::test]
async fn a_responder_is_told_why_and_what_it_leaves_out_is_added() {
    let (layer, _) = by_peer(Quota::per_minute(1));
    let layer = layer.name("api").respond_with(|refusal| {
        let Refusal::QuotaExceeded { violated, wait, .. } = refusal else {
            panic!("{refusal:?}");
        };
        let mut response = Response::new(format!("{violated:?} for {wait:?}"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    let origin = Origin::counting();
    assert_eq!(passing(&layer, &origin, 1, "192.0.2.1").await, 1);
    let refused = ask(&layer, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().starts_with("[\"api\"] for 60"),
        "{refused:?}"
    );
    assert_eq!(refused.field("retry-after"), "60");
    assert_eq!(refused.field("ratelimit"), "\"api\";r=0;t=60");

    let own = by_peer(Quota::per_minute(1)).0.respond_with(|_| {
        let builder = Response::builder().status(429);
        builder.header("retry-after", "7").body("").unwrap()
    });
    assert_eq!(passing(&own, &origin, 1, "192.0.2.1").await, 1);
    let refused = ask(&own, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.field("retry-after"), "7");
}

#[tokio::test]
async fn handlers_and_outer_layers_see_the_verdict_where_asked() {
    let (layer, _) = by_peer(Quota::per_minute(2));
    let layer = layer.fields(Profile::None).with_verdict();
    let origin = Origin::new(|request| {
        let verdict = request.extensions().get::<Verdict>().unwrap();
        let (name, decision) = &verdict.policies[0];
        assert!(decision.is_admitted());
        crate::support::text(name.to_string())
    });
    for _ in 0..2 {
        assert_eq!(
            ask(&layer, &origin, from("192.0.2.1")).await.text(),
            "default"
        );
    }
    let service = layer.layer(origin.clone());
    let refused = service.oneshot(from("192.0.2.1")).await.unwrap();
    let verdict = refused.extensions().get::<Verdict>().unwrap();
    assert!(matches!(
        verdict.refusal,
        Some(Refusal::QuotaExceeded { .. })
    ));
}

#[tokio::test]
async fn skipped_requests_cost_nothing_and_their_answers_say_nothing() {
    let (layer, _) = by_peer(Quota::per_minute(1));
    let layer = layer.skip_if(|parts| parts.uri.path() == "/health");
    let origin = Origin::counting();
    for _ in 0..3 {
        let request = crate::with_peer(crate::support::get("/health", &[]), "192.0.2.1");
        let answer = ask(&layer, &origin, request).await;
        assert_eq!((answer.status, &*answer.field("ratelimit")), (200, ""));
        assert_eq!(answer.field("ratelimit-policy"), "");
    }
    assert_eq!(passing(&layer, &origin, 2, "192.0.2.1").await, 1);
}

#[tokio::test]
async fn a_limit_in_shadow_counts_and_refuses_nobody() {
    let (layer, clock) = by_peer(Quota::per_minute(3));
    let candidate = larder::Limiter::builder(Quota::per_minute(1))
        .name("candidate")
        .clock(clock.clock())
        .build()
        .unwrap();
    let layer = layer.and(&candidate).shadow();
    let origin = Origin::counting();
    let answer = ask(&layer, &origin, from("192.0.2.1")).await;
    assert_eq!(answer.field("ratelimit-policy"), "\"default\";q=3;w=60");
    assert_eq!(answer.field("ratelimit"), "\"default\";r=2;t=20");
    assert_eq!(passing(&layer, &origin, 9, "192.0.2.1").await, 2);
    let stats = candidate.stats();
    assert_eq!((stats.shadow_admitted, stats.shadow_refused), (1, 9));
    assert_eq!((stats.admitted, stats.refused), (0, 0));
}
