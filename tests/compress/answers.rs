//! Which answers are encoded, and what their fields say.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use larder::{Coding, CompressLayer};
use tower::{service_fn, Layer, ServiceExt};

use crate::codings::{decoded, text_of};
use crate::support::*;

/// Answers with these fields and this much text, or with nothing to `HEAD`.
fn answering(fields: &[(&'static str, &'static str)], length: usize) -> Origin {
    let fields = fields.to_vec();
    Origin::new(move |request| {
        let mut response = match request.method().as_str() {
            "HEAD" => text(""),
            _ => text(text_of(length, 1)),
        };
        for (name, value) in &fields {
            if *name == ":status" {
                *response.status_mut() = value.parse().unwrap();
            } else {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
        }
        response
    })
}

async fn ask(layer: &CompressLayer, origin: &Origin, request: Request<Full<Bytes>>) -> Answer {
    read(layer.layer(origin.clone()).oneshot(request).await.unwrap()).await
}

const CSS: (&str, &str) = ("content-type", "text/css");

#[tokio::test]
async fn a_client_gets_the_coding_it_wants_most_and_no_other() {
    let (layer, origin) = (CompressLayer::new(), answering(&[CSS], 5000));
    let rows = [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("*", "br"),
        ("br;q=0, *", "zstd"),
        ("gzip;q=0", ""),
        ("*;q=0", ""),
        ("identity", ""),
        ("deflate", ""),
        ("gzip;q=x", ""),
        ("", ""),
    ];
    for (accepted, coding) in rows {
        let answer = ask(&layer, &origin, get("/", &[("accept-encoding", accepted)])).await;
        assert_eq!(answer.field("content-encoding"), coding, "{accepted}");
        assert_eq!(answer.field("vary"), "accept-encoding", "{accepted}");
        assert_eq!(
            decoded(coding, &answer.body),
            text_of(5000, 1),
            "{accepted}"
        );
    }
    let answer = ask(&layer, &origin, get("/", &[])).await;
    assert_eq!(
        (answer.field("content-encoding"), answer.body.len()),
        (String::new(), 5000)
    );
    assert_eq!(answer.field("vary"), "accept-encoding");
}

#[tokio::test]
async fn the_order_of_the_codings_decides_between_equals() {
    let origin = answering(&[CSS], 5000);
    let layer = CompressLayer::new().codings([Coding::Gzip, Coding::Brotli]);
    for (accepted, coding) in [("br, gzip", "gzip"), ("br, zstd", "br"), ("zstd", "")] {
        let answer = ask(&layer, &origin, get("/", &[("accept-encoding", accepted)])).await;
        assert_eq!(answer.field("content-encoding"), coding, "{accepted}");
    }
}

#[tokio::test]
async fn what_is_not_worth_it_or_must_not_change_is_left_alone() {
    type Row = (&'static [(&'static str, &'static str)], usize);
    let rows: [Row; 16] = [
        (&[CSS], 599),
        (&[CSS], 0),
        (&[], 5000),
        (&[("content-type", "image/png")], 5000),
        (&[("content-type", "application/zip")], 5000),
        (&[("content-type", "video/mp4")], 5000),
        (&[("content-type", "text/event-stream")], 5000),
        (&[("content-type", "multipart/mixed; boundary=a")], 5000),
        (&[CSS, ("incremental", "?1")], 5000),
        (&[CSS, ("cache-control", "max-age=1, no-transform")], 5000),
        (&[CSS, ("content-encoding", "br")], 5000),
        (&[CSS, ("content-range", "bytes 0-4999/9999")], 5000),
        (&[CSS, (":status", "206")], 5000),
        (&[CSS, (":status", "101")], 0),
        (&[CSS, (":status", "204")], 0),
        (&[CSS, (":status", "205")], 0),
    ];
    let layer = CompressLayer::new().types(|_| true);
    for (fields, length) in rows {
        let worth_it = match fields {
            [] | [("content-type", "image/png" | "application/zip" | "video/mp4")] => {
                CompressLayer::new()
            }
            _ => layer.clone(),
        };
        let origin = answering(&[fields, &[("etag", "\"1\"")]].concat(), length);
        let answer = ask(
            &worth_it,
            &origin,
            get("/", &[("accept-encoding", "gzip, br")]),
        )
        .await;
        let expected = ask(&CompressLayer::new().codings([]), &origin, get("/", &[])).await;
        assert_eq!(answer.headers, expected.headers, "{fields:?}");
        assert_eq!(answer.body, text_of(length, 1), "{fields:?}");
    }
}

#[tokio::test]
async fn a_304_varies_as_its_200_did_and_lends_coded_bytes_no_strong_tag() {
    let origin = answering(&[CSS, (":status", "304"), ("etag", "\"1\"")], 0);
    for (accepts, tag) in [("gzip", "W/\"1\""), ("identity", "\"1\"")] {
        let request = get("/", &[("accept-encoding", accepts)]);
        let answer = ask(&CompressLayer::new(), &origin, request).await;
        assert_eq!(answer.headers["etag"], tag);
        assert_eq!(answer.headers["vary"], "accept-encoding");
    }
    let none = CompressLayer::new().codings([]);
    let answer = ask(&none, &origin, get("/", &[("accept-encoding", "gzip")])).await;
    assert_eq!(answer.headers["etag"], "\"1\"");
    assert!(!answer.headers.contains_key("vary"));
}

#[tokio::test]
async fn a_client_that_refuses_plain_answers_gets_short_ones_coded_as_well() {
    let layer = CompressLayer::new();
    let strict = [("accept-encoding", "gzip, identity;q=0")];
    let answer = ask(&layer, &answering(&[CSS], 20), get("/", &strict)).await;
    assert_eq!(decoded("gzip", &answer.body), text_of(20, 1));
    // Where nothing on offer will do, an answer without a coding is better than none.
    let nothing = [("accept-encoding", "identity;q=0")];
    let answer = ask(&layer, &answering(&[CSS], 2000), get("/", &nothing)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 2000));
}

#[tokio::test]
async fn the_coded_form_says_only_what_is_true_of_it() {
    let origin = answering(
        &[
            CSS,
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:AAAA:"),
            ("repr-digest", "sha-256=:AAAA:"),
            ("digest", "sha-256=AAAA"),
            ("content-md5", "AAAA"),
            ("etag", "\"strong\""),
            ("vary", "origin, Accept-Encoding"),
            ("x-app", "1"),
        ],
        5000,
    );
    let layer = CompressLayer::new();
    let coded = ask(&layer, &origin, get("/", &[("accept-encoding", "gzip")])).await;
    let mut names: Vec<_> = coded.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["content-encoding", "content-type", "etag", "vary", "x-app"]
    );
    assert_eq!(coded.field("etag"), "W/\"strong\"");
    assert_eq!(coded.field("vary"), "origin, Accept-Encoding", "named once");
    let plain = ask(&layer, &origin, get("/", &[])).await;
    assert_eq!(plain.headers.len(), 10);
    assert_eq!(plain.field("etag"), "\"strong\"");
}

#[tokio::test]
async fn a_weak_tag_stays_as_it_is() {
    let origin = answering(&[CSS, ("etag", "W/\"weak\"")], 5000);
    let request = get("/", &[("accept-encoding", "br")]);
    let answer = ask(&CompressLayer::new(), &origin, request).await;
    assert_eq!(answer.field("etag"), "W/\"weak\"");
}

#[tokio::test]
async fn head_says_what_get_would() {
    let layer = CompressLayer::new();
    for (length, coding) in [(5000, "gzip"), (100, "")] {
        let said: &'static str = length.to_string().leak();
        let origin = answering(&[CSS, ("etag", "\"1\""), ("content-length", said)], length);
        let fields = [("accept-encoding", "gzip")];
        let by_get = ask(&layer, &origin, get("/", &fields)).await;
        let by_head = ask(&layer, &origin, request("HEAD", "/", &fields, "")).await;
        assert_eq!(by_get.field("content-encoding"), coding);
        assert_eq!(by_head.headers, by_get.headers);
        assert!(by_head.body.is_empty());
    }
}

#[tokio::test]
async fn answers_to_requests_that_are_skipped_are_left_alone() {
    let layer = CompressLayer::new().skip_if(|request| request.headers.contains_key("cookie"));
    let origin = answering(&[CSS, ("etag", "\"1\"")], 5000);
    let secret = get("/", &[("accept-encoding", "gzip"), ("cookie", "a=b")]);
    let answer = ask(&layer, &origin, secret).await;
    assert_eq!(answer.field("content-encoding") + &answer.field("vary"), "");
    assert_eq!(answer.field("etag"), "\"1\"");
    let open = ask(&layer, &origin, get("/", &[("accept-encoding", "gzip")])).await;
    assert_eq!(open.field("content-encoding"), "gzip");
}

#[tokio::test]
async fn the_least_size_and_the_types_can_be_chosen() {
    let png = answering(&[("content-type", "image/png")], 300);
    let accepting = || get("/", &[("accept-encoding", "gzip")]);
    let layer = CompressLayer::new()
        .min_size(300)
        .types(|known| known == "image/png");
    let answer = ask(&layer, &png, accepting()).await;
    assert_eq!(answer.field("content-encoding"), "gzip");
    let answer = ask(&layer.clone().min_size(301), &png, accepting()).await;
    assert_eq!(answer.field("content-encoding"), "");
    let answer = ask(&layer, &answering(&[CSS], 300), accepting()).await;
    assert_eq!(answer.field("content-encoding"), "");
}

#[tokio::test]
async fn a_higher_level_makes_less() {
    let origin = answering(&[CSS], 50_000);
    for (coding, token, low, high) in [
        (Coding::Gzip, "gzip", 1, 9),
        (Coding::Brotli, "br", 0, 9),
        (Coding::Zstd, "zstd", 1, 19),
    ] {
        let mut lengths = Vec::new();
        for level in [low, high] {
            let layer = CompressLayer::new().level(coding, level);
            let answer = ask(&layer, &origin, get("/", &[("accept-encoding", token)])).await;
            assert_eq!(decoded(token, &answer.body), text_of(50_000, 1));
            lengths.push(answer.body.len());
        }
        assert!(lengths[1] < lengths[0], "{token}: {lengths:?}");
    }
}

#[tokio::test]
async fn requests_and_errors_pass_as_they_are() {
    #[derive(Debug, PartialEq)]
    struct Refused(&'static str);
    let inner = service_fn(|request: Request<&'static str>| async move {
        assert_eq!(request.headers()["accept-encoding"], "gzip");
        Err::<Response<Full<Bytes>>, _>(Refused(request.into_body()))
    });
    let request = Request::get("/")
        .header("accept-encoding", "gzip")
        .body("content");
    let answer = CompressLayer::new()
        .layer(inner)
        .oneshot(request.unwrap())
        .await;
    assert_eq!(answer.unwrap_err(), Refused("content"));
    let ready = CompressLayer::new().layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"x"))))
    }));
    assert!(ready.oneshot(Request::new(())).await.is_ok());
}
