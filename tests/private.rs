//! A private cache (RFC 9111 §1): of one user, around a client. Each row beside what a shared cache does with the same.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use larder::cache::ClientCache;
use larder::{user, Cache, CacheBuilder, ManualClock, Profile};
use tower::{service_fn, Layer, ServiceExt};

type Fields = &'static [(&'static str, &'static str)];

/// What becomes of the same request after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Answered from store.
    Hit(u64),
    /// Answered by the service.
    Call(u64),
}

use Again::{Call, Hit};

fn fields(fields: Fields) -> HeaderMap {
    let parsed = fields.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    parsed.collect()
}

async fn exchange(cache: CacheBuilder, profile: Profile, row: &Row, after: u64) -> bool {
    let clock = ManualClock::new();
    let cache = cache.clock(clock.clock()).build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, said) = (Arc::clone(&calls), fields(row.said));
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Full::new(Bytes::new()));
        response.headers_mut().clone_from(&said);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let layered = cache.layer().profile(profile).layer(service);
    for wait in [0, after] {
        clock.advance(Duration::from_secs(wait));
        let mut request = Request::new(Full::default());
        *request.headers_mut() = fields(row.asked);
        layered.clone().oneshot(request).await.unwrap();
    }
    calls.load(Ordering::SeqCst) == 1
}

struct Row {
    section: &'static str,
    asked: Fields,
    said: Fields,
    private: Again,
    shared: Again,
}

const fn row(
    section: &'static str,
    asked: Fields,
    said: Fields,
    private: Again,
    shared: Again,
) -> Row {
    Row {
        section,
        asked,
        said,
        private,
        shared,
    }
}

const ANNA: Fields = &[("authorization", "anna")];

#[tokio::test]
async fn what_is_said_to_shared_caches_alone_binds_no_private_one() {
    let rows = [
        row(
            "§5.2.2.7: private is stored",
            &[],
            &[("cache-control", "private, max-age=9")],
            Hit(5),
            Call(5),
        ),
        row(
            "§5.2.2.7: by all, whatever fields it names",
            &[],
            &[("cache-control", "private=\"x-a\", max-age=9")],
            Hit(5),
            Hit(5),
        ),
        row(
            "§3.5: an answer to Authorization is stored",
            ANNA,
            &[("cache-control", "max-age=9")],
            Hit(5),
            Call(5),
        ),
        row(
            "§3.5: with private too",
            ANNA,
            &[("cache-control", "private, max-age=9")],
            Hit(5),
            Call(5),
        ),
        row(
            "§5.2.2.10: s-maxage is ignored, and max-age is longer",
            &[],
            &[("cache-control", "max-age=9, s-maxage=2")],
            Hit(5),
            Call(5),
        ),
        row(
            "§5.2.2.10: s-maxage is ignored, and max-age is shorter",
            &[],
            &[("cache-control", "max-age=2, s-maxage=9")],
            Call(5),
            Hit(5),
        ),
        row(
            "§5.2.2.10: s-maxage alone is no lifetime",
            &[],
            &[("cache-control", "s-maxage=9")],
            Call(5),
            Hit(5),
        ),
        row(
            "§5.2.2.8: proxy-revalidate leaves the client to what it may",
            &[("cache-control", "max-stale=9")],
            &[(
                "cache-control",
                "max-age=2, proxy-revalidate, stale-while-revalidate=9",
            )],
            Hit(5),
            Call(5),
        ),
        row(
            "§5.2.2.2: must-revalidate binds both",
            &[("cache-control", "max-stale=9")],
            &[(
                "cache-control",
                "max-age=2, must-revalidate, stale-while-revalidate=9",
            )],
            Call(5),
            Call(5),
        ),
        row(
            "§5.2.2.5: no-store binds both",
            &[],
            &[("cache-control", "no-store, max-age=9")],
            Call(5),
            Call(5),
        ),
        row(
            "§5.2.2.4: no-cache binds both",
            &[],
            &[("cache-control", "no-cache, max-age=9"), ("etag", "\"a\"")],
            Call(5),
            Call(5),
        ),
        row(
            "§5.2.2.1: max-age is the lifetime of both",
            &[],
            &[("cache-control", "max-age=9")],
            Hit(5),
            Hit(5),
        ),
        row(
            "§5.2.2.1: and its end",
            &[],
            &[("cache-control", "max-age=9")],
            Call(9),
            Call(9),
        ),
        row(
            "RFC 9213 §3.1: what is said to CDNs is not said to it",
            &[],
            &[
                ("cdn-cache-control", "max-age=9"),
                ("cache-control", "max-age=2"),
            ],
            Call(5),
            Hit(5),
        ),
        row(
            "RFC 9213 §3.1: nor what CDNs may not",
            &[],
            &[
                ("cdn-cache-control", "no-store"),
                ("cache-control", "max-age=9"),
            ],
            Hit(5),
            Call(5),
        ),
    ];
    for row in rows {
        let at = |again| match again {
            Hit(after) | Call(after) => after,
        };
        let shared = exchange(Cache::builder(), Profile::Rfc9111, &row, at(row.shared)).await;
        assert_eq!(
            shared,
            matches!(row.shared, Hit(_)),
            "shared: {}",
            row.section
        );
        for profile in [Profile::Rfc9111, Profile::Safe] {
            // That a part is private, or stale answers are wanted, the safe profile knows no better.
            let private = Cache::builder().private();
            let private = exchange(private, profile, &row, at(row.private)).await;
            assert_eq!(
                private,
                matches!(row.private, Hit(_)),
                "{profile:?}: {}",
                row.section
            );
        }
    }
}

#[tokio::test]
async fn cookies_do_not_keep_a_private_cache_from_answering() {
    let row = row(
        "",
        &[("cookie", "a=b")],
        &[("cache-control", "max-age=9")],
        Hit(5),
        Call(5),
    );
    let private = Cache::builder().private();
    assert!(exchange(private, Profile::Safe, &row, 5).await);
    assert!(!exchange(Cache::builder(), Profile::Safe, &row, 5).await);
}

#[test]
fn settings_about_several_users_are_refused() {
    let cache = Cache::builder().private().build().unwrap();
    let minute = Duration::from_secs(60);
    let rows = [
        (
            cache.layer().per_user(user::from_header("x-user")),
            "`.per_user(..)`",
        ),
        (
            cache.layer().shared_despite_credentials(),
            "`.shared_despite_credentials()`",
        ),
        (
            cache.layer().client(ClientCache::public(minute)),
            "`.client(ClientCache::public(..))`",
        ),
    ];
    for (layer, setting) in rows {
        let error = layer.ttl(minute).try_validate().unwrap_err();
        assert!(error.to_string().contains(setting), "{error}");
        assert!(error.instead().contains(setting), "{error}");
    }
    let layer = cache
        .layer()
        .ttl(minute)
        .client(ClientCache::private(minute));
    layer.status_ttl(403, minute).try_validate().unwrap();
}

/// What is stored there, a shared cache of the same prefix would find.
#[cfg(feature = "redis")]
#[tokio::test]
async fn a_private_cache_is_not_kept_in_redis() {
    let redis = larder::Redis::open("redis://127.0.0.1:1").unwrap();
    let error = Cache::builder().private().redis(redis).build().unwrap_err();
    assert_eq!(
        error.instead(),
        "`.private()` without `.redis(..)`, or the other one alone"
    );
}
