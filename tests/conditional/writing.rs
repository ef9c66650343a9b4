//! Unsafe methods: refused before the handler where what their client saw is no longer so.

use larder::conditional::{ConditionalLayer, Validator};

use super::ask;
use crate::support::*;

/// A layer that knows `/there` at revision 7, and nothing else.
fn layer() -> ConditionalLayer {
    ConditionalLayer::new().current(|parts| {
        let there = parts.uri.path() == "/there";
        async move {
            tokio::task::yield_now().await;
            there.then(|| Validator::strong("7"))
        }
    })
}

#[tokio::test]
async fn an_overtaken_change_is_refused_before_its_handler() {
    let rows = [
        ("PUT", "/there", "if-match", "\"7\"", 200),
        ("PUT", "/there", "if-match", "\"6\", \"7\"", 200),
        ("PUT", "/there", "if-match", "*", 200),
        ("PUT", "/there", "if-match", "\"6\"", 412),
        ("PUT", "/there", "if-match", "W/\"7\"", 412),
        ("PUT", "/gone", "if-match", "*", 412),
        ("PUT", "/gone", "if-match", "\"7\"", 412),
        ("PUT", "/gone", "if-none-match", "*", 200),
        ("PUT", "/there", "if-none-match", "*", 412),
        ("PATCH", "/there", "if-match", "\"6\"", 412),
        ("DELETE", "/there", "if-match", "\"6\"", 412),
        ("POST", "/there", "if-match", "\"6\"", 412),
        ("PURR", "/there", "if-match", "\"6\"", 412),
        ("OPTIONS", "/there", "if-match", "\"6\"", 200),
        ("QUERY", "/there", "if-match", "\"6\"", 200),
    ];
    for (method, path, field, value, expected) in rows {
        let origin = Origin::counting();
        let request = request(method, path, &[(field, value)], "new");
        let answer = ask(&layer(), &origin, request).await;
        assert_eq!(answer.status, expected, "{method} {path} {field}: {value}");
        assert_eq!(
            origin.calls(),
            usize::from(expected == 200),
            "{method} {value}"
        );
        if expected == 412 {
            assert_eq!(answer.text(), "");
            assert_eq!(answer.field("cache-control"), "no-store");
            let known = if path == "/there" { "\"7\"" } else { "" };
            assert_eq!(answer.field("etag"), known);
        }
    }
}

#[tokio::test]
async fn an_old_modification_date_is_refused() {
    use std::time::{Duration, UNIX_EPOCH};

    let at = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let layer = ConditionalLayer::new()
        .current(move |_| std::future::ready(Some(Validator::exists().last_modified(at))));
    for (since, expected) in [
        ("Sun, 06 Nov 1994 08:49:36 GMT", 412),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("yesterday", 200),
    ] {
        let origin = Origin::counting();
        let request = request("PUT", "/", &[("if-unmodified-since", since)], "new");
        assert_eq!(
            ask(&layer, &origin, request).await.status,
            expected,
            "{since}"
        );
        assert_eq!(origin.calls(), usize::from(expected == 200));
    }
}

#[tokio::test]
async fn without_a_condition_or_without_a_look_up_unsafe_requests_pass_untouched() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    let looks = ConditionalLayer::new().current(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(None)
    });
    for (layer, fields) in [
        (&looks, &[][..]),
        (&ConditionalLayer::new(), &[("if-match", "\"6\"")]),
    ] {
        let origin = Origin::new(|request| {
            assert!(request.headers().len() <= 1);
            text("done")
        });
        let answer = ask(layer, &origin, request("PUT", "/", fields, "new")).await;
        assert_eq!((answer.status, answer.text()), (200, "done"));
        assert_eq!(answer.field("etag"), "");
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_handler_gets_the_request_as_it_came() {
    let origin = Origin::later(|request| {
        Box::pin(async move {
            use http_body_util::BodyExt;
            assert_eq!(request.headers()["if-match"], "\"7\"");
            let body = request.into_body().collect().await.unwrap();
            text(body.to_bytes())
        })
    });
    let request = request("PUT", "/there", &[("if-match", "\"7\"")], "new");
    assert_eq!(ask(&layer(), &origin, request).await.text(), "new");
}

#[tokio::test]
async fn the_service_that_was_made_ready_is_the_one_that_is_called() {
    use tower::{Layer, Service, ServiceExt};

    // Its permit is taken in `poll_ready`: to call a clone instead would panic.
    let limited = tower::limit::ConcurrencyLimit::new(Origin::counting(), 1);
    let mut service = layer().layer(limited);
    for fields in [&[][..], &[("if-match", "\"7\"")], &[("if-match", "\"6\"")]] {
        for method in ["PUT", "GET"] {
            let request = request(method, "/there", fields, "");
            let ready = service.ready().await.unwrap();
            drop(read(ready.call(request).await.unwrap()).await);
        }
    }
}
