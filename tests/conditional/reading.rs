//! `GET` and `HEAD`: what gets a tag, and who is told that nothing has changed.

use larder::ConditionalLayer;

use super::{ask, tag_of};
use crate::support::*;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn with(status: u16, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |_| {
        let mut response = text("content");
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
}

#[tokio::test]
async fn a_successful_answer_of_known_length_gets_a_strong_tag_and_a_304() {
    let layer = ConditionalLayer::new();
    for status in [200, 203] {
        let origin = with(status, &[]);
        let first = ask(&layer, &origin, get("/", &[])).await;
        assert_eq!((first.status, first.text()), (status, "content"));
        assert_eq!(first.field("etag"), tag_of("content"));
        let held = [("if-none-match", first.field("etag"))];
        let held = [(held[0].0, held[0].1.as_str())];
        let again = ask(&layer, &origin, get("/", &held)).await;
        assert_eq!((again.status, again.text()), (304, ""));
        assert_eq!(again.field("etag"), tag_of("content"));
    }
}

#[tokio::test]
async fn any_tag_of_a_list_counts_in_either_strength() {
    let layer = ConditionalLayer::new();
    let origin = with(200, &[]);
    let tag = tag_of("content");
    for (held, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"a,b\", {tag}"), 304),
        ("*".to_owned(), 304),
        (format!("w/{tag}"), 200),
        ("\"other\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        let answer = ask(&layer, &origin, get("/", &[("if-none-match", &held)])).await;
        assert_eq!(answer.status, status, "{held}");
        assert_eq!(answer.text().is_empty(), status == 304, "{held}");
    }
}

#[tokio::test]
async fn weak_tags_are_made_where_asked() {
    let layer = ConditionalLayer::new().weak();
    let origin = with(200, &[]);
    let weak = format!("W/{}", tag_of("content"));
    assert_eq!(
        ask(&layer, &origin, get("/", &[])).await.field("etag"),
        weak
    );
    for (field, status) in [("if-none-match", 304), ("if-match", 412)] {
        assert_eq!(
            ask(&layer, &origin, get("/", &[(field, &weak)]))
                .await
                .status,
            status
        );
    }
}

#[tokio::test]
async fn the_handler_s_own_validators_are_never_overwritten() {
    let layer = ConditionalLayer::new();
    for etag in ["\"mine\"", "W/\"mine\"", "nonsense"] {
        let origin = Origin::new(move |_| {
            let mut response = text("content");
            let fields = response.headers_mut();
            fields.insert("etag", etag.parse().unwrap());
            fields.insert("last-modified", MODIFIED.parse().unwrap());
            response
        });
        let answer = ask(&layer, &origin, get("/", &[])).await;
        assert_eq!(answer.field("etag"), etag);
        assert_eq!(answer.field("last-modified"), MODIFIED);
        let held = [("if-none-match", etag), ("if-modified-since", BEFORE)];
        let expected = if etag == "nonsense" { 200 } else { 304 };
        assert_eq!(ask(&layer, &origin, get("/", &held)).await.status, expected);
    }
}

#[tokio::test]
async fn a_modification_date_alone_is_enough() {
    // Of unknown length, so that there is no tag.
    let origin = Origin::new(|_| {
        let mut response = http::Response::new(TestBody::new([Step::Data("content")]));
        let date = MODIFIED.parse().unwrap();
        response.headers_mut().insert("last-modified", date);
        response
    });
    let layer = ConditionalLayer::new();
    for (since, status) in [(MODIFIED, 304), (BEFORE, 200), ("yesterday", 200)] {
        let answer = ask(&layer, &origin, get("/", &[("if-modified-since", since)])).await;
        assert_eq!(
            (answer.status, answer.field("etag")),
            (status, String::new())
        );
        assert_eq!(answer.field("last-modified"), MODIFIED);
    }
    let both = [("if-none-match", "\"a\""), ("if-modified-since", MODIFIED)];
    assert_eq!(ask(&layer, &origin, get("/", &both)).await.status, 200);
}

#[tokio::test]
async fn a_304_has_the_fields_of_the_200_that_do_not_describe_its_content() {
    let origin = with(
        200,
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "/here"),
            ("date", MODIFIED),
            ("expires", MODIFIED),
            ("vary", "accept"),
            ("vary", "origin"),
            ("set-cookie", "a=b"),
            ("cache-status", "up; hit"),
            ("content-type", "text/plain"),
            ("content-length", "7"),
            ("content-language", "de"),
            ("last-modified", MODIFIED),
        ],
    );
    let answer = ask(
        &ConditionalLayer::new(),
        &origin,
        get("/", &[("if-none-match", "*")]),
    )
    .await;
    let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "cache-control",
        "cache-status",
        "content-location",
        "date",
        "etag",
        "expires",
        "set-cookie",
        "vary",
    ];
    assert_eq!(names, expected);
    assert_eq!(answer.field("vary"), "accept, origin");
}

#[tokio::test]
async fn answers_that_are_no_plain_success_are_left_alone() {
    let layer = ConditionalLayer::new();
    for status in [204, 206, 301, 404, 500] {
        let origin = with(status, &[]);
        let answer = ask(&layer, &origin, get("/", &[])).await;
        assert_eq!(
            (answer.status, answer.field("etag")),
            (status, String::new())
        );
    }
    for status in [301, 404, 412, 500] {
        let origin = with(status, &[("etag", "\"a\"")]);
        for condition in [("if-none-match", "\"a\""), ("if-match", "\"b\"")] {
            let answer = ask(&layer, &origin, get("/", &[condition])).await;
            assert_eq!((answer.status, answer.text()), (status, "content"));
        }
    }
    let origin = with(200, &[]);
    let answer = ask(
        &layer,
        &origin,
        request("POST", "/", &[("if-none-match", "*")], ""),
    )
    .await;
    assert_eq!((answer.status, answer.field("etag")), (200, String::new()));
}

#[tokio::test]
async fn streams_are_left_alone_even_when_their_length_is_known() {
    for fields in [
        &[("content-type", "text/event-stream; charset=utf-8")][..],
        &[("incremental", "?1")],
        &[("trailer", "x-checksum")],
        &[("content-range", "bytes 0-6/100")],
    ] {
        let origin = with(200, fields);
        let answer = ask(&ConditionalLayer::new(), &origin, get("/", &[])).await;
        assert_eq!(
            (answer.text(), answer.field("etag")),
            ("content", String::new()),
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn bodies_over_the_limit_pass() {
    for (limit, tagged) in [(7, true), (6, false)] {
        let layer = ConditionalLayer::new().body_limit(limit);
        let answer = ask(&layer, &with(200, &[]), get("/", &[])).await;
        assert_eq!(answer.text(), "content");
        assert_eq!(!answer.field("etag").is_empty(), tagged);
    }
}

#[tokio::test]
async fn no_transform_does_not_forbid_a_tag() {
    let origin = with(200, &[("cache-control", "no-transform")]);
    let answer = ask(&ConditionalLayer::new(), &origin, get("/", &[])).await;
    assert_eq!(answer.field("etag"), tag_of("content"));
}

#[tokio::test]
async fn head_has_the_tag_of_get_or_none() {
    let layer = ConditionalLayer::new();
    let head = |fields: &[(&str, &str)]| request("HEAD", "/", fields, "");
    // The content is there, as in axum, which takes it away further out.
    let answer = ask(&layer, &with(200, &[]), head(&[])).await;
    assert_eq!(answer.field("etag"), tag_of("content"));
    let held = tag_of("content");
    let answer = ask(&layer, &with(200, &[]), head(&[("if-none-match", &held)])).await;
    assert_eq!(answer.status, 304);
    // It is not: whatever its length is said to be, the name of nothing is not its name.
    for length in [None, Some("7"), Some("0")] {
        let origin = Origin::new(move |_| {
            let mut response = text("");
            if let Some(length) = length {
                let length = length.parse().unwrap();
                response.headers_mut().insert("content-length", length);
            }
            response
        });
        let answer = ask(&layer, &origin, head(&[])).await;
        assert_eq!(answer.field("etag"), "", "{length:?}");
    }
    let own = Origin::new(|_| {
        let mut response = text("");
        response
            .headers_mut()
            .insert("etag", "\"a\"".parse().unwrap());
        response
    });
    let answer = ask(&layer, &own, head(&[("if-none-match", "\"a\"")])).await;
    assert_eq!(
        (answer.status, answer.field("etag").as_str()),
        (304, "\"a\"")
    );
}

#[tokio::test]
async fn a_get_whose_condition_does_not_hold_gets_412_that_no_cache_keeps() {
    let origin = with(
        200,
        &[
            ("cache-control", "public, max-age=60"),
            ("content-type", "a/b"),
        ],
    );
    let layer = ConditionalLayer::new();
    let answer = ask(&layer, &origin, get("/", &[("if-match", "\"old\"")])).await;
    assert_eq!((answer.status, answer.text()), (412, ""));
    assert_eq!(answer.field("cache-control"), "no-store");
    assert_eq!(answer.field("etag"), tag_of("content"));
    assert_eq!(answer.field("content-type"), "");
    let held = tag_of("content");
    let answer = ask(&layer, &origin, get("/", &[("if-match", &held)])).await;
    assert_eq!((answer.status, answer.text()), (200, "content"));
}
