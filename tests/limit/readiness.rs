//! What tower asks of a layer: readiness, errors, bodies.

use std::time::Duration;

use http::Request;
use http_body::Body;
use http_body_util::Full;
use larder::{LimitLayer, Quota};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{get, text, Origin, Step, TestBody};
use crate::{by_peer, from};

#[tokio::test]
async fn a_refused_request_keeps_the_readiness_for_the_next_one() {
    let (layer, _) = by_peer(Quota::per_hour(1));
    let (origin, gate) = Origin::gated(0, |_| text("done"));
    let mut service = layer.layer(ConcurrencyLimit::new(origin.clone(), 2));
    let first = service.ready().await.unwrap().call(from("192.0.2.1"));
    for _ in 0..10 {
        // Never waits for a permit that refused requests would have kept.
        let ready = tokio::time::timeout(Duration::from_secs(5), service.ready());
        let refused = ready.await.unwrap().unwrap().call(from("192.0.2.1"));
        assert_eq!(refused.await.unwrap().status(), 429);
    }
    let other = service.ready().await.unwrap().call(from("192.0.2.2"));
    gate.add_permits(2);
    let (first, other) = tokio::join!(first, other);
    assert!(first.unwrap().status().is_success() && other.unwrap().status().is_success());
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn a_key_that_is_asked_for_takes_the_ready_service_along() {
    let layer = LimitLayer::new(Quota::per_hour(9)).by_async(|_| async {
        tokio::task::yield_now().await;
        Ok(Some("ada".to_owned()))
    });
    let mut service = layer.layer(ConcurrencyLimit::new(Origin::counting(), 1));
    for _ in 0..5 {
        let answer = service.ready().await.unwrap().call(get("/", &[]));
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn errors_of_the_inner_service_stay_what_they_are() {
    #[derive(Debug, PartialEq)]
    struct Lost;
    let layer = LimitLayer::new(Quota::per_hour(9)).by_everyone();
    let failing = tower::service_fn(|_: Request<String>| async {
        Err::<http::Response<Full<bytes::Bytes>>, Lost>(Lost)
    });
    let mut service = layer.layer(failing);
    assert_eq!(
        service.call(Request::new(String::new())).await.unwrap_err(),
        Lost
    );
}

#[tokio::test]
async fn bodies_pass_as_they_are_with_their_lengths_and_trailers() {
    use http_body_util::BodyExt;
    let (layer, _) = by_peer(Quota::per_hour(9));
    let origin = Origin::new(|_| {
        let steps = [
            Step::Data("ab"),
            Step::Yield,
            Step::Data("cd"),
            Step::Trailers,
        ];
        http::Response::new(TestBody::sized(steps, 4))
    });
    let response = layer
        .layer(origin)
        .oneshot(from("192.0.2.1"))
        .await
        .unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(4));
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "1");
    assert_eq!(collected.to_bytes(), "abcd");
}

#[tokio::test]
async fn it_stacks_with_other_layers_in_both_orders() {
    let (layer, _) = by_peer(Quota::per_hour(1));
    let timeout = tower_http::timeout::TimeoutLayer::with_status_code(
        http::StatusCode::REQUEST_TIMEOUT,
        Duration::from_secs(5),
    );
    let compress = tower_http::compression::CompressionLayer::new();
    let origin = tower::service_fn(|_: Request<Full<bytes::Bytes>>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(bytes::Bytes::from("ok"))))
    });
    let inside = ServiceBuilder::new()
        .layer(compress.clone())
        .layer(timeout)
        .layer(layer.clone())
        .service(origin);
    let outside = ServiceBuilder::new()
        .layer(layer)
        .layer(compress)
        .layer(timeout)
        .service(origin);
    assert_eq!(
        inside.oneshot(from("192.0.2.1")).await.unwrap().status(),
        200
    );
    assert_eq!(
        outside.oneshot(from("192.0.2.1")).await.unwrap().status(),
        429
    );
}
