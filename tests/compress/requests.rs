//! Content of requests, decoded within limits.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use larder::compress::{DecompressError, DecompressLayer, RequestBody};
use tower::{service_fn, Layer, ServiceExt};

use crate::codings::{encoded, text_of, ALL};
use crate::support::*;

/// Sends content to a handler that answers with what it has read of it, or with 200 in any case.
async fn send(layer: DecompressLayer, request: Request<Full<Bytes>>) -> Answer {
    let echo = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async {
        let fields = request.headers().clone();
        let (mut body, mut content) = (request.into_body(), Vec::new());
        while let Some(Ok(frame)) = body.frame().await {
            content.extend(frame.into_data().unwrap());
        }
        let mut response = Response::new(Full::new(Bytes::from(content)));
        *response.headers_mut() = fields;
        Ok::<_, Infallible>(response)
    });
    read(layer.layer(echo).oneshot(request).await.unwrap()).await
}

fn post(coding: &str, content: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let content = content.into();
    Request::post("/")
        .header("content-encoding", coding)
        .header("content-length", content.len())
        .header("content-digest", "sha-256=:AAAA:")
        .header("content-type", "text/plain")
        .body(Full::new(content))
        .unwrap()
}

#[tokio::test]
async fn the_handler_reads_content_without_its_coding() {
    let text = text_of(100_000, 5);
    for coding in ALL {
        let answer = send(DecompressLayer::new(), post(coding, encoded(coding, &text))).await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (200, &text[..]),
            "{coding}"
        );
        assert_eq!(
            answer.headers.len(),
            1,
            "content-type alone is true of both"
        );
    }
    let answer = send(
        DecompressLayer::new(),
        post("X-GZip", encoded("gzip", &text)),
    )
    .await;
    assert_eq!(answer.body, text);
    for plain in ["", "identity", ", identity ,"] {
        let answer = send(DecompressLayer::new(), post(plain, text.clone())).await;
        assert_eq!(answer.body, text, "{plain}");
        assert_eq!(answer.field("content-length"), "100000");
    }
}

#[tokio::test]
async fn a_coding_that_is_unknown_or_not_alone_is_refused_by_naming_those_that_are_known() {
    for coding in ["compress", "gzip, br", "gzip, gzip", "deflate", "gzip;q=1"] {
        let answer = send(DecompressLayer::new(), post(coding, "x")).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{coding}"
        );
        assert_eq!(answer.field("accept-encoding"), "br, zstd, gzip");
    }
}

#[tokio::test]
async fn limits_are_kept_to_the_byte_and_short_content_may_repeat_itself() {
    for coding in ALL {
        let text = text_of(50_000, 9);
        for (limit, status) in [(50_000, 200), (49_999, 413)] {
            let layer = DecompressLayer::new().max_size(limit);
            let answer = send(layer, post(coding, encoded(coding, &text))).await;
            assert_eq!(answer.status, status, "{coding} {limit}");
        }
        let spaces = encoded(coding, &vec![b' '; 64 << 10]);
        let answer = send(DecompressLayer::new().max_ratio(1), post(coding, spaces)).await;
        assert_eq!(answer.status, 200, "{coding}");
    }
}

#[tokio::test]
async fn content_that_cannot_be_decoded_is_the_clients_mistake() {
    for coding in ALL {
        let whole = encoded(coding, &text_of(5000, 1));
        let cut = whole[..whole.len() - 1].to_vec();
        for content in [cut, b"this is no such thing".to_vec()] {
            let answer = send(DecompressLayer::new(), post(coding, content)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{coding}");
        }
        let answer = send(DecompressLayer::new(), post(coding, "")).await;
        assert_eq!(answer.status, 200, "{coding}: no content at all");
    }
}

#[tokio::test]
async fn the_clients_own_error_stays_what_it_is() {
    let inner = service_fn(|request: Request<RequestBody<TestBody>>| async {
        let error = request.into_body().collect().await.unwrap_err();
        assert_eq!(error, DecompressError::Body(Broken));
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"told"))))
    });
    let body = TestBody::new([
        Step::Bytes(encoded("gzip", b"beginning").into()),
        Step::Fail,
    ]);
    let request = Request::post("/")
        .header("content-encoding", "gzip")
        .body(body)
        .unwrap();
    let answer = DecompressLayer::new()
        .layer(inner)
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(read(answer).await.text(), "told");
}
