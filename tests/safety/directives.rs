//! A response that says it must not be kept is not kept, however it spells that.

use std::time::Duration;

use http::{HeaderValue, Response};
use larder::{CacheFor, NoStore};

use crate::support::*;

/// Lines of `Cache-Control` with the reason for which nothing is stored.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["no-store"], "no-store"),
    (&["No-Store"], "no-store"),
    (&["NO-STORE , max-age=60"], "no-store"),
    (&["max-age=60,no-store"], "no-store"),
    (&["max-age=60", "no-store"], "no-store"),
    (&["public", "", "no-store"], "no-store"),
    (&["no-store=yes"], "no-store"),
    (&["no-store=\"x\""], "no-store"),
    (&["\tno-store "], "no-store"),
    (&["x=\"a,b\", no-store"], "no-store"),
    (&["x=\"a\\\"b\", no-store"], "no-store"),
    (&["private"], "private"),
    (&["Private, max-age=60"], "private"),
    (&["private=\"set-cookie\""], "private"),
    (&["private=\"x-a, x-b\", max-age=60"], "private"),
    (&["private=x-a"], "private"),
    (&["public, private"], "private"),
    (&["s-maxage=60", "PRIVATE"], "private"),
    (&["no-cache"], "no-cache"),
    (&["No-Cache, max-age=60"], "no-cache"),
    (&["no-cache=\"x-a\""], "no-cache"),
    (&["public, max-age=60, no-cache=x-a"], "no-cache"),
    (&["max-age=0"], "no-lifetime"),
    (&["max-age=-1"], "no-lifetime"),
    (&["max-age=1.5"], "no-lifetime"),
    (&["max-age=sixty"], "no-lifetime"),
    (&["max-age="], "no-lifetime"),
    (&["max-age"], "no-lifetime"),
    (&["max-age=0, max-age=60"], "no-lifetime"),
    (&["max-age=60, s-maxage=0"], "no-lifetime"),
    (&["max-age=60, s-maxage=x"], "no-lifetime"),
];

/// Lines that only look as if they forbade it, with what is left of the ttl of a minute.
const ALLOWED: &[(&[&str], u64)] = &[
    (&["x=\"no-store\""], 60),
    (&["x=\"private, no-store\", max-age=20"], 20),
    (&["x=\"\\\", no-store\""], 60),
    (&["no-storee"], 60),
    (&["xno-store, x-private"], 60),
    (&["max-age=\"20\""], 20),
    (&["max-age=020"], 20),
    (&["MAX-AGE=20"], 20),
    (&["max-age=99999999999999999999999"], 60),
    (&["s-maxage=20, max-age=0"], 20),
    (&["public"], 60),
    (&[""], 60),
];

fn saying(lines: &'static [&'static str]) -> Origin {
    saying_more(lines, |_| {})
}

fn saying_more(
    lines: &'static [&'static str],
    more: impl Fn(&mut Response<TestBody>) + Send + Sync + 'static,
) -> Origin {
    Origin::new(move |_| {
        let mut response = text("");
        for line in lines {
            response
                .headers_mut()
                .append("cache-control", HeaderValue::from_static(line));
        }
        more(&mut response);
        response
    })
}

#[tokio::test]
async fn what_a_response_forbids_is_forbidden_in_any_spelling() {
    for (lines, reason) in FORBIDDEN {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        for origin in [
            saying(lines),
            // A handler's own word does not lift it.
            saying_more(lines, |response| {
                if !response.headers()["cache-control"].is_empty() {
                    response.extensions_mut().insert(CacheFor(MINUTE));
                }
            }),
        ] {
            for _ in 0..2 {
                let answer = send(&layer, &origin, get("/", &[])).await;
                let expected = format!("fwd=uri-miss; detail={reason}");
                assert_eq!(answer.decision(), expected, "{lines:?}");
            }
            assert_eq!((origin.calls(), cache.stats().entries), (2, 0), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn words_inside_other_words_and_strings_forbid_nothing() {
    for (lines, left) in ALLOWED {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = saying(lines);
        send(&layer, &origin, get("/", &[])).await;
        let answer = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(answer.decision(), format!("hit; ttl={left}"), "{lines:?}");
    }
}

#[tokio::test]
async fn no_store_and_private_count_in_the_field_for_shared_caches_too() {
    let rows: [(&'static [(&'static str, &'static str)], &str); 6] = [
        (&[("cdn-cache-control", "no-store")], "no-store"),
        (&[("cdn-cache-control", "private")], "private"),
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "no-store"),
            ],
            "no-store",
        ),
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "private"),
            ],
            "private",
        ),
        (
            &[
                ("cdn-cache-control", "no-cache"),
                ("cache-control", "max-age=60"),
            ],
            "no-cache",
        ),
        (
            &[
                ("cdn-cache-control", "max-age=0"),
                ("cache-control", "max-age=60"),
            ],
            "no-lifetime",
        ),
    ];
    for (fields, reason) in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let answer = send(&layer, &Origin::with_fields(fields), get("/", &[])).await;
        let expected = format!("fwd=uri-miss; detail={reason}");
        assert_eq!(answer.decision(), expected, "{fields:?}");
    }
}

#[tokio::test]
async fn an_age_of_any_size_is_survived_and_subtracted() {
    let rows: [(&'static [(&'static str, &'static str)], &str); 6] = [
        (
            &[("cache-control", "max-age=90"), ("age", "50")],
            "fwd=uri-miss; stored",
        ),
        (
            &[
                ("cache-control", "max-age=90"),
                ("age", "18446744073709551615"),
            ],
            "fwd=uri-miss; detail=no-lifetime",
        ),
        (
            &[
                ("cache-control", "max-age=90"),
                ("age", "18446744073709551616"),
            ],
            "fwd=uri-miss; detail=no-lifetime",
        ),
        (
            &[
                ("cache-control", "max-age=99999999999"),
                ("age", "99999999999999999999"),
            ],
            "fwd=uri-miss; detail=no-lifetime",
        ),
        (
            &[("cache-control", "max-age=90"), ("age", "-1")],
            "fwd=uri-miss; stored",
        ),
        (&[("age", "18446744073709551615")], "fwd=uri-miss; stored"),
    ];
    for (fields, expected) in rows {
        let (cache, clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = Origin::with_fields(fields);
        let answer = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(answer.decision(), expected, "{fields:?}");
        clock.advance(Duration::from_secs(39));
        let again = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(again.is_hit(), expected.ends_with("stored"), "{fields:?}");
    }
}

#[tokio::test]
async fn a_request_or_a_handler_can_keep_an_answer_out_of_the_store() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::counting();
    for spelling in ["no-store", "No-Store", "max-stale, no-store=1"] {
        let answer = send(&layer, &origin, get("/", &[("cache-control", spelling)])).await;
        assert_eq!(answer.decision(), "fwd=uri-miss; detail=request-no-store");
    }
    let silent = saying_more(&["public, max-age=60"], |response| {
        response.extensions_mut().insert(CacheFor(MINUTE));
        response.extensions_mut().insert(NoStore);
    });
    let answer = send(&layer, &silent, get("/", &[])).await;
    assert_eq!(answer.decision(), "fwd=uri-miss; detail=handler-no-store");
    assert_eq!(cache.stats().entries, 0);
}
