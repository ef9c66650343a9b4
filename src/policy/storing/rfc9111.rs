//! What the profile [`Rfc9111`](Profile::Rfc9111) stores, and for how long: rows by section.

use http::HeaderValue;

use super::*;

/// Thu, 01 Jan 2026 00:00:00 GMT.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const DAY: u64 = 86_400;

type Fields = &'static [(&'static str, &'static str)];

fn fields(lines: Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn decide(status: u16, lines: Fields, authorized: bool) -> Result<Terms, Reason> {
    let rules = Rules {
        profile: Profile::Rfc9111,
        max_vary_fields: 4,
        ..Rules::default()
    };
    let exchange = Exchange {
        head_request: false,
        request_no_store: false,
        authorized,
        status: StatusCode::from_u16(status).unwrap(),
        headers: &fields(lines),
        handler_ttl: None,
        handler_no_store: false,
        request_time: NOW,
        response_time: NOW,
    };
    storing(&rules, &exchange)
}

fn lifetime(decided: Result<Terms, Reason>) -> Result<u64, Reason> {
    decided.map(|terms| terms.times.fresh_until.since(NOW).as_secs())
}

/// §3.
#[test]
fn any_final_status_with_an_explicit_lifetime_is_stored() {
    for code in 100..=599 {
        let decided = decide(code, &[("cache-control", "max-age=60")], false);
        let never = code < 200 || [206, 304, 428, 429, 431, 511].contains(&code);
        assert_eq!(decided.is_ok(), !never, "{code}");
    }
}

/// §4.2.2.
#[test]
fn without_a_lifetime_a_tenth_of_the_time_since_the_last_change_is_one_where_the_status_allows_it()
{
    const HOUR_OLD: Fields = &[("last-modified", "Wed, 31 Dec 2025 23:00:00 GMT")];
    const PUBLIC: Fields = &[
        ("cache-control", "public"),
        ("last-modified", "Wed, 31 Dec 2025 23:00:00 GMT"),
    ];
    let usual = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
    for code in 200..=599 {
        let never = [206, 304, 428, 429, 431, 511].contains(&code);
        let expected = match usual.contains(&code) {
            true => Ok(360),
            false => Err(Reason::Status),
        };
        assert_eq!(lifetime(decide(code, HOUR_OLD, false)), expected, "{code}");
        let decided = decide(code, PUBLIC, false);
        assert_eq!(decided.is_ok(), !never, "public {code}");
    }
    let rows: [(Fields, Result<u64, Reason>); 7] = [
        (&[], Err(Reason::NoLifetime)),
        (&[("cache-control", "public")], Err(Reason::NoLifetime)),
        (&[("etag", "\"a\"")], Ok(0)),
        (&[("last-modified", "Fri, 02 Jan 2026 00:00:00 GMT")], Ok(0)),
        (&[("last-modified", "yesterday")], Ok(0)),
        (
            &[
                ("date", "Wed, 31 Dec 2025 23:59:00 GMT"),
                ("last-modified", "Wed, 31 Dec 2025 23:49:00 GMT"),
            ],
            Ok(0), // a minute, all of which is over
        ),
        (
            &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            Ok(DAY),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(lifetime(decide(200, lines, false)), expected, "{lines:?}");
    }
}

/// §3.5.
#[test]
fn an_answer_to_credentials_is_stored_where_it_says_that_it_may_be() {
    let rows = [
        ("max-age=60", Err(Reason::Authorization)),
        ("max-age=60, public", Ok(60)),
        ("max-age=60, must-revalidate", Ok(60)),
        ("s-maxage=60", Ok(60)),
        ("max-age=60, proxy-revalidate", Err(Reason::Authorization)),
        ("public, no-store", Err(Reason::NoStore)),
        ("public, max-age=60, private", Err(Reason::Private)),
    ];
    for (said, expected) in rows {
        let lines: Fields = Box::leak(Box::new([("cache-control", said)]));
        assert_eq!(lifetime(decide(200, lines, true)), expected, "{said}");
    }
}

/// §5.2.2.
#[test]
fn directives_count_as_they_are_defined() {
    let rows: [(u16, Fields, Result<u64, Reason>); 12] = [
        (
            200,
            &[("cache-control", "no-store, max-age=9")],
            Err(Reason::NoStore),
        ),
        (
            200,
            &[("cache-control", "private, max-age=9")],
            Err(Reason::Private),
        ),
        (
            200,
            &[("cache-control", "no-cache, max-age=9")],
            Err(Reason::NoCache),
        ),
        (
            200,
            &[("cache-control", "no-cache, max-age=9"), ("etag", "\"a\"")],
            Ok(0),
        ),
        (
            200,
            &[("cache-control", "no-cache=\"a\", max-age=9")],
            Ok(9),
        ),
        (200, &[("cache-control", "private=\"a\", max-age=9")], Ok(9)),
        (
            200,
            &[("cache-control", "must-understand, no-store, max-age=9")],
            Ok(9),
        ),
        (
            599,
            &[("cache-control", "must-understand, no-store, max-age=9")],
            Err(Reason::NoStore),
        ),
        (
            599,
            &[("cache-control", "must-understand, max-age=9")],
            Err(Reason::Status),
        ),
        (
            200,
            &[("set-cookie", "a=b"), ("cache-control", "max-age=9")],
            Ok(9),
        ),
        (
            200,
            &[("vary", "*"), ("cache-control", "max-age=9")],
            Err(Reason::Vary),
        ),
        (
            200,
            &[("trailer", "a"), ("cache-control", "max-age=9")],
            Ok(9),
        ),
    ];
    for (status, lines, expected) in rows {
        assert_eq!(
            lifetime(decide(status, lines, false)),
            expected,
            "{status} {lines:?}"
        );
    }
    let both = [(
        "cache-control",
        "max-age=9, no-cache=\"a, b\", private=\"c\"",
    )];
    let terms = decide(200, Box::leak(Box::new(both)), false).unwrap();
    assert_eq!(terms.withheld, ["a", "b", "c"]);
}

/// RFC 9213 §2.2.
#[test]
fn a_valid_targeted_field_takes_the_place_of_cache_control_and_expires() {
    let rows: [(Fields, Result<u64, Reason>); 5] = [
        (
            &[
                ("cache-control", "no-store"),
                ("cdn-cache-control", "max-age=9"),
            ],
            Ok(9),
        ),
        (
            &[
                ("cache-control", "private"),
                ("cdn-cache-control", "max-age=9"),
            ],
            Ok(9),
        ),
        (
            &[
                ("cache-control", "max-age=9"),
                ("cdn-cache-control", "no-store"),
            ],
            Err(Reason::NoStore),
        ),
        (
            &[
                ("cache-control", "max-age=9"),
                ("cdn-cache-control", "no-store;;"),
            ],
            Ok(9),
        ),
        (
            &[
                ("expires", "Thu, 01 Jan 2026 00:00:30 GMT"),
                ("cdn-cache-control", "public"),
            ],
            Err(Reason::NoLifetime),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(lifetime(decide(200, lines, false)), expected, "{lines:?}");
    }
}

/// §4.2.4, RFC 5861 §4.
#[test]
fn what_was_fresh_once_may_stand_in_for_errors_unless_it_is_forbidden() {
    let rows = [
        ("max-age=9", DAY),
        ("max-age=9, stale-if-error=5", 5),
        ("max-age=0", 0),
        ("max-age=x", 0),
        ("max-age=9, must-revalidate", 0),
        ("max-age=9, proxy-revalidate", 0),
        ("s-maxage=9", 0),
        ("max-age=9, no-cache", 0),
    ];
    for (said, expected) in rows {
        let lines: Fields = Box::leak(Box::new([("cache-control", said), ("etag", "\"a\"")]));
        let terms = decide(200, lines, false).unwrap();
        assert_eq!(terms.times.stale_if_error.as_secs(), expected, "{said}");
    }
    let terms = decide(503, &[("cache-control", "max-age=9")], false).unwrap();
    assert!(terms.times.stale_if_error.is_zero());
    let terms = decide(200, &[("etag", "\"a\"")], false).unwrap();
    assert!(terms.times.is_never_used_as_it_is());
}

/// §4.2.3: what arrives stale has been stale since its lifetime was over.
#[test]
fn staleness_counts_from_the_end_of_the_lifetime_and_not_from_the_arrival() {
    let terms = decide(
        200,
        &[("cache-control", "max-age=1500"), ("age", "2000")],
        false,
    );
    let times = terms.unwrap().times;
    assert_eq!(NOW.since(times.fresh_until).as_secs(), 500);
    assert_eq!(NOW.since(times.born).as_secs(), 2000);
}

/// §3.3.
#[test]
fn one_part_is_stored_where_its_place_and_its_lifetime_are_known() {
    const AGE: (&str, &str) = ("cache-control", "max-age=9");
    let rows: [(Fields, Result<u64, Reason>); 6] = [
        (&[AGE, ("content-range", "bytes 0-4/10")], Ok(9)),
        (&[AGE, ("content-range", "bytes 5-9/*")], Ok(9)),
        (&[AGE], Err(Reason::Status)),
        (&[AGE, ("content-range", "bytes */10")], Err(Reason::Status)),
        (
            &[AGE, ("content-type", "multipart/byteranges; boundary=x")],
            Err(Reason::Status),
        ),
        (
            &[
                ("content-range", "bytes 0-4/10"),
                ("last-modified", "Wed, 31 Dec 2025 23:00:00 GMT"),
            ],
            Err(Reason::Status),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(lifetime(decide(206, lines, false)), expected, "{lines:?}");
    }
}

/// §3.1.
#[test]
fn all_fields_are_stored_but_those_of_a_connection() {
    let stored = [
        "set-cookie",
        "retry-after",
        "server-timing",
        "x-request-id",
        "cdn-cache-control",
    ];
    let dropped = [
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "age",
        "x-listed",
    ];
    let dropped_too = [
        "proxy-authenticate",
        "proxy-connection",
        "ratelimit",
        "x-ratelimit-limit",
    ];
    let is_kept = |name: &&str| {
        is_stored(
            Profile::Rfc9111,
            &HeaderName::from_bytes(name.as_bytes()).unwrap(),
            &["X-Listed"],
        )
    };
    assert!(stored.iter().all(is_kept));
    assert!(!dropped.iter().chain(&dropped_too).any(is_kept));
}
