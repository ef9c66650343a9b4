//! What handlers and unsafe methods say to the layers around them.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, put, MethodRouter};
use axum::Router;
use http::{Request, Response, StatusCode};
use larder::{Cache, Invalidate, Tags};
use tower::{Layer, ServiceExt};

use crate::support::{read, Answer, MINUTE};
use crate::world::{eventually, World};

everywhere! {
    tags_from_a_path_and_from_handlers_reach_the_other_node,
    an_answer_s_invalidations_hold_on_the_other_node,
    unsafe_methods_spoil_what_the_other_node_stored,
}

async fn ask(app: &Router, method: &str, uri: &str) -> Answer {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Body::empty()).unwrap();
    read(app.clone().oneshot(request).await.unwrap()).await
}

async fn post() -> impl IntoResponse {
    (Tags::new(["by:ann"]), "a post")
}

async fn rename() -> impl IntoResponse {
    (Invalidate::tag("post:7"), "renamed")
}

async fn moved() -> impl IntoResponse {
    (StatusCode::CREATED, [("location", "/posts/8")], "created")
}

async fn fails() -> StatusCode {
    StatusCode::BAD_REQUEST
}

/// A service of several routes, with a watch around it.
fn app(node: &Cache) -> Router {
    let cached = |handler: MethodRouter<(), Infallible>| {
        handler.layer(node.layer().ttl(MINUTE).tag("post:{id}"))
    };
    Router::new()
        .route(
            "/posts/{id}",
            cached(get(post)).put(|| async { "changed" }).delete(fails),
        )
        .route("/rename", put(rename))
        .route("/create", put(moved))
        .layer(node.watch())
}

/// Whether a node has it in store.
async fn is_stored(node: &Cache, uri: &str) -> bool {
    let absent = Router::new().route(
        "/posts/{id}",
        get(|| async { StatusCode::SERVICE_UNAVAILABLE }).layer(node.layer().ttl(MINUTE)),
    );
    ask(&absent, "GET", uri).await.status == 200
}

async fn store(world: &World, uri: &str) {
    ask(&app(&world.a), "GET", uri).await;
    for node in [&world.a, &world.b] {
        eventually(|| is_stored(node, uri)).await;
    }
}

async fn is_gone(world: &World, uri: &str) {
    for node in [&world.a, &world.b] {
        if world.is_strict() {
            assert!(!is_stored(node, uri).await, "{uri}");
        }
        eventually(|| async { !is_stored(node, uri).await }).await;
    }
}

async fn tags_from_a_path_and_from_handlers_reach_the_other_node(world: World) {
    for tag in ["post:7", "by:ann"] {
        store(&world, "/posts/7").await;
        store(&world, "/posts/8").await;
        let _ = world.b.invalidate_tag(tag).await;
        is_gone(&world, "/posts/7").await;
        assert_eq!(is_stored(&world.a, "/posts/8").await, tag == "post:7");
    }
}

async fn an_answer_s_invalidations_hold_on_the_other_node(world: World) {
    store(&world, "/posts/7").await;
    store(&world, "/posts/8").await;
    assert_eq!(
        ask(&app(&world.b), "PUT", "/rename").await.text(),
        "renamed"
    );
    is_gone(&world, "/posts/7").await;
    assert!(is_stored(&world.a, "/posts/8").await);

    // The same from a route that is cached, and around any service.
    store(&world, "/posts/7").await;
    let service = world
        .b
        .layer()
        .ttl(MINUTE)
        .layer(tower::service_fn(|_: Request<Body>| async {
            let mut response = Response::new(Body::from("renamed"));
            response.extensions_mut().insert(Invalidate::tag("post:7"));
            Ok::<_, Infallible>(response)
        }));
    let request = Request::builder()
        .uri("/elsewhere")
        .body(Body::empty())
        .unwrap();
    read(service.oneshot(request).await.unwrap()).await;
    is_gone(&world, "/posts/7").await;
}

async fn unsafe_methods_spoil_what_the_other_node_stored(world: World) {
    for (method, uri, spoiled, kept) in [
        ("PUT", "/posts/7", "/posts/7", "/posts/8"),
        ("PUT", "/create", "/posts/8", "/posts/7"),
    ] {
        store(&world, "/posts/7").await;
        store(&world, "/posts/8").await;
        ask(&app(&world.b), method, uri).await;
        is_gone(&world, spoiled).await;
        assert!(is_stored(&world.a, kept).await);
    }
    store(&world, "/posts/7").await;
    ask(&app(&world.b), "DELETE", "/posts/7").await; // fails
    for node in [&world.a, &world.b] {
        assert!(
            is_stored(node, "/posts/7").await,
            "a method that failed spoils nothing"
        );
    }
}
