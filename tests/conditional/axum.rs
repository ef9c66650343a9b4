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
    let (cache, _clock) = crate::support::cache();
    let cached = cache.layer().ttl(crate::support::MINUTE);
    let cached = Router::new().route("/post", get(handler).layer((cached, layer())));
    send(&cached, request("GET", &[])).await;
    for app in [on_route, on_router, cached] {
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
            // It would be the length of the 200, which zero is not (RFC 9110 §8.6).
            assert_eq!(answer.field("content-length"), "");
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

#[tokio::test]
async fn a_304_says_no_length_on_the_wire() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (cache, _clock) = crate::support::cache();
    let handler = || async { "a post" };
    let cached = cache.layer().ttl(crate::support::MINUTE);
    let stored = get(handler).layer((cached, ConditionalLayer::new()));
    let app = Router::new()
        .route("/stored", stored)
        .route("/alone", get(handler).layer(ConditionalLayer::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let tag = tag_of("a post");
    for (path, held, status) in [
        ("/alone", tag.as_str(), "304"),
        ("/stored", "\"b\"", "200"),
        ("/stored", &tag, "304"),
    ] {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nif-none-match: {held}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        let says_length = answer.to_ascii_lowercase().contains("content-length");
        let chunked = answer.to_ascii_lowercase().contains("transfer-encoding");
        assert_eq!((says_length, chunked), (status == "200", false), "{answer}");
        assert!(answer.contains(&tag), "{answer}");
    }
    server.abort();
}
