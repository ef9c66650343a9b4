//! `Cache-Status` with the key (RFC 9211 §2.7).

use crate::support::{cache, get, send, Origin};

#[tokio::test]
async fn the_key_is_told_where_the_route_says_so() {
    let (cache, _) = cache();
    let origin = Origin::with_fields(&[("cache-control", "max-age=60")]);
    let quiet = cache.layer();
    let layer = cache.layer().cache_status_key(true);
    let asked = || get("http://a.test/a?y=2&x=1", &[]);
    let key = "; key=\"GET a.test/a?x=1&y=2\"";
    let miss = send(&layer, &origin, asked()).await.decision();
    assert_eq!(miss, format!("fwd=uri-miss; stored{key}"));
    let hit = send(&layer, &origin, asked()).await.decision();
    assert_eq!(hit, format!("hit; ttl=60{key}"));
    assert_eq!(
        send(&quiet, &origin, asked()).await.decision(),
        "hit; ttl=60"
    );
    // What is not looked up has none.
    let bypass = send(&layer, &origin, get("/a", &[("cookie", "a=b")])).await;
    assert_eq!(bypass.decision(), "fwd=bypass; detail=cookie");
}

#[tokio::test]
async fn who_the_user_is_is_not() {
    let (cache, _) = cache();
    let origin = Origin::with_fields(&[("cache-control", "max-age=60")]);
    let layer = cache.layer().cache_status_key(true);
    let layer = layer.per_user(larder::user::from_header("x-user"));
    let answer = send(
        &layer,
        &origin,
        get("http://a.test/a", &[("x-user", "anna")]),
    )
    .await;
    assert_eq!(
        answer.decision(),
        "fwd=uri-miss; stored; key=\"GET a.test/a +user\""
    );
}
