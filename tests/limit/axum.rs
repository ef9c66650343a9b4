//! In an axum router.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::routing::get;
use axum::Router;
use larder::{LimitLayer, Quota};
use tower::ServiceExt;

fn request(method: &str, path: &str, peer: [u8; 4]) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let info = ConnectInfo(SocketAddr::from((peer, 4711)));
    request.extensions_mut().insert(info);
    request
}

async fn statuses(app: &Router, requests: &[(&str, &str)]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (method, path) in requests {
        let answer = app
            .clone()
            .oneshot(request(method, path, [192, 0, 2, 1]))
            .await;
        statuses.push(answer.unwrap().status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn a_router_has_one_limit_for_all_its_routes() {
    let app = Router::new()
        .route("/a", get(|| async { "a" }))
        .route("/b", get(|| async { "b" }))
        .layer(LimitLayer::new(Quota::per_hour(2)).by_peer_ip());
    let seen = statuses(
        &app,
        &[
            ("GET", "/a"),
            ("GET", "/b"),
            ("GET", "/a"),
            ("GET", "/none"),
        ],
    );
    assert_eq!(seen.await, [200, 200, 429, 429]);
}

#[tokio::test]
async fn by_route_counts_templates_and_not_paths() {
    let layer = LimitLayer::new(Quota::per_hour(1)).by_peer_ip().by_route();
    let app = Router::new()
        .route("/posts/{id}", get(|| async { "a" }).put(|| async { "b" }))
        .route("/users/{id}", get(|| async { "c" }))
        .route_layer(layer);
    let seen = statuses(
        &app,
        &[
            ("GET", "/posts/1"),
            ("GET", "/posts/2"),
            ("PUT", "/posts/1"),
            ("GET", "/users/1"),
        ],
    );
    assert_eq!(seen.await, [200, 429, 200, 200]);
}

#[tokio::test]
async fn one_route_alone_may_have_its_own_limit_beside_that_of_the_router() {
    let tight = LimitLayer::new(Quota::per_hour(1))
        .name("login")
        .by_peer_ip();
    let wide = LimitLayer::new(Quota::per_hour(5)).name("all").by_peer_ip();
    let app = Router::new()
        .route("/login", get(|| async { "in" }).layer(tight))
        .route("/", get(|| async { "home" }))
        .layer(wide);
    let first = app
        .clone()
        .oneshot(request("GET", "/login", [192, 0, 2, 1]))
        .await
        .unwrap();
    let lines: Vec<_> = first.headers().get_all("ratelimit").iter().collect();
    assert_eq!(
        lines,
        ["\"login\";r=0;t=3600", "\"all\";r=4;t=720"],
        "appended, the inner first"
    );
    let seen = statuses(&app, &[("GET", "/login"), ("GET", "/"), ("GET", "/")]);
    assert_eq!(seen.await, [429, 200, 200]);
}

#[tokio::test]
async fn by_route_nobody_has_a_second_bucket_by_another_word_for_it() {
    let layer = LimitLayer::new(Quota::per_hour(1)).by_peer_ip().by_route();
    let app = Router::new()
        .route("/", axum::routing::any(|| async { "any" }))
        .route_layer(layer);
    let methods = ["GET", "HEAD", "POST", "PATCH", "BREW", "WHEN", "get"];
    let seen = statuses(&app, &methods.map(|method| (method, "/"))).await;
    assert_eq!(seen, [200, 429, 200, 200, 200, 429, 429]);
}
