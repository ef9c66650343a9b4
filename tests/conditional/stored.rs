//! The cache answers clients that hold the stored response already.

use std::time::Duration;

use larder::{user, Cache};

use crate::drive::{settle, spawn};
use crate::support::*;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

/// Answers with a tag, a date and a few other fields, whatever it is asked.
fn tagged() -> Origin {
    Origin::with_fields(&[
        ("etag", "\"a\""),
        ("last-modified", MODIFIED),
        ("content-type", "text/plain"),
        ("content-language", "de"),
        ("cache-control", "public, max-age=60"),
        ("vary", "accept"),
        ("x-other", "1"),
    ])
}

#[tokio::test]
async fn who_holds_the_stored_response_gets_304_without_a_call() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = tagged();
    send(&layer, &origin, get("/", &[])).await;
    clock.advance(Duration::from_secs(12));
    for fields in [
        &[("if-none-match", "\"a\"")][..],
        &[("if-none-match", "W/\"a\"")],
        &[("if-none-match", "\"b\", \"a\"")],
        &[("if-none-match", "*")],
        &[("if-none-match", "\"a\""), ("if-modified-since", BEFORE)],
        &[("if-none-match", "\"a\""), ("range", "bytes=0-1")],
        &[("if-modified-since", MODIFIED)],
        &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
    ] {
        for method in ["GET", "HEAD"] {
            let answer = send(&layer, &origin, request(method, "/", fields, "")).await;
            assert_eq!((answer.status, answer.text()), (304, ""), "{fields:?}");
            assert_eq!(answer.decision(), "hit; ttl=48");
            let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
            names.sort_unstable();
            let expected = [
                "age",
                "cache-control",
                "cache-status",
                "etag",
                "vary",
                "x-other",
            ];
            assert_eq!(names, expected);
            assert_eq!(answer.field("age"), "12");
        }
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn who_holds_another_one_gets_the_whole() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = tagged();
    send(&layer, &origin, get("/", &[])).await;
    for fields in [
        &[("if-none-match", "\"b\"")][..],
        &[("if-none-match", "\"b\""), ("if-modified-since", MODIFIED)],
        &[("if-none-match", "w/\"a\"")],
        &[("if-modified-since", BEFORE)],
        &[("if-modified-since", "yesterday")],
    ] {
        let answer = send(&layer, &origin, get("/", fields)).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "call 1"),
            "{fields:?}"
        );
        assert!(answer.is_hit());
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_response_without_a_date_was_modified_when_it_was_received_at_the_latest() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::counting();
    send(&layer, &origin, get("/", &[])).await;
    // It came at the beginning of 2026. What else came within that second, nobody knows.
    for (since, status) in [
        ("Thu, 01 Jan 2026 00:00:01 GMT", 304),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 200),
        (MODIFIED, 200),
    ] {
        let answer = send(&layer, &origin, get("/", &[("if-modified-since", since)])).await;
        assert_eq!((answer.status, answer.is_hit()), (status, true), "{since}");
        assert_eq!(answer.field("etag"), "", "none is invented");
    }
}

#[tokio::test]
async fn conditions_for_the_origin_reach_it() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = tagged();
    send(&layer, &origin, get("/", &[])).await;
    for field in ["if-match", "if-unmodified-since"] {
        let answer = send(&layer, &origin, get("/", &[(field, "\"a\"")])).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=precondition");
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test]
async fn statuses_that_are_no_success_are_sent_whole() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).not_found_ttl(MINUTE);
    let origin = Origin::new(|_| {
        let mut response = text("none");
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
            .headers_mut()
            .insert("etag", "\"a\"".parse().unwrap());
        response
    });
    send(&layer, &origin, get("/", &[])).await;
    for condition in [("if-none-match", "\"a\""), ("range", "bytes=0-1")] {
        let answer = send(&layer, &origin, get("/", &[condition])).await;
        assert_eq!(
            (answer.status, answer.text(), answer.is_hit()),
            (404, "none", true)
        );
    }
}

#[tokio::test]
async fn each_user_s_condition_is_judged_by_their_own_response() {
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_header("x-user"));
    let origin = Origin::new(|request| {
        let user = request.headers()["x-user"].to_str().unwrap().to_owned();
        let mut response = text(format!("for {user}"));
        let tag = format!("\"{user}\"").parse().unwrap();
        response.headers_mut().insert("etag", tag);
        response
    });
    for user in ["ann", "bob"] {
        send(&layer, &origin, get("/", &[("x-user", user)])).await;
    }
    for (user, held, status) in [
        ("ann", "\"ann\"", 304),
        ("ann", "\"bob\"", 200),
        ("bob", "\"bob\"", 304),
    ] {
        let fields = [("x-user", user), ("if-none-match", held)];
        let answer = send(&layer, &origin, get("/", &fields)).await;
        assert_eq!((answer.status, answer.is_hit()), (status, true));
        assert_eq!(answer.field("etag"), format!("\"{user}\""));
        assert!(answer.field("cache-control").contains("private"));
    }
    // Nobody's request is nobody's response.
    let answer = send(
        &layer,
        &origin,
        get("/", &[("x-user", ""), ("if-none-match", "*")]),
    )
    .await;
    assert!(!answer.is_hit());
}

#[tokio::test]
async fn a_stale_response_that_may_answer_may_answer_304_and_is_refreshed_whole() {
    let (cache, clock) = cache();
    let seconds = Duration::from_secs;
    let layer = cache
        .layer()
        .ttl(seconds(10))
        .stale_while_revalidate(seconds(20));
    let origin = Origin::new(|request| {
        let partial = ["if-modified-since", "range", "if-range"];
        let fields = request.headers();
        assert!(
            !partial.iter().any(|name| fields.contains_key(*name)),
            "{fields:?}"
        );
        // The cache's own question, which this handler does not heed.
        let held = fields.get("if-none-match");
        assert!(held.is_none_or(|held| held == "\"a\""), "{fields:?}");
        let mut response = text("content");
        response
            .headers_mut()
            .insert("etag", "\"a\"".parse().unwrap());
        response
    });
    send(&layer, &origin, get("/", &[])).await;
    for (n, (fields, status)) in [
        (&[("if-none-match", "\"a\"")][..], 304),
        (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], 206),
    ]
    .into_iter()
    .enumerate()
    {
        clock.advance(seconds(15));
        let answer = send(&layer, &origin, get("/", fields)).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.decision(),
            "hit; ttl=-5; detail=stale-while-revalidate"
        );
        assert_eq!(answer.field("age"), "15");
        settle().await;
        assert_eq!(origin.calls(), n + 2);
        let whole = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(
            (whole.text(), whole.decision().as_str()),
            ("content", "hit; ttl=10")
        );
    }
    // Beyond the window the condition goes to the handler.
    clock.advance(seconds(100));
    let origin = tagged();
    let answer = send(&layer, &origin, get("/", &[("if-none-match", "\"a\"")])).await;
    assert_eq!((answer.status, origin.calls()), (200, 1));
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_error_as_304_too() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE).stale_if_error(MINUTE);
    send(&layer, &tagged(), get("/", &[])).await;
    clock.advance(Duration::from_secs(90));
    let failing = Origin::new(|_| status(500));
    let answer = send(&layer, &failing, get("/", &[("if-none-match", "\"a\"")])).await;
    assert_eq!(answer.status, 304);
    assert_eq!(
        answer.decision(),
        "fwd=stale; fwd-status=500; detail=stale-if-error"
    );
}

#[tokio::test]
async fn an_invalidated_response_confirms_nothing() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let origin = tagged();
    send(&layer, &origin, get("/", &[])).await;
    let _ = cache.invalidate_tag("posts").await;
    for condition in [
        ("if-none-match", "\"a\""),
        ("if-none-match", "*"),
        ("range", "bytes=0-1"),
    ] {
        let answer = send(&layer, &origin, get("/", &[condition])).await;
        assert!(!answer.is_hit());
        let _ = cache.invalidate_tag("posts").await;
    }
    assert_eq!(origin.calls(), 4);
}

#[tokio::test]
async fn what_refuses_one_client_s_condition_or_range_is_never_stored() {
    for (condition, code) in [
        (("if-none-match", "\"a\""), 304),
        (("if-none-match", "\"a\""), 412),
        (("range", "bytes=99-"), 416),
        (("range", "bytes=0-1"), 206),
    ] {
        let cache = Cache::builder().build().unwrap();
        let mut layer = cache.layer().ttl(MINUTE);
        if matches!(code, 412 | 416) {
            let refusal = http::StatusCode::from_u16(code).unwrap();
            layer = layer.status_ttl(refusal, MINUTE);
        }
        let refusing = Origin::new(move |_| status(code));
        let answer = send(&layer, &refusing, get("/", &[condition])).await;
        assert_eq!(answer.status, code);
        assert_eq!(answer.decision(), "fwd=uri-miss; detail=status");
        assert_eq!(cache.stats().entries, 0);
        let whole = send(&layer, &Origin::counting(), get("/", &[])).await;
        assert_eq!((whole.status, whole.text()), (200, "call 1"));
    }
}

#[tokio::test]
async fn a_refresh_that_a_holder_started_tells_what_is_not_to_be_stored() {
    let (cache, clock) = cache();
    let seconds = Duration::from_secs;
    let layer = cache
        .layer()
        .ttl(seconds(10))
        .stale_while_revalidate(seconds(2));
    send(&layer, &tagged(), get("/", &[])).await;
    clock.advance(seconds(11));
    let unstorable = Origin::with_fields(&[("cache-control", "no-store")]);
    let held = [("if-none-match", "\"a\"")];
    assert_eq!(send(&layer, &unstorable, get("/", &held)).await.status, 304);
    settle().await;
    assert_eq!(unstorable.calls(), 1);
    // So nobody waits for another one's call in vain.
    clock.advance(seconds(1));
    let (origin, permits) = Origin::gated(0, numbered);
    let tasks: Vec<_> = (0..5)
        .map(|_| spawn(&layer, &origin, get("/", &[])))
        .collect();
    settle().await;
    assert_eq!(origin.calls(), 5);
    permits.add_permits(5);
    for task in tasks {
        assert_eq!(task.await.unwrap().status, 200);
    }
}
