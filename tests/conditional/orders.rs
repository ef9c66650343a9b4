//! The conditional layer inside the cache, and around it: the same answers, and not the same work.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use larder::ConditionalLayer;
use tower::{Layer, Service, ServiceExt};

use super::tag_of;
use crate::support::*;

async fn through<S, B>(service: &S, request: Request<Full<Bytes>>) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body,
    B::Error: std::fmt::Debug,
{
    read(service.clone().oneshot(request).await.unwrap()).await
}

/// The same questions and the same answers, in either order.
async fn tells_a_story<S, B>(service: S, origin: &Origin)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body,
    B::Error: std::fmt::Debug,
{
    let tag = tag_of("content");
    for _ in 0..2 {
        let whole = through(&service, get("/", &[])).await;
        assert_eq!((whole.status, whole.text()), (200, "content"));
        assert_eq!(whole.field("etag"), tag);
    }
    for held in [tag.clone(), format!("W/{tag}"), "*".to_owned()] {
        let answer = through(&service, get("/", &[("if-none-match", &held)])).await;
        assert_eq!((answer.status, answer.text()), (304, ""), "{held}");
        assert!(answer.is_hit());
    }
    let other = through(&service, get("/", &[("if-none-match", "\"b\"")])).await;
    assert_eq!((other.status, other.text()), (200, "content"));
    let part = through(&service, get("/", &[("range", "bytes=1-2")])).await;
    assert_eq!((part.status, part.text()), (206, "on"));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn inside_the_cache_the_tag_is_stored_with_the_response() {
    let (cache, clock) = cache();
    let origin = Origin::new(|_| text("content"));
    let layer = cache.layer().ttl(MINUTE);
    tells_a_story(
        layer.layer(ConditionalLayer::new().layer(origin.clone())),
        &origin,
    )
    .await;
    // Parts have the name of the whole, and HEAD the name of GET.
    let service = layer.layer(ConditionalLayer::new().layer(origin.clone()));
    let tag = tag_of("content");
    let held = [("range", "bytes=1-2"), ("if-range", tag.as_str())];
    let part = through(&service, get("/", &held)).await;
    assert_eq!((part.status, part.field("etag")), (206, tag.clone()));
    let head = through(&service, request("HEAD", "/", &[], "")).await;
    assert_eq!(head.field("etag"), tag);
    // After the ttl the handler answers, and what it made is the same.
    clock.advance(Duration::from_secs(61));
    let answer = through(&service, get("/", &[("if-none-match", &tag)])).await;
    assert_eq!((answer.status, origin.calls()), (304, 2));
}

#[tokio::test]
async fn around_the_cache_the_tag_is_made_for_each_answer() {
    let (cache, _clock) = cache();
    let origin = Origin::new(|_| text("content"));
    let layer = cache.layer().ttl(MINUTE);
    tells_a_story(
        ConditionalLayer::new().layer(layer.layer(origin.clone())),
        &origin,
    )
    .await;
}

#[tokio::test]
async fn a_condition_of_the_origin_s_is_judged_behind_the_cache() {
    let (cache, _clock) = cache();
    let origin = Origin::new(|_| text("content"));
    let layer = cache.layer().ttl(MINUTE);
    let service = layer.layer(ConditionalLayer::new().layer(origin.clone()));
    through(&service, get("/", &[])).await;
    let answer = through(&service, get("/", &[("if-match", "\"b\"")])).await;
    assert_eq!(
        (answer.status, answer.decision().as_str()),
        (412, "fwd=bypass; detail=precondition")
    );
    let whole = through(&service, get("/", &[])).await;
    assert_eq!(
        (whole.status, whole.text(), whole.is_hit()),
        (200, "content", true)
    );
}

#[tokio::test]
async fn a_refused_change_invalidates_nothing() {
    let (cache, _clock) = cache();
    let origin = Origin::new(|_| text("content"));
    let conditional = ConditionalLayer::new()
        .current(|_| std::future::ready(Some(larder::conditional::Validator::strong("7"))));
    let service = cache
        .layer()
        .ttl(MINUTE)
        .layer(conditional.layer(origin.clone()));
    through(&service, get("/", &[])).await;
    for (held, status, hit) in [("\"6\"", 412, true), ("\"7\"", 200, false)] {
        let put = request("PUT", "/", &[("if-match", held)], "new");
        assert_eq!(through(&service, put).await.status, status);
        assert_eq!(through(&service, get("/", &[])).await.is_hit(), hit);
    }
}

proptest::proptest! {
    /// Alone and inside the cache: any `If-None-Match` of what was sent gives 304, whatever else it
    /// names, and the same tag is the same content.
    #[test]
    fn whoever_names_what_was_sent_gets_304(
        pieces in proptest::collection::vec("[a-z]{0,9}", 0..4),
        other in "[a-z]{0,36}",
        before in proptest::collection::vec("(W/)?\"[!#-~]{0,4}\"", 0..3),
        weakly in proptest::prelude::any::<bool>(),
    ) {
        let content = pieces.concat();
        let origin = Origin::new(move |_| {
            let steps: Vec<_> = pieces.iter().cloned().map(|piece| Step::Bytes(piece.into())).collect();
            let length = pieces.iter().map(|piece| piece.len() as u64).sum();
            Response::new(TestBody::sized(steps, length))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (cache, _clock) = cache();
            let alone = ConditionalLayer::new().layer(origin.clone());
            let cached = cache.layer().ttl(MINUTE).layer(alone.clone());
            let sent = through(&alone, get("/", &[])).await;
            assert_eq!(sent.text(), content);
            assert_eq!(through(&cached, get("/", &[])).await.field("etag"), sent.field("etag"));
            assert_eq!(sent.field("etag") == tag_of(&other), other == content);
            let named = format!("{}{}", if weakly { "W/" } else { "" }, sent.field("etag"));
            let held = [before, vec![named]].concat().join(", ");
            let held = [("if-none-match", held.as_str())];
            assert_eq!(through(&alone, get("/", &held)).await.status, 304);
            assert_eq!(through(&cached, get("/", &held)).await.status, 304);
        });
    }
}
