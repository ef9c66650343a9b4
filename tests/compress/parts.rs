//! Conditions and ranges, where a stored response is kept in codings too.

use http::Request;
use http_body_util::Full;

use crate::codings::{decoded, text_of};
use crate::support::*;

const LENGTH: usize = 20_000;
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Text with a strong tag and a date, whatever is asked.
fn dated() -> Origin {
    Origin::new(|_| {
        let mut response = text(text_of(LENGTH, 1));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("etag", "\"a\"".parse().unwrap());
        headers.insert("last-modified", MODIFIED.parse().unwrap());
        response
    })
}

fn asking(coding: &str, fields: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
    let mut request = get("/", fields);
    if !coding.is_empty() {
        let coding = coding.parse().unwrap();
        request.headers_mut().insert("accept-encoding", coding);
    }
    request
}

#[tokio::test]
async fn a_304_has_the_tag_of_the_form_and_nothing_is_encoded_for_it() {
    for field in [
        ("if-none-match", "\"a\""),
        ("if-none-match", "W/\"a\""),
        ("if-modified-since", MODIFIED),
    ] {
        let (cache, _clock) = cache();
        let (layer, origin) = (cache.layer().ttl(MINUTE), dated());
        send(&layer, &origin, asking("", &[])).await;
        for coding in ["", "br", "zstd", "gzip"] {
            let answer = send(&layer, &origin, asking(coding, &[field])).await;
            assert_eq!((answer.status, answer.text()), (304, ""), "{coding}");
            let tag = if coding.is_empty() {
                "\"a\""
            } else {
                "W/\"a\""
            };
            assert_eq!(answer.field("etag"), tag, "{coding}");
            assert_eq!(answer.field("vary"), "accept-encoding", "{coding}");
            assert_eq!(answer.field("content-encoding"), "", "{coding}");
        }
        assert_eq!((origin.calls(), cache.stats().encoded), (1, 0));
    }
}

#[tokio::test]
async fn any_tag_that_was_sent_gets_304_in_any_coding() {
    let (cache, _clock) = cache();
    let (layer, origin) = (cache.layer().ttl(MINUTE), dated());
    for coding in ["", "br", "zstd", "gzip"] {
        let sent = send(&layer, &origin, asking(coding, &[]))
            .await
            .field("etag");
        for other in ["", "br", "zstd", "gzip", "identity", "*;q=0"] {
            let answer = send(&layer, &origin, asking(other, &[("if-none-match", &sent)])).await;
            assert_eq!(
                answer.status, 304,
                "{sent} of {coding:?}, asked with {other:?}"
            );
        }
    }
}

#[tokio::test]
async fn ranges_are_cut_from_the_bytes_that_the_strong_tag_names() {
    let (cache, _clock) = cache();
    let (layer, origin) = (cache.layer().ttl(MINUTE), dated());
    send(&layer, &origin, asking("", &[])).await;
    for coding in ["", "br", "zstd", "gzip"] {
        for fields in [
            &[("range", "bytes=100-299")][..],
            &[("range", "bytes=100-299"), ("if-range", "\"a\"")],
        ] {
            let answer = send(&layer, &origin, asking(coding, fields)).await;
            assert_eq!(answer.status, 206, "{coding} {fields:?}");
            assert_eq!(answer.field("content-encoding"), "", "{coding}");
            assert_eq!(answer.field("etag"), "\"a\"", "{coding}");
            assert!(answer.body == text_of(LENGTH, 1)[100..300], "{coding}");
        }
        let beyond = asking(coding, &[("range", "bytes=20000-")]);
        let answer = send(&layer, &origin, beyond).await;
        assert_eq!((answer.status, answer.text()), (416, ""));
        assert_eq!(answer.field("content-range"), "bytes */20000");
    }
    assert_eq!((origin.calls(), cache.stats().encoded), (1, 0));
}

#[tokio::test]
async fn who_may_hold_a_part_of_a_coding_gets_no_part_of_the_other_form() {
    let (cache, _clock) = cache();
    let (layer, origin) = (cache.layer().ttl(MINUTE), dated());
    send(&layer, &origin, asking("", &[])).await;
    for coding in ["", "br", "zstd", "gzip"] {
        // The tag of coded bytes is weak, the date is that of all forms, and who asks for none now may
        // have asked for one before.
        for held in ["W/\"a\"", MODIFIED] {
            let fields = [("range", "bytes=100-299"), ("if-range", held)];
            let answer = send(&layer, &origin, asking(coding, &fields)).await;
            assert_eq!(answer.status, 200, "{coding} {held}");
            assert_eq!(answer.field("content-encoding"), coding);
            assert!(decoded(coding, &answer.body) == text_of(LENGTH, 1));
        }
    }
    let plain = layer.codings([]);
    send(&plain, &origin, get("/plain", &[])).await;
    let fields = [("range", "bytes=100-299"), ("if-range", MODIFIED)];
    let answer = send(&plain, &origin, get("/plain", &fields)).await;
    assert_eq!(answer.status, 206, "without codings there is one form");
}

#[tokio::test]
async fn a_304_of_the_handler_varies_as_its_200_would() {
    let (cache, _clock) = cache();
    let origin = Origin::new(|_| {
        let mut response = status(304);
        let headers = response.headers_mut();
        headers.insert("etag", "\"a\"".parse().unwrap());
        response
    });
    let layer = cache.layer().ttl(MINUTE);
    for (coding, tag) in [("", "\"a\""), ("gzip", "W/\"a\"")] {
        let asked = asking(coding, &[("if-none-match", "\"a\"")]);
        let answer = send(&layer, &origin, asked).await;
        assert_eq!(answer.status, 304);
        assert_eq!(answer.field("vary"), "accept-encoding", "{coding}");
        assert_eq!(answer.field("etag"), tag, "{coding}");
    }
}
