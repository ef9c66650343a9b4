//! Answers to one person stay with that person.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::Full;
use larder::user;
use tokio::sync::Semaphore;

use crate::support::*;

/// All ways in which a handler may say, or not say, that its answer can be kept.
const LIFETIMES: [&[(&str, &str)]; 7] = [
    &[],
    &[("cache-control", "max-age=60")],
    &[("cache-control", "public, max-age=60")],
    &[("cache-control", "s-maxage=60")],
    &[("cache-control", "max-age=60, must-revalidate")],
    &[("cdn-cache-control", "max-age=60")],
    &[("expires", "Fri, 02 Jan 2026 00:00:00 GMT")],
];

/// All ways in which a client may say who it is.
const CREDENTIALS: [(&str, &str); 4] = [
    ("authorization", "Bearer ann"),
    ("authorization", ""),
    ("cookie", "session=ann"),
    ("cookie", "ann"),
];

#[tokio::test]
async fn an_answer_to_credentials_is_never_stored_and_never_comes_from_store() {
    for lifetime in LIFETIMES {
        for credentials in CREDENTIALS {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let origin = Origin::with_fields(lifetime);
            let row = format!("{credentials:?} {lifetime:?}");
            for expected in ["call 1", "call 2"] {
                let answer = send(&layer, &origin, get("/", &[credentials])).await;
                assert_eq!(answer.text(), expected, "{row}");
                let reason = format!("fwd=bypass; detail={}", credentials.0);
                assert_eq!(answer.decision(), reason, "{row}");
            }
            let stranger = send(&layer, &origin, get("/", &[])).await;
            assert_eq!(stranger.text(), "call 3", "{row}");
            assert!(
                send(&layer, &origin, get("/", &[])).await.is_hit(),
                "{row}: strangers share what was made for a stranger"
            );
            let answer = send(&layer, &origin, get("/", &[credentials])).await;
            assert_eq!(answer.text(), "call 4", "{row}");
        }
    }
}

#[tokio::test]
async fn a_response_that_sets_a_cookie_is_never_stored() {
    for lifetime in LIFETIMES {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = Origin::new(move |_| {
            let mut response = text("welcome");
            for (name, value) in lifetime {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            let cookie = "session=ann; HttpOnly".parse().unwrap();
            response.headers_mut().append("set-cookie", cookie);
            response
        });
        for _ in 0..2 {
            let answer = send(&layer, &origin, get("/", &[])).await;
            assert_eq!(answer.field("set-cookie"), "session=ann; HttpOnly");
            assert_eq!(answer.decision(), "fwd=uri-miss; detail=set-cookie");
        }
        assert_eq!((origin.calls(), cache.stats().entries), (2, 0));
    }
}

#[tokio::test]
async fn requests_that_waited_together_never_share_a_cookie_that_was_set() {
    const AT_ONCE: usize = 4;
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let gate = Arc::new(Semaphore::new(0));
    let origin = Origin::later({
        let gate = Arc::clone(&gate);
        let number = std::sync::atomic::AtomicUsize::new(0);
        move |_| {
            let gate = Arc::clone(&gate);
            let session = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                let mut response = text("welcome");
                let cookie = format!("session={session}").parse().unwrap();
                response.headers_mut().append("set-cookie", cookie);
                response
            })
        }
    });
    let all = (0..AT_ONCE).map(|_| send(&layer, &origin, get("/", &[])));
    let mut all = pin!(join_all(all));
    let waiting = poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx).is_pending()));
    assert!(waiting.await);
    assert_eq!(origin.calls(), 1, "one calls, the others wait for it");
    gate.add_permits(AT_ONCE);
    let mut cookies: Vec<_> = all.await.iter().map(|a| a.field("set-cookie")).collect();
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), AT_ONCE);
}

/// Who asks, as an outer layer has verified.
#[derive(Clone)]
struct Verified(&'static str);

fn verified(name: &'static str, uri: &str, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = get(uri, fields);
    request.extensions_mut().insert(Verified(name));
    request
}

#[tokio::test]
async fn the_response_of_a_user_is_out_of_reach_without_that_user() {
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_extension(|user: &Verified| user.0));
    let origin = Origin::counting();
    assert_eq!(
        send(&layer, &origin, verified("ann", "/", &[]))
            .await
            .text(),
        "call 1"
    );
    let forged = [
        get("/", &[]),
        get("/", &[("authorization", "Bearer ann")]),
        get("/", &[("cookie", "user=ann")]),
        get("/", &[("x-user", "ann"), ("x-forwarded-user", "ann")]),
        get("/?user=ann", &[]),
    ];
    for request in forged {
        let answer = send(&layer, &origin, request).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=no-user");
        assert_ne!(answer.text(), "call 1");
    }
    for name in ["bob", "Ann", "ann ", "an"] {
        let answer = send(&layer, &origin, verified(name, "/", &[("x-user", "ann")])).await;
        assert_eq!(answer.decision(), "fwd=uri-miss; stored", "{name}");
    }
    let again = send(&layer, &origin, verified("ann", "/", &[])).await;
    assert_eq!((again.text(), again.is_hit()), ("call 1", true));
    // A route that is not per user knows nothing of what was stored for users.
    let shared = cache.layer().ttl(MINUTE);
    let answer = send(&shared, &origin, get("/", &[])).await;
    assert_eq!(answer.decision(), "fwd=uri-miss; stored");
}

#[tokio::test]
async fn what_belongs_to_a_user_is_private_downstream_whatever_the_handler_says() {
    let expires = "Fri, 02 Jan 2026 00:00:00 GMT";
    let rows: [(&'static [(&'static str, &'static str)], &str); 10] = [
        (&[], "private, no-cache"),
        (&[("cache-control", "max-age=9")], "private, max-age=9"),
        (
            &[("cache-control", "public, max-age=9")],
            "private, max-age=9",
        ),
        (
            &[("cache-control", "s-maxage=99, max-age=9")],
            "private, max-age=9",
        ),
        (&[("cdn-cache-control", "max-age=9")], "private, no-cache"),
        (&[("cache-control", "no-store")], "no-store"),
        (
            &[("cache-control", "private=\"x-a\", max-age=9")],
            "private, max-age=9",
        ),
        (
            &[("cache-control", "private, max-age=9")],
            "private, max-age=9",
        ),
        (
            &[
                ("cache-control", "no-cache"),
                ("expires", "Fri, 02 Jan 2026 00:00:00 GMT"),
            ],
            "private, no-cache",
        ),
        (
            &[(
                "cache-control",
                "public, max-age=9, must-revalidate, no-transform",
            )],
            "private, max-age=9, must-revalidate, no-transform",
        ),
    ];
    for (fields, expected) in rows {
        let (cache, _clock) = cache();
        let layer = cache
            .layer()
            .ttl(MINUTE)
            .per_user(user::from_extension(|user: &Verified| user.0));
        let origin = Origin::with_fields(fields);
        let requests = [
            ("miss", verified("ann", "/", &[])),
            ("hit or miss", verified("ann", "/", &[])),
            ("bypass", get("/", &[])),
        ];
        for (what, request) in requests {
            let answer = send(&layer, &origin, request).await;
            assert_eq!(answer.field("cache-control"), expected, "{what} {fields:?}");
            assert_eq!(answer.field("cdn-cache-control"), "", "{what} {fields:?}");
        }
    }
    // `Expires` alone: nothing but the scope changes.
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_extension(|user: &Verified| user.0));
    let origin = Origin::new(move |_| {
        let mut response = text("");
        response
            .headers_mut()
            .insert("expires", expires.parse().unwrap());
        response
    });
    let answer = send(&layer, &origin, verified("ann", "/", &[])).await;
    assert_eq!(answer.field("cache-control"), "private");
}

#[tokio::test]
async fn only_cookies_that_the_route_ignores_are_ignored() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).ignore_cookies(["theme", "_ga*"]);
    let rows = [
        ("theme=dark", true),
        ("_ga=1; _ga_XYZ=2;theme=dark", true),
        ("theme", true),
        ("session=ann", false),
        ("theme=dark; session=ann", false),
        ("theme=\"dark; session=ann\"", false),
        ("Theme=dark", false),
        ("themes=dark", false),
        ("a_ga=1", false),
        ("=ann", false),
    ];
    for (jar, ignored) in rows {
        let uri = format!("/{}", jar.len());
        let answer = send(&layer, &Origin::counting(), get(&uri, &[("cookie", jar)])).await;
        let expected = match ignored {
            true => "fwd=uri-miss; stored",
            false => "fwd=bypass; detail=cookie",
        };
        assert_eq!(answer.decision(), expected, "{jar}");
    }
    // The second line counts as well, and so does a line that is not text.
    let two = get(
        "/two",
        &[("cookie", "theme=dark"), ("cookie", "session=ann")],
    );
    let mut odd = get("/odd", &[]);
    let bytes = http::HeaderValue::from_bytes(b"theme=\xe9").unwrap();
    odd.headers_mut().insert("cookie", bytes);
    for request in [two, odd] {
        let answer = send(&layer, &Origin::counting(), request).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=cookie");
    }
}

#[tokio::test]
async fn a_route_that_checks_who_asks_elsewhere_may_share_despite_credentials() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).shared_despite_credentials();
    let origin = Origin::counting();
    for credentials in CREDENTIALS {
        let answer = send(&layer, &origin, get("/", &[credentials])).await;
        assert_eq!(answer.text(), "call 1");
    }
}

#[tokio::test]
async fn without_cache_status_no_answer_says_what_the_cache_did() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).cache_status(false);
    let origin = Origin::counting();
    let requests = [
        get("/", &[]),
        get("/", &[]),
        get("/", &[("authorization", "a")]),
        request("POST", "/", &[], ""),
        get("/", &[("cache-control", "only-if-cached")]),
    ];
    for request in requests {
        let answer = send(&layer, &origin, request).await;
        assert!(!answer.headers.contains_key("cache-status"));
    }
}

#[tokio::test]
async fn nobody_learns_from_an_answer_whether_another_user_has_asked() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_extension(|user: &Verified| user.0));
    let origin = Origin::new(|_| text("the same for all"));
    let before = send(&layer, &origin, verified("bob", "/never-asked", &[])).await;
    send(&layer, &origin, verified("ann", "/asked", &[])).await;
    clock.advance(MINUTE / 2);
    let after = send(&layer, &origin, verified("bob", "/asked", &[])).await;
    assert_eq!(before.headers, after.headers);
    assert_eq!(
        origin.calls(),
        3,
        "and the time it takes tells nothing either"
    );
}
