//! The layer where people put it: on a route, and on a router.

use axum::body::Body;
use axum::routing::get;
use axum::Router;
use http::{Request, Response};
use larder::conditional::Validator;
use larder::ConditionalLayer;
use tower::ServiceExt;

use super::tag_of;
use crate::support::read;

fn request(method: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri("/post");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::empty()).unwrap()
}

async fn send(app: &Router, request: Request<Body>) -> crate::support::Answer {
    let response: Response<Body> = app.clone().oneshot(request).await.unwrap();
    read(response).await
}

#[tokio::test]
async fn on_a_route_and_on_a_router_get_and_head_agree() {
    let handler = || async { "a post" };
    let layer = ConditionalLayer::new;
    let on_route = Router::new().route("/post", get(handler).layer(layer()));
    let on_router = Router::new().route("/post", get(handler)).layer(layer());
    for app in [on_route, on_router] {
        let tag = tag_of("a post");
        for method in ["GET", "HEAD"] {
            let answer = send(&app, request(method, &[])).await;
            assert_eq!(
                (answer.status, answer.field("etag")),
                (200, tag.clone()),
                "{method}"
            );
            assert_eq!(answer.field("content-length"), "6");
            assert_eq!(answer.text().is_empty(), method == "HEAD");
            let answer = send(&app, request(method, &[("if-none-match", &tag)])).await;
            assert_eq!((answer.status, answer.text()), (304, ""), "{method}");
            assert_eq!(answer.field("content-type"), "");
        }
    }
}

#[tokio::test]
async fn a_handler_may_answer_with_the_validator_of_its_database() {
    let handler = || async { (Validator::strong("7"), "a post") };
    let layer =
        ConditionalLayer::new().current(|_| std::future::ready(Some(Validator::strong("7"))));
    let app = Router::new().route(
        "/post",
        get(handler).put(|| async { "changed" }).layer(layer),
    );
    assert_eq!(send(&app, request("GET", &[])).await.field("etag"), "\"7\"");
    assert_eq!(
        send(&app, request("GET", &[("if-none-match", "\"7\"")]))
            .await
            .status,
        304
    );
    assert_eq!(
        send(&app, request("PUT", &[("if-match", "\"7\"")]))
            .await
            .text(),
        "changed"
    );
    assert_eq!(
        send(&app, request("PUT", &[("if-match", "\"6\"")]))
            .await
            .status,
        412
    );
}
