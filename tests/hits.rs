//! What a hit is, and what it says of itself.

mod support;

use std::time::Duration;

use support::*;

#[tokio::test]
async fn the_second_request_is_answered_from_store() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let origin = Origin::counting();
    let first = send(
        &layer,
        &origin,
        get("/posts?limit=20&offset=0", &[("host", "a")]),
    )
    .await;
    assert_eq!(
        (first.text(), first.decision().as_str()),
        ("call 1", "fwd=uri-miss; stored")
    );
    clock.advance(Duration::from_secs(12));
    let second = send(
        &layer,
        &origin,
        get("/posts?offset=0&limit=20", &[("host", "a")]),
    )
    .await;
    assert_eq!(
        (second.text(), second.decision().as_str()),
        ("call 1", "hit; ttl=48")
    );
    assert_eq!(second.field("age"), "12");
    assert_eq!(second.field("cache-control"), "no-cache");
    assert_eq!(origin.calls(), 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
}

#[tokio::test]
async fn an_invalidated_response_is_made_anew() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let origin = Origin::counting();
    for path in ["/posts", "/posts?page=2", "/posts/1"] {
        send(&layer, &origin, get(path, &[])).await;
    }
    assert_eq!(cache.invalidate_uri("/posts").await.entries, Some(2));
    assert!(send(&layer, &origin, get("/posts/1", &[])).await.is_hit());
    assert_eq!(
        send(&layer, &origin, get("/posts", &[])).await.text(),
        "call 4"
    );
    assert_eq!(cache.invalidate_tag("posts").await.entries, Some(2));
    assert_eq!(
        send(&layer, &origin, get("/posts", &[])).await.text(),
        "call 5"
    );
}
