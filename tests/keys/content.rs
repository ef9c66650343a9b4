//! `POST` and `QUERY`, keyed by what they carry; `GET`, which carries nothing.

use std::convert::Infallible;

use http::{Method, Response};
use tower::{Layer, ServiceExt};

use super::*;

fn ask(method: &str, fields: &[(&str, &str)], content: &'static str) -> Request<Full<Bytes>> {
    request(method, "/ask", fields, content)
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn requests_with_content_share_only_if_method_content_and_its_description_are_alike() {
    let rows = [
        ("POST", vec![JSON], "1", "POST", vec![JSON], "1", true),
        ("QUERY", vec![JSON], "1", "QUERY", vec![JSON], "1", true),
        ("QUERY", vec![JSON], "1", "QUERY", vec![JSON], "2", false),
        ("QUERY", vec![JSON], "1", "POST", vec![JSON], "1", false),
        ("QUERY", vec![JSON], "", "GET", vec![JSON], "", false),
        ("QUERY", vec![JSON], "1", "QUERY", vec![], "1", false),
        ("POST", vec![JSON], "", "POST", vec![JSON], " ", false),
        (
            "QUERY",
            vec![JSON],
            "1",
            "QUERY",
            vec![("content-type", "application/json; charset=utf-8")],
            "1",
            false,
        ),
        (
            "QUERY",
            vec![JSON],
            "1",
            "QUERY",
            vec![JSON, ("content-type", "text/plain")],
            "1",
            false,
        ),
        (
            "QUERY",
            vec![JSON],
            "1",
            "QUERY",
            vec![JSON, ("content-encoding", "gzip")],
            "1",
            false,
        ),
        (
            "QUERY",
            vec![JSON],
            "1",
            "QUERY",
            vec![JSON, ("content-language", "de")],
            "1",
            false,
        ),
    ];
    for (method, fields, content, other_method, other_fields, other_content, expected) in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE).key_body(1024);
        let a = ask(method, &fields, content);
        let b = ask(other_method, &other_fields, other_content);
        let row = format!("{a:?} {b:?}");
        assert_eq!(share(&layer, a, b).await, expected, "{row}");
    }
}

#[tokio::test]
async fn the_handler_reads_the_content_that_keyed_its_request() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).key_body(1024).narrow();
    let origin = Origin::later(|request| {
        Box::pin(async move {
            let fields = format!("{:?}", request.headers());
            let content = read(http::Response::new(request.into_body())).await;
            text(format!("{} {fields}", content.text()))
        })
    });
    let evil = [JSON, ("content-encoding", "identity"), ("x-lang", "evil")];
    for content in ["one", "two", "one"] {
        let answer = send(&layer, &origin, ask("POST", &evil, content)).await;
        assert!(answer.text().starts_with(content), "{}", answer.text());
        assert!(answer.text().contains("identity"), "{}", answer.text());
        assert!(!answer.text().contains("evil"), "{}", answer.text());
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn a_get_request_with_content_is_never_stored_or_answered_from_store() {
    let (cache, _clock) = cache();
    let by_head = cache.layer().ttl(MINUTE);
    let by_content = cache.layer().ttl(MINUTE).key_body(1024);
    let origin = Origin::counting();
    for method in ["GET", "HEAD"] {
        let fat = || request(method, "/", &[], "evil=1");
        let answer = send(&by_head, &origin, fat()).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=request-content");
        let answer = send(&by_content, &origin, fat()).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=request-content");
    }
    assert_eq!(cache.stats().entries, 0);
    send(&by_head, &origin, get("/", &[])).await;
    let fat = send(&by_head, &origin, request("GET", "/", &[], "evil=1")).await;
    assert_eq!((fat.text(), fat.is_hit()), ("call 6", false));
}

#[tokio::test]
async fn content_over_the_limit_bypasses_and_reaches_the_handler_whole() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).key_body(3);
    let origin = Origin::later(|request| {
        Box::pin(async move {
            let content = read(http::Response::new(request.into_body())).await;
            text(content.body)
        })
    });
    for _ in 0..2 {
        let answer = send(&layer, &origin, ask("POST", &[], "1234")).await;
        assert_eq!(
            (answer.text(), answer.decision().as_str()),
            ("1234", "fwd=bypass; detail=request-body-size")
        );
    }
    send(&layer, &origin, ask("POST", &[], "123")).await;
    assert!(send(&layer, &origin, ask("POST", &[], "123"))
        .await
        .is_hit());
}

#[tokio::test]
async fn content_that_breaks_off_is_refused_and_nothing_is_called() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).key_body(10);
    let origin = tower::service_fn(|_: Request<axum::body::Body>| async {
        let called: Result<Response<TestBody>, Infallible> = Ok(text("called"));
        called
    });
    let broken = [
        TestBody::sized([Step::Data("12"), Step::Fail], 4),
        TestBody::sized([Step::Data("12"), Step::Data("3456789012")], 4),
    ];
    for content in broken {
        let mut request = Request::new(axum::body::Body::new(content));
        *request.method_mut() = Method::POST;
        let service = layer.layer(origin);
        let answer = read(service.oneshot(request).await.unwrap()).await;
        assert_eq!((answer.status, answer.text()), (400, ""));
        assert_eq!(answer.decision(), "detail=request-body-broken");
    }
    assert_eq!(cache.stats().bypassed, 2);
}

#[tokio::test]
async fn a_route_that_does_not_key_by_content_caches_neither_post_nor_query() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::counting();
    for method in ["POST", "QUERY", "POST", "QUERY"] {
        let answer = send(&layer, &origin, ask(method, &[JSON], "1")).await;
        assert_eq!(answer.decision(), "fwd=method");
    }
    assert_eq!(origin.calls(), 4);
}
