//! Methods do not answer for each other, but for `HEAD`, which a stored `GET` answers.

use std::time::Duration;

use http::{Response, StatusCode};

use crate::support::*;

#[tokio::test]
async fn an_answer_to_head_never_answers_get() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::new(|request| match request.method().as_str() {
        "HEAD" => {
            let mut response = text("");
            let length = "7".parse().unwrap();
            response.headers_mut().insert("content-length", length);
            response
        }
        _ => text("content"),
    });
    for _ in 0..2 {
        let head = send(&layer, &origin, request("HEAD", "/", &[], "")).await;
        assert_eq!(head.decision(), "fwd=uri-miss; detail=head");
        assert_eq!(cache.stats().entries, 0);
    }
    let answer = send(&layer, &origin, get("/", &[])).await;
    assert_eq!((answer.text(), answer.is_hit()), ("content", false));
}

#[tokio::test]
async fn a_stored_get_answers_head_with_all_but_the_content() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::with_fields(&[("content-type", "text/plain")]);
    send(&layer, &origin, get("/", &[])).await;
    let full = send(&layer, &origin, get("/", &[])).await;
    let head = send(&layer, &origin, request("HEAD", "/", &[], "")).await;
    assert!(head.is_hit());
    assert_eq!(head.text(), "");
    assert_eq!(head.field("content-length"), full.body.len().to_string());
    assert_eq!(head.field("content-type"), "text/plain");
    assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_stored_204_answers_head_without_a_length() {
    let (cache, _clock) = cache();
    let layer = cache.layer().status_ttl(204, MINUTE);
    let origin = Origin::new(|_| {
        let mut response = Response::new(TestBody::new([]));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    });
    send(&layer, &origin, get("/", &[])).await;
    let head = send(&layer, &origin, request("HEAD", "/", &[], "")).await;
    assert!(head.is_hit());
    assert_eq!(
        (head.status, head.field("content-length").as_str()),
        (204, "")
    );
}

#[tokio::test]
async fn a_stale_response_that_answers_head_has_no_content() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .stale_if_error(3 * MINUTE);
    let origin = Origin::counting();
    send(&layer, &origin, get("/", &[])).await;
    clock.advance(MINUTE + Duration::from_secs(1));
    let head = send(&layer, &origin, request("HEAD", "/", &[], "")).await;
    assert_eq!(
        (head.text(), head.decision().as_str()),
        ("", "hit; ttl=-1; detail=stale-while-revalidate")
    );
    clock.advance(2 * MINUTE);
    let failing = Origin::new(|_| status(500));
    let head = send(&layer, &failing, request("HEAD", "/", &[], "")).await;
    assert_eq!(
        (head.text(), head.decision().as_str()),
        ("", "fwd=stale; fwd-status=500; detail=stale-if-error")
    );
    assert_eq!(head.field("content-length"), "6");
}

#[tokio::test]
async fn unsafe_methods_are_carried_out_each_time() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURR"] {
        let origin = Origin::with_fields(&[("cache-control", "public, max-age=60")]);
        for expected in ["call 1", "call 2"] {
            let answer = send(&layer, &origin, request(method, "/", &[], "")).await;
            assert_eq!(answer.text(), expected, "{method}");
            assert_eq!(answer.decision(), "fwd=method");
        }
    }
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn an_unsafe_request_that_succeeds_spoils_what_its_uri_had_stored() {
    let rows = [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 303, true),
        ("PURR", 201, true),
        ("POST", 400, false),
        ("DELETE", 500, false),
        ("OPTIONS", 200, false),
        ("TRACE", 200, false),
    ];
    for (method, code, spoils) in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = Origin::new(move |request| match request.method().as_str() {
            "GET" => text("content"),
            _ => status(code),
        });
        for uri in ["/?page=1", "/other"] {
            send(&layer, &origin, get(uri, &[])).await;
        }
        send(&layer, &origin, request(method, "/", &[], "")).await;
        let answer = send(&layer, &origin, get("/?page=1", &[])).await;
        assert_eq!(answer.is_hit(), !spoils, "{method} {code}");
        assert!(send(&layer, &origin, get("/other", &[])).await.is_hit());
    }
}

#[tokio::test]
async fn only_statuses_that_are_safe_to_repeat_are_stored() {
    let stored = [200, 203, 301, 308, 410];
    let not_stored = [
        201, 202, 204, 205, 206, 207, 226, 300, 302, 303, 304, 307, 400, 401, 402, 403, 404, 405,
        406, 408, 409, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 425, 426, 428, 429, 431,
        451, 500, 501, 502, 503, 504, 505, 507, 511, 599, 999,
    ];
    let all = stored.iter().map(|code| (*code, true));
    for (code, is_stored) in all.chain(not_stored.iter().map(|code| (*code, false))) {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let first = std::sync::atomic::AtomicBool::new(true);
        let origin = Origin::new(move |_| {
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                let mut response = status(code);
                let said = "public, max-age=60".parse().unwrap();
                response.headers_mut().insert("cache-control", said);
                response
            } else {
                text("success")
            }
        });
        send(&layer, &origin, get("/", &[])).await;
        assert_eq!(cache.stats().entries, u64::from(is_stored), "{code}");
        let second = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(second.is_hit(), is_stored, "{code}");
        if !is_stored {
            assert_eq!(second.text(), "success", "after {code}");
            assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
        }
    }
}

#[tokio::test]
async fn a_status_that_a_route_names_is_stored_for_its_own_time_and_no_other_one() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .not_found_ttl(Duration::from_secs(1));
    let origin = Origin::new(|request| status(request.uri().path()[1..].parse().unwrap()));
    for (uri, is_stored) in [("/404", true), ("/400", false), ("/204", false)] {
        send(&layer, &origin, get(uri, &[])).await;
        let again = send(&layer, &origin, get(uri, &[])).await;
        assert_eq!(again.is_hit(), is_stored, "{uri}");
    }
    clock.advance(Duration::from_secs(1));
    assert!(!send(&layer, &origin, get("/404", &[])).await.is_hit());
}
