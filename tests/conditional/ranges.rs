//! Ranges cut from stored responses.

use crate::support::*;

const CONTENT: &str = "0123456789";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn origin() -> Origin {
    Origin::new(|_| {
        let mut response = text(CONTENT);
        for (name, value) in [
            ("etag", "\"a\""),
            ("last-modified", MODIFIED),
            ("content-type", "text/plain"),
            ("content-length", "10"),
            ("content-digest", "sha-256=:AA==:"),
            ("cache-control", "max-age=60"),
            ("expires", MODIFIED),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
}

#[tokio::test]
async fn one_range_is_cut_and_keeps_the_fields_of_the_whole() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = origin();
    send(&layer, &origin, get("/", &[])).await;
    for (range, part, says) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=0-99", CONTENT, "bytes 0-9/10"),
        ("bytes=0-1, 2-3", "0123", "bytes 0-3/10"),
    ] {
        let answer = send(&layer, &origin, get("/", &[("range", range)])).await;
        assert_eq!((answer.status, answer.text()), (206, part), "{range}");
        assert_eq!(answer.field("content-range"), says);
        assert_eq!(answer.field("content-length"), part.len().to_string());
        assert_eq!(answer.decision(), "hit; ttl=60");
        for (name, value) in [
            ("etag", "\"a\""),
            ("content-type", "text/plain"),
            ("last-modified", MODIFIED),
            ("cache-control", "max-age=60"),
            ("age", "0"),
            ("content-digest", ""),
        ] {
            assert_eq!(answer.field(name), value, "{name}");
        }
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn several_ranges_become_parts_of_one_body() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let content: &'static str = String::leak("0123456789".repeat(100));
    let origin = Origin::new(move |_| {
        let mut response = text(content);
        let kind = "text/plain".parse().unwrap();
        response.headers_mut().insert("content-type", kind);
        response
    });
    send(&layer, &origin, get("/", &[])).await;
    let range = [("range", "bytes=500-502, 0-1, -1, 5000-")];
    let answer = send(&layer, &origin, get("/", &range)).await;
    let kind = answer.field("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, text: &str| {
        format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/1000\r\n\r\n{text}")
    };
    let expected = [
        part("500-502", "012"),
        part("0-1", "01"),
        part("999-999", "9"),
        format!("\r\n--{boundary}--\r\n"),
    ];
    assert_eq!(
        (answer.status, answer.text()),
        (206, expected.concat().as_str())
    );
    assert_eq!(
        answer.field("content-length"),
        answer.body.len().to_string()
    );
    assert_eq!(answer.field("content-range"), "");
    let again = send(&layer, &origin, get("/", &range)).await;
    assert_ne!(
        again.field("content-type"),
        kind,
        "nobody can know the next boundary"
    );
}

#[tokio::test]
async fn what_is_beyond_the_end_is_refused_and_no_cache_keeps_that() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = origin();
    send(&layer, &origin, get("/", &[])).await;
    let answer = send(&layer, &origin, get("/", &[("range", "bytes=10-")])).await;
    assert_eq!((answer.status, answer.text()), (416, ""));
    assert_eq!(answer.field("content-range"), "bytes */10");
    assert_eq!(answer.field("cache-control"), "no-store");
    for absent in [
        "etag",
        "expires",
        "content-type",
        "content-length",
        "last-modified",
    ] {
        assert_eq!(answer.field(absent), "", "{absent}");
    }
    assert!(answer.is_hit());
}

#[tokio::test]
async fn what_cannot_be_read_as_a_range_gets_the_whole() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = origin();
    send(&layer, &origin, get("/", &[])).await;
    for range in ["bytes=4-2", "bytes=", "bytes=x-y"] {
        let answer = send(&layer, &origin, get("/", &[("range", range)])).await;
        assert_eq!((answer.status, answer.text()), (200, CONTENT), "{range}");
    }
    let head = request("HEAD", "/", &[("range", "bytes=0-1")], "");
    let answer = send(&layer, &origin, head).await;
    assert_eq!(
        (answer.status, answer.field("content-length").as_str()),
        (200, "10")
    );
    assert_eq!(origin.calls(), 1);
    // A unit that the handler may know.
    let answer = send(&layer, &origin, get("/", &[("range", "lines=1-2")])).await;
    assert_eq!(answer.decision(), "fwd=bypass; detail=range");
}

#[tokio::test]
async fn parts_of_two_representations_are_never_mixed() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = origin();
    send(&layer, &origin, get("/", &[])).await;
    for (held, status) in [
        ("\"a\"", 206),
        (MODIFIED, 206),
        ("W/\"a\"", 200),
        ("\"b\"", 200),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
        ("nonsense", 200),
    ] {
        let fields = [("range", "bytes=0-1"), ("if-range", held)];
        let answer = send(&layer, &origin, get("/", &fields)).await;
        assert_eq!((answer.status, answer.is_hit()), (status, true), "{held}");
        assert_eq!(answer.text(), if status == 206 { "01" } else { CONTENT });
    }
    // Without a range it means nothing.
    let answer = send(&layer, &origin, get("/", &[("if-range", "\"a\"")])).await;
    assert_eq!((answer.status, answer.is_hit()), (200, true));
}

#[tokio::test]
async fn an_origin_that_wants_no_ranges_cut_is_obeyed() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::with_fields(&[("accept-ranges", "none")]);
    send(&layer, &origin, get("/", &[])).await;
    let answer = send(&layer, &origin, get("/", &[("range", "bytes=0-1")])).await;
    assert_eq!((answer.status, answer.is_hit()), (200, true));
}

#[tokio::test]
async fn a_range_of_what_is_not_stored_is_the_handler_s_and_keeps_nobody_from_sharing() {
    use crate::drive::{settle, spawn};

    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let part = Origin::new(|request| {
        assert_eq!(request.headers()["range"], "bytes=0-1");
        let mut part = text("01");
        *part.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        part
    });
    let answer = send(&layer, &part, get("/", &[("range", "bytes=0-1")])).await;
    assert_eq!((answer.status, cache.stats().entries), (206, 0));
    let (origin, permits) = Origin::gated(0, numbered);
    let tasks: Vec<_> = (0..5)
        .map(|_| spawn(&layer, &origin, get("/", &[])))
        .collect();
    settle().await;
    assert_eq!(origin.calls(), 1);
    permits.add_permits(1);
    for task in tasks {
        assert_eq!(task.await.unwrap().text(), "call 1");
    }
}
