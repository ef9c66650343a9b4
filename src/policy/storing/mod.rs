//! May this response be stored (RFC 9111 §3), and for how long?
//!
//! What differs in the other profile is told at [`Profile`].
//!
//! | the response has | the safe profile |
//! | --- | --- |
//! | `no-store`, `private`, in `Cache-Control` or `CDN-Cache-Control` | never, whatever the ttl |
//! | `no-cache`, or no lifetime at all, and a validator | validated before each use (§4.3) |
//! | the same, and no validator | never: it could not be |
//! | `Set-Cookie` | never |
//! | `must-understand`, and a status that HTTP does not define | never |
//! | a status other than 200, 203, 301, 308, 410 | only where the route gives that status a ttl |
//! | `Vary: *`, or more fields than the limit | never |
//! | `text/event-stream`, `Incremental`, trailers, a CSP nonce | never |
//! | a lifetime of its own and a ttl | the smaller of the two |

mod posted;
mod times;

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::StatusCode;

use super::decision::Reason;
use super::freshness::Directives;
use super::profile::{Audience, Profile};
use super::stored::Times;
use super::validation::Asked;
use crate::clock::Timestamp;
use crate::header::cache_control::{CacheControl, Fields};
use crate::header::vary::Vary;

pub(crate) use posted::stands_for_get;

/// What a route says about storing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) profile: Profile,
    pub(crate) audience: Audience,
    pub(crate) ttl: Option<Duration>,
    /// Statuses with a ttl of their own.
    pub(crate) status_ttl: Vec<(StatusCode, Duration)>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) max_vary_fields: usize,
}

/// One exchange, as far as it matters for storing.
pub(crate) struct Exchange<'a> {
    pub(crate) head_request: bool,
    pub(crate) request_no_store: bool,
    /// The request had credentials, and nothing in the route says that all answers are alike.
    pub(crate) authorized: bool,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// `CacheFor`, or what the route's own function of the response said.
    pub(crate) handler_ttl: Option<Duration>,
    pub(crate) handler_no_store: bool,
    pub(crate) request_time: Timestamp,
    pub(crate) response_time: Timestamp,
}

/// The terms under which a response is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) times: Times,
    /// The names of the fields that select this variant.
    pub(crate) vary: Vec<HeaderName>,
    /// Fields that are not stored with it, besides those that never are.
    pub(crate) withheld: Vec<HeaderName>,
}

/// Decides whether a response is stored, and on what terms (RFC 9111 §3).
pub(crate) fn storing(rules: &Rules, exchange: &Exchange<'_>) -> Result<Terms, Reason> {
    if exchange.request_no_store {
        return Err(Reason::RequestNoStore);
    }
    if exchange.handler_no_store {
        return Err(Reason::HandlerNoStore);
    }
    let directives = Directives::read(rules.audience, exchange.headers);
    match rules.profile {
        Profile::Safe => refused_by_either(&directives)?,
        Profile::Rfc9111 => refused_by_the_ruling(&directives.ruling, exchange)?,
    }
    let named = |fields: &Option<Fields>| match fields {
        Some(Fields::Named(names)) if rules.profile == Profile::Rfc9111 => names.clone(),
        _ => Vec::new(),
    };
    let ruling = &directives.ruling;
    let mut withheld = named(&ruling.no_cache);
    let validated_each_time = ruling.no_cache.is_some() && withheld.is_empty();
    withheld.extend(named(&ruling.private));
    if validated_each_time && !has_validator(rules.profile, exchange.headers) {
        return Err(Reason::NoCache);
    }
    refused_by_fields(rules.profile, exchange.headers)?;
    if exchange.head_request {
        return Err(Reason::Head);
    }
    if ruling.must_understand && !is_understood(exchange.status) {
        return Err(Reason::Status);
    }
    let times = times::times(rules, exchange, &directives, validated_each_time)?;
    let vary = match Vary::parse(exchange.headers) {
        Vary::Fields(names) if names.len() <= rules.max_vary_fields => names,
        _ => return Err(Reason::Vary),
    };
    Ok(Terms {
        times,
        vary,
        withheld,
    })
}

/// A restriction counts wherever it stands: what is meant for one cache may have been read by none.
fn refused_by_either(directives: &Directives) -> Result<(), Reason> {
    for said in [&directives.plain, &directives.ruling] {
        if said.no_store {
            return Err(Reason::NoStore);
        }
        if said.private.is_some() {
            return Err(Reason::Private);
        }
    }
    Ok(())
}

/// What the field that rules forbids a shared cache (RFC 9111 §3, §3.5).
fn refused_by_the_ruling(ruling: &CacheControl, exchange: &Exchange<'_>) -> Result<(), Reason> {
    // Who must understand the status, and does, need not heed `no-store` (RFC 9111 §5.2.2.3).
    let understood = ruling.must_understand && is_understood(exchange.status);
    if ruling.no_store && !understood {
        return Err(Reason::NoStore);
    }
    if ruling.private == Some(Fields::All) {
        return Err(Reason::Private);
    }
    let shared = ruling.public || ruling.must_revalidate || ruling.s_maxage.is_some();
    if exchange.authorized && !shared {
        return Err(Reason::Authorization);
    }
    Ok(())
}

/// Fields that make a response one of a kind, or a stream.
fn refused_by_fields(profile: Profile, headers: &HeaderMap) -> Result<(), Reason> {
    if is_stream(headers) {
        return Err(Reason::EventStream);
    }
    if profile == Profile::Rfc9111 {
        return Ok(());
    }
    // Whether they come is known at the end; those that do are not stored in any profile.
    if headers.contains_key(header::TRAILER) {
        return Err(Reason::Trailers);
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Err(Reason::SetCookie);
    }
    let policies = [
        header::CONTENT_SECURITY_POLICY,
        header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    ];
    let has_nonce = |value: &[u8]| {
        value
            .windows(7)
            .any(|at| at.eq_ignore_ascii_case(b"'nonce-"))
    };
    let nonces = policies.iter().flat_map(|name| headers.get_all(name));
    if nonces.into_iter().any(|value| has_nonce(value.as_bytes())) {
        return Err(Reason::Nonce);
    }
    Ok(())
}

/// Whether a response is a stream of events, or asks for incremental delivery: somebody waits for each
/// piece of it, so nothing may gather them.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let streams = |value: &[u8]| {
        let media_type = value
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        media_type.eq_ignore_ascii_case(b"text/event-stream")
            || media_type.eq_ignore_ascii_case(b"multipart/x-mixed-replace")
    };
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| streams(value.as_bytes()))
        || headers
            .get("incremental")
            .is_some_and(|value| value.as_bytes().starts_with(b"?1"))
}

/// The statuses that are safe to repeat without the route naming them.
pub(crate) const fn stored_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 301 | 308 | 410)
}

/// Statuses that no setting stores: interim and partial answers, and RFC 6585's, which must not be.
pub(crate) const fn never_stored(status: StatusCode) -> bool {
    let code = status.as_u16();
    code < 200 || matches!(code, 206 | 304 | 428 | 429 | 431 | 511)
}

/// Whether the meaning of a status is known here, as `must-understand` asks (RFC 9111 §5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

fn has_validator(profile: Profile, headers: &HeaderMap) -> bool {
    Asked::of(profile, |name| headers.get(name)).is_some()
}

/// Whether a field is stored with the response. What belongs to one connection is not, nor, in the safe
/// profile, to one request or one client (RFC 9111 §3.1, RFC 9110 §7.6.1).
pub(crate) fn is_stored(profile: Profile, name: &HeaderName, connection: &[&str]) -> bool {
    let name = name.as_str();
    let of_this_hop = matches!(
        name,
        "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade" | "age"
    ) || name.starts_with("proxy-")
        || name.starts_with("ratelimit")
        || name.starts_with("x-ratelimit");
    let of_one_client = matches!(
        name,
        "set-cookie"
            | "retry-after"
            | "server-timing"
            | "traceresponse"
            | "x-request-id"
            | "x-correlation-id"
            | "request-id"
            | "x-trace-id"
            | "x-runtime"
            | "x-response-time"
    );
    !of_this_hop
        && (!of_one_client || profile == Profile::Rfc9111)
        && !connection
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod rfc9111;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
    const TTL: Duration = Duration::from_secs(60);

    fn rules() -> Rules {
        Rules {
            ttl: Some(TTL),
            max_vary_fields: 4,
            ..Rules::default()
        }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn exchange(status: u16, headers: &HeaderMap) -> Exchange<'_> {
        Exchange {
            head_request: false,
            request_no_store: false,
            authorized: false,
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            handler_ttl: None,
            handler_no_store: false,
            request_time: NOW,
            response_time: NOW,
        }
    }

    #[test]
    fn what_a_response_says_beats_any_ttl() {
        type Row = (&'static [(&'static str, &'static str)], Result<u64, Reason>);
        let rows: [Row; 24] = [
            (&[], Ok(60)),
            (&[("cache-control", "public")], Ok(60)),
            (&[("cache-control", "max-age=10")], Ok(10)),
            (&[("cache-control", "max-age=600")], Ok(60)),
            (&[("cache-control", "max-age=60"), ("age", "50")], Ok(10)),
            (&[("cache-control", "no-store")], Err(Reason::NoStore)),
            (
                &[("cache-control", "No-Store, max-age=9")],
                Err(Reason::NoStore),
            ),
            (
                &[
                    ("cache-control", "max-age=9"),
                    ("cache-control", "no-store"),
                ],
                Err(Reason::NoStore),
            ),
            (&[("cache-control", "x=\"no-store\"")], Ok(60)),
            (
                &[("cache-control", "private=\"x-a\"")],
                Err(Reason::Private),
            ),
            (
                &[
                    ("cache-control", "private"),
                    ("cdn-cache-control", "max-age=9"),
                ],
                Err(Reason::Private),
            ),
            (&[("cdn-cache-control", "private")], Err(Reason::Private)),
            (&[("cache-control", "no-cache")], Err(Reason::NoCache)),
            (
                &[
                    ("cache-control", "no-cache"),
                    ("cdn-cache-control", "max-age=9"),
                ],
                Ok(9),
            ),
            (&[("cache-control", "max-age=0")], Err(Reason::NoLifetime)),
            (&[("set-cookie", "a=b")], Err(Reason::SetCookie)),
            (
                &[("content-type", "Text/Event-Stream; charset=utf-8")],
                Err(Reason::EventStream),
            ),
            (&[("incremental", "?1")], Err(Reason::EventStream)),
            (&[("trailer", "x-checksum")], Err(Reason::Trailers)),
            (
                &[("content-security-policy", "script-src 'nonce-abc'")],
                Err(Reason::Nonce),
            ),
            (&[("vary", "*")], Err(Reason::Vary)),
            (&[("vary", "accept, *")], Err(Reason::Vary)),
            (&[("vary", "a, b, c, d, e")], Err(Reason::Vary)),
            (&[("expires", "0")], Err(Reason::NoLifetime)),
        ];
        for (fields, expected) in rows {
            let headers = headers(fields);
            let decided = storing(&rules(), &exchange(200, &headers));
            let lifetime = decided.map(|terms| terms.times.fresh_until.since(NOW).as_secs());
            assert_eq!(lifetime, expected, "{fields:?}");
        }
    }

    #[test]
    fn only_statuses_that_are_safe_to_repeat_are_stored_by_default() {
        let none = HeaderMap::new();
        for code in 100..=599 {
            let decided = storing(&rules(), &exchange(code, &none));
            let expected = [200, 203, 301, 308, 410].contains(&code);
            assert_eq!(decided.is_ok(), expected, "{code}");
        }
    }

    #[test]
    fn a_status_with_a_ttl_of_its_own_is_stored_for_that_long() {
        let mut rules = rules();
        rules
            .status_ttl
            .push((StatusCode::NOT_FOUND, Duration::from_secs(5)));
        let none = HeaderMap::new();
        let terms = storing(&rules, &exchange(404, &none)).unwrap();
        assert_eq!(terms.times.fresh_until.since(NOW), Duration::from_secs(5));
        for code in [206, 304, 428, 429, 431, 511] {
            let status = StatusCode::from_u16(code).unwrap();
            rules.status_ttl.push((status, TTL));
            assert_eq!(
                storing(&rules, &exchange(code, &none)),
                Err(Reason::Status),
                "{code}"
            );
        }
    }

    #[test]
    fn a_status_that_must_be_understood_and_is_not_is_not_stored() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        let rules = Rules {
            status_ttl: vec![(status(299), TTL), (status(404), TTL)],
            ..rules()
        };
        let rows = [
            (299, "max-age=9", true),
            (299, "max-age=9, must-understand", false),
            (404, "max-age=9, must-understand", true),
            // The permission to ignore `no-store` that comes with it is not used.
            (404, "max-age=9, must-understand, no-store", false),
        ];
        for (code, value, expected) in rows {
            let headers = headers(&[("cache-control", value)]);
            let decided = storing(&rules, &exchange(code, &headers));
            assert_eq!(decided.is_ok(), expected, "{code} {value}");
        }
    }

    #[test]
    fn what_the_handler_says_replaces_the_ttl_but_not_what_the_fields_forbid() {
        let short = Some(Duration::from_secs(1));
        let none = HeaderMap::new();
        let asked = Exchange {
            handler_ttl: short,
            ..exchange(200, &none)
        };
        let terms = storing(&rules(), &asked).unwrap();
        assert_eq!(terms.times.fresh_until.since(NOW), Duration::from_secs(1));
        let private = headers(&[("cache-control", "private")]);
        let asked = Exchange {
            handler_ttl: short,
            ..exchange(200, &private)
        };
        assert_eq!(storing(&rules(), &asked), Err(Reason::Private));
    }

    #[test]
    fn stale_windows_come_from_the_response_first_and_never_against_must_revalidate() {
        let rules = Rules {
            stale_while_revalidate: Some(Duration::from_secs(7)),
            ..rules()
        };
        let rows = [
            ("max-age=5", 7),
            ("max-age=5, stale-while-revalidate=3", 3),
            ("max-age=5, must-revalidate, stale-while-revalidate=3", 0),
            ("s-maxage=5, stale-while-revalidate=3", 0),
        ];
        for (value, expected) in rows {
            let headers = headers(&[("cache-control", value)]);
            let terms = storing(&rules, &exchange(200, &headers)).unwrap();
            assert_eq!(
                terms.times.stale_while_revalidate.as_secs(),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn fields_of_one_request_or_one_connection_are_not_stored() {
        let rows = [
            ("content-type", true),
            ("date", true),
            ("etag", true),
            ("x-app", true),
            ("x-listed", false),
            ("age", false),
            ("connection", false),
            ("proxy-authenticate", false),
            ("ratelimit-policy", false),
            ("x-ratelimit-remaining", false),
            ("retry-after", false),
            ("x-request-id", false),
        ];
        for (name, expected) in rows {
            assert_eq!(
                is_stored(Profile::Safe, &HeaderName::from_static(name), &["X-Listed"]),
                expected,
                "{name}"
            );
        }
    }
}
