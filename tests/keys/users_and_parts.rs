//! Who asks, and what else a route says its answers depend on.

use std::borrow::Cow;
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::join_all;
use larder::Cache;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn a_user_is_read_from_an_extension_a_header_or_a_cookie() {
    let (cache, _clock) = cache();
    let by_extension = cache.layer().ttl(MINUTE).per_user(by_user());
    let by_header = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_header("authorization"));
    let by_cookie = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_cookie("session"));
    let named = |name: &str| as_user(get("/extension", &[]), name);
    let bearing = |token: &str| get("/header", &[("authorization", token)]);
    let with_jar = |jar: &str| get("/cookie", &[("cookie", jar)]);

    let origin = mirror();
    for name in ["ann", "bob"] {
        let first = send(&by_extension, &origin, named(name)).await;
        assert!(!first.is_hit());
        assert!(send(&by_extension, &origin, named(name)).await.is_hit());
    }
    for token in ["Bearer a", "Bearer b"] {
        let first = send(&by_header, &origin, bearing(token)).await;
        assert!(!first.is_hit());
        assert!(send(&by_header, &origin, bearing(token)).await.is_hit());
    }
    for jar in ["session=a; theme=dark", "theme=dark; session=b"] {
        let first = send(&by_cookie, &origin, with_jar(jar)).await;
        assert!(!first.is_hit());
        assert!(send(&by_cookie, &origin, with_jar(jar)).await.is_hit());
    }
    assert_eq!(origin.calls(), 6);
}

#[tokio::test]
async fn a_part_that_is_absent_is_not_an_empty_one() {
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .key_part(user::from_header("x-tenant"));
    let of = |tenant: &'static str| get("/", &[("x-tenant", tenant)]);
    assert!(!share(&layer, get("/", &[]), of("")).await);
    assert!(!share(&layer, of("a"), of("b")).await);
    assert!(share(&layer, of("c"), of("c")).await);
    assert!(share(&layer, get("/none", &[]), get("/none", &[])).await);
}

/// Requests for which a route has no key.
fn without_a_key(cache: &Cache) -> Vec<(CacheLayer, Request<Full<Bytes>>, &'static str)> {
    let layer = || cache.layer().ttl(MINUTE);
    fn failing(_: &http::request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> {
        Err(KeyError::new("the directory is down"))
    }
    let long = format!("/{}", "x".repeat(5000));
    vec![
        (layer().key_part(failing), get("/1", &[]), "key-error"),
        (layer().per_user(failing), get("/2", &[]), "key-error"),
        (layer().per_user(by_user()), get("/3", &[]), "no-user"),
        (
            layer().per_user(by_user()),
            as_user(get("/4", &[]), ""),
            "no-user",
        ),
        (
            layer().per_user(user::from_header("x-user")),
            get("/5", &[("x-user", "ann"), ("x-user", "bob")]),
            "key-error",
        ),
        (
            layer().per_user(user::from_cookie("session")),
            get("/6", &[("cookie", "session=a; session=b")]),
            "key-error",
        ),
        (
            layer().per_user(user::from_cookie("session")),
            get("/8", &[("cookie", "session=a; session =b")]),
            "key-error",
        ),
        (
            layer().per_user(user::from_cookie("session")),
            get("/7", &[("cookie", "Session=a")]),
            "no-user",
        ),
        (layer(), get(&long, &[]), "key-too-long"),
        (
            layer(),
            get("http://a.test/", &[("host", "b.test")]),
            "host-conflict",
        ),
    ]
}

/// Sends a request several times at once, and sees all of them with the origin before it answers.
async fn bypasses_alone<K>(layer: &CacheLayer<K>, request: Request<Full<Bytes>>, reason: &str)
where
    K: larder::cache::KeyedBy<Full<Bytes>> + 'static,
{
    const AT_ONCE: usize = 4;
    let gate = Arc::new(Semaphore::new(0));
    let origin = Origin::later({
        let gate = Arc::clone(&gate);
        move |request| {
            let gate = Arc::clone(&gate);
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                text(everything(&request))
            })
        }
    });
    let all = (0..AT_ONCE).map(|_| send(layer, &origin, request.clone()));
    let mut all = pin!(join_all(all));
    let waiting = poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx).is_pending()));
    assert!(waiting.await);
    assert_eq!(
        origin.calls(),
        AT_ONCE,
        "{reason}: nobody waits for another"
    );
    gate.add_permits(AT_ONCE);
    for answer in all.await {
        let expected = format!("fwd=bypass; detail={reason}");
        assert_eq!(answer.decision(), expected, "{request:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_key_bypasses_and_waits_for_no_other_one() {
    let (cache, _clock) = cache();
    for (layer, ask, reason) in without_a_key(&cache) {
        bypasses_alone(&layer, ask.clone(), reason).await;
        // The same on a route that is keyed by content.
        let mut post = ask;
        *post.method_mut() = http::Method::POST;
        bypasses_alone(&layer.key_body(1024), post, reason).await;
    }
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn the_longest_key_is_a_bound_and_the_namespace_counts() {
    let layer_of = |namespace: &str| {
        let cache = Cache::builder()
            .max_key(64)
            .namespace(namespace)
            .build()
            .unwrap();
        cache.layer().ttl(MINUTE)
    };
    let path = format!("/{}", "x".repeat(40));
    assert!(share(&layer_of(""), get(&path, &[]), get(&path, &[])).await);
    assert!(share(&layer_of("shop-v2"), get(&path, &[]), get(&path, &[])).await);
    let named = layer_of("a-namespace-of-its-own");
    let answer = send(&named, &Origin::counting(), get(&path, &[])).await;
    assert_eq!(answer.decision(), "fwd=bypass; detail=key-too-long");
}
