//! Parts of a response, and responses that are cut short, are never taken for the whole.

use crate::support::*;

/// Answers a range with 206, a precondition with 304, and all else with the whole.
fn origin_with_ranges() -> Origin {
    Origin::new(|request| {
        let asks = |name: &str| request.headers().contains_key(name);
        let mut response = if asks("range") {
            let mut part = text("ab");
            *part.status_mut() = http::StatusCode::PARTIAL_CONTENT;
            let range = "bytes 0-1/6".parse().unwrap();
            part.headers_mut().insert("content-range", range);
            part
        } else if asks("if-none-match") {
            status(304)
        } else {
            text("abcdef")
        };
        let said = "public, max-age=60".parse().unwrap();
        response.headers_mut().insert("cache-control", said);
        response
            .headers_mut()
            .insert("etag", "\"1\"".parse().unwrap());
        response
    })
}

#[tokio::test]
async fn a_part_is_never_stored_and_the_whole_is_never_taken_for_a_part() {
    let ranges: [(&[(&str, &str)], &str); 3] = [
        (&[("range", "bytes=0-1")], "fwd=uri-miss; detail=status"),
        (
            &[("range", "bytes=0-1"), ("if-range", "\"1\"")],
            "fwd=uri-miss; detail=status",
        ),
        (&[("range", "lines=1-2")], "fwd=bypass; detail=range"),
    ];
    for (range, forwarded) in ranges {
        for part_first in [true, false] {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let origin = origin_with_ranges();
            if part_first {
                let part = send(&layer, &origin, get("/", range)).await;
                assert_eq!(part.decision(), forwarded);
                assert_eq!((part.status, part.text()), (206, "ab"));
                assert_eq!(cache.stats().entries, 0);
            }
            let whole = send(&layer, &origin, get("/", &[])).await;
            assert_eq!((whole.status, whole.text()), (200, "abcdef"));
            assert_eq!(whole.decision(), "fwd=uri-miss; stored");
            let part = send(&layer, &origin, get("/", range)).await;
            assert_eq!((part.status, part.text()), (206, "ab"));
            assert_eq!(part.is_hit(), forwarded.contains("miss"));
            let whole = send(&layer, &origin, get("/", &[])).await;
            assert_eq!(
                (whole.status, whole.text(), whole.is_hit()),
                (200, "abcdef", true)
            );
        }
    }
}

#[tokio::test]
async fn a_206_that_nobody_asked_for_is_not_stored() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::new(|_| {
        let mut part = text("ab");
        *part.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        part
    });
    for _ in 0..2 {
        let answer = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(answer.decision(), "fwd=uri-miss; detail=status");
    }
}

#[tokio::test]
async fn a_304_for_one_client_never_answers_another() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = origin_with_ranges();
    let conditional = || get("/", &[("if-none-match", "\"1\"")]);
    let answer = send(&layer, &origin, conditional()).await;
    assert_eq!(answer.decision(), "fwd=uri-miss; detail=status");
    assert_eq!((answer.status, cache.stats().entries), (304, 0));
    let whole = send(&layer, &origin, get("/", &[])).await;
    assert_eq!((whole.status, whole.text()), (200, "abcdef"));
    assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
}

#[tokio::test]
async fn a_304_for_one_client_does_not_keep_others_from_sharing_a_call() {
    use futures_util::future::join;

    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::later(|request| {
        let conditional = request.headers().contains_key("if-none-match");
        Box::pin(async move {
            tokio::task::yield_now().await;
            if conditional {
                status(304)
            } else {
                text("content")
            }
        })
    });
    send(&layer, &origin, get("/", &[("if-none-match", "\"1\"")])).await;
    let one = send(&layer, &origin, get("/", &[]));
    let (one, other) = join(one, send(&layer, &origin, get("/", &[]))).await;
    assert_eq!((one.text(), other.text()), ("content", "content"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn a_precondition_that_only_the_origin_can_judge_bypasses() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::counting();
    send(&layer, &origin, get("/", &[])).await;
    for field in ["if-match", "if-unmodified-since"] {
        let answer = send(&layer, &origin, get("/", &[(field, "\"1\"")])).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=precondition");
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test]
async fn a_response_whose_declared_length_is_not_its_own_is_not_stored() {
    for declared in ["5", "7", "-1", "six", "6, 6", "18446744073709551616"] {
        for sized in [true, false] {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let origin = Origin::new(move |_| {
                let frames = [Step::Data("abc"), Step::Data("def")];
                let body = match sized {
                    true => TestBody::sized(frames, 6),
                    false => TestBody::new(frames),
                };
                let mut response = http::Response::new(body);
                let length = declared.parse().unwrap();
                response.headers_mut().insert("content-length", length);
                response
            });
            for _ in 0..2 {
                let answer = send(&layer, &origin, get("/", &[])).await;
                assert_eq!(
                    answer.text(),
                    "abcdef",
                    "{declared}: the client gets every byte"
                );
                assert!(!answer.is_hit(), "{declared} {sized}");
            }
            assert_eq!(cache.stats().entries, 0, "{declared} {sized}");
        }
    }
}

#[tokio::test]
async fn trailers_reach_their_client_and_keep_a_response_out_of_the_store() {
    use http_body_util::BodyExt;
    use tower::{Layer, ServiceExt};

    for announced in [true, false] {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = Origin::new(move |_| {
            let body = TestBody::new([Step::Data("abc"), Step::Trailers]);
            let mut response = http::Response::new(body);
            if announced {
                let names = "x-checksum".parse().unwrap();
                response.headers_mut().insert("trailer", names);
            }
            response
        });
        for _ in 0..2 {
            let service = layer.layer(origin.clone());
            let answer = service.oneshot(get("/", &[])).await.unwrap();
            let collected = answer.into_body().collect().await.unwrap();
            let trailers = collected.trailers().expect("the trailers of the handler");
            assert_eq!(trailers["x-checksum"], "1");
            assert_eq!(collected.to_bytes(), "abc");
        }
        assert_eq!((origin.calls(), cache.stats().entries), (2, 0));
    }
}

#[tokio::test]
async fn trailers_that_come_late_keep_a_response_out_of_the_store() {
    // Whatever they carry, be it a cookie: a response is stored whole or not at all.
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let late = || [Step::Yield, Step::Data("abc"), Step::Yield, Step::Trailers];
    let unsized_body = Origin::new(move |_| http::Response::new(TestBody::new(late())));
    send(&layer, &unsized_body, get("/unsized", &[])).await;
    assert_eq!(cache.stats().entries, 0);
    // Of a body that has reached its length no more is awaited, so trailers must be announced.
    let announced = Origin::new(move |_| {
        let mut response = http::Response::new(TestBody::sized(late(), 3));
        let names = "set-cookie".parse().unwrap();
        response.headers_mut().insert("trailer", names);
        response
    });
    let answer = send(&layer, &announced, get("/announced", &[])).await;
    assert_eq!(answer.decision(), "fwd=uri-miss; detail=trailers");
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn extensions_and_version_reach_their_client_and_are_never_replayed() {
    use tower::{Layer, ServiceExt};

    #[derive(Clone, Debug, PartialEq)]
    struct Mine(u8);

    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::new(|_| {
        let mut response = text("abc");
        *response.version_mut() = http::Version::HTTP_2;
        response.extensions_mut().insert(Mine(1));
        response
    });
    let first = layer
        .layer(origin.clone())
        .oneshot(get("/", &[]))
        .await
        .unwrap();
    assert_eq!(first.extensions().get(), Some(&Mine(1)));
    assert_eq!(first.version(), http::Version::HTTP_2);
    drop(read(first).await);
    let hit = layer
        .layer(origin.clone())
        .oneshot(get("/", &[]))
        .await
        .unwrap();
    assert_eq!(hit.extensions().get::<Mine>(), None);
    assert_eq!(origin.calls(), 1);
}
