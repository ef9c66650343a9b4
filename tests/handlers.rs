//! What axum handlers say to the layers around them, beside their answers.

#![cfg(feature = "axum")]

#[path = "support/drive.rs"]
mod drive;
#[path = "support/log.rs"]
mod log;
mod support;

use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::Request;
use larder::{Cache, CacheFor, Invalidate, NoStore, Tags};
use log::Log;
use support::{read, Answer, MINUTE};
use tower::ServiceExt;

async fn ask(app: &Router, method: &str, uri: &str) -> Answer {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Body::empty()).unwrap();
    read(app.clone().oneshot(request).await.unwrap()).await
}

async fn list() -> impl IntoResponse {
    (
        Tags::new(["posts"]),
        Tags::new(["posts:cat:tech"]),
        Json([1, 2, 3]),
    )
}

async fn one() -> impl IntoResponse {
    (CacheFor(Duration::from_secs(1)), "one")
}

async fn never() -> impl IntoResponse {
    (NoStore, "never")
}

async fn rename() -> impl IntoResponse {
    let index = Invalidate::tag("posts:cat:tech").soft();
    (Invalidate::tag("post:7"), index, Json("renamed"))
}

#[tokio::test]
async fn handlers_name_tags_ttl_and_no_store_beside_their_answers() {
    let (cache, clock) = support::cache();
    let layer = || cache.layer().ttl(MINUTE);
    let app = Router::new()
        .route("/posts", get(list).layer(layer()))
        .route("/one", get(one).layer(layer()))
        .route("/never", get(never).layer(layer()));
    for path in ["/posts", "/one", "/never"] {
        ask(&app, "GET", path).await;
    }
    assert!(ask(&app, "GET", "/posts").await.is_hit());
    assert!(ask(&app, "GET", "/one").await.is_hit());
    assert!(!ask(&app, "GET", "/never").await.is_hit());
    clock.advance(Duration::from_secs(1));
    assert!(ask(&app, "GET", "/posts").await.is_hit());
    assert!(!ask(&app, "GET", "/one").await.is_hit());
    // Two `Tags` are the tags of both.
    assert_eq!(
        cache
            .invalidate_tags(["posts", "posts:cat:tech"])
            .await
            .entries,
        Some(1)
    );
}

#[tokio::test]
async fn a_handler_s_several_invalidations_are_all_carried_out_by_its_route_or_by_a_watch() {
    for watched in [false, true] {
        let (cache, _clock) = support::cache();
        let stale = || cache.layer().ttl(MINUTE).stale_while_revalidate(MINUTE);
        let renaming = if watched {
            put(rename)
        } else {
            put(rename).layer(cache.layer().ttl(MINUTE))
        };
        let app = Router::new()
            .route("/posts", get(list).layer(stale()))
            .route("/posts/{id}", get(list).layer(stale().tag("post:{id}")))
            .route("/rename", renaming);
        let app = if watched {
            app.layer(cache.watch())
        } else {
            app
        };
        for path in ["/posts", "/posts/7", "/posts/8"] {
            ask(&app, "GET", path).await;
        }
        ask(&app, "PUT", "/rename").await;
        let hard = ask(&app, "GET", "/posts/7").await;
        assert_eq!(hard.decision(), "fwd=stale; stored", "{watched}");
        for path in ["/posts", "/posts/8"] {
            let soft = ask(&app, "GET", path).await.decision();
            assert_eq!(
                soft, "hit; ttl=-1; detail=stale-while-revalidate",
                "{watched}"
            );
        }
    }
}

#[tokio::test]
async fn a_nested_router_s_writes_spoil_the_whole_path() {
    let (cache, _clock) = support::cache();
    let posts = Router::new().route(
        "/{id}",
        get(list).layer(cache.layer().ttl(MINUTE)).put(|| async {}),
    );
    let inside = Router::new().nest("/api", posts.clone().layer(cache.watch()));
    let outside = Router::new().nest("/api", posts).layer(cache.watch());
    for app in [inside, outside] {
        ask(&app, "GET", "/api/7").await;
        assert!(ask(&app, "GET", "/api/7").await.is_hit());
        ask(&app, "PUT", "/api/7").await;
        assert!(!ask(&app, "GET", "/api/7").await.is_hit());
    }
}

#[tokio::test]
async fn an_invalidation_that_no_layer_takes_warns_and_says_what_to_add() {
    let log = Log::default();
    let _collecting = tracing::subscriber::set_default(log.clone());
    let cache = Cache::builder().build().unwrap();
    let app = || Router::new().route("/rename", post(rename));
    ask(&app(), "POST", "/rename").await;
    let warnings = log.warnings_about("Invalidate");
    assert_eq!(warnings.len(), 2, "one for each: {warnings:?}");
    assert!(
        warnings[0].contains(".layer(cache.watch())"),
        "{warnings:?}"
    );
    ask(&app().layer(cache.watch()), "POST", "/rename").await;
    ask(&app().layer(cache.layer().ttl(MINUTE)), "POST", "/rename").await;
    drop(cache.invalidate_tag("posts"));
    assert_eq!(log.warnings_about("Invalidate"), [] as [String; 0]);
}
