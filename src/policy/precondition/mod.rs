//! `If-None-Match` and its siblings, in the one order they have (RFC 9110 §13.2.2).
//!
//! ```text
//!  If-Match ──────────── else If-Unmodified-Since ─┬─ false ─► 412
//!                                                  ▼
//!  If-None-Match ─────── else If-Modified-Since ───┬─ false ─► 304 for GET and HEAD, else 412
//!                                                  ▼
//!  Range, with or without If-Range ───────────────────────────► the part, or the whole
//! ```
//!
//! *Else* means "only where the field before it is absent": an `If-None-Match` that does not match
//! leaves `If-Modified-Since` unread, however well that would match. A cache reads neither of the
//! first row; they are for the origin (RFC 9111 §4.3.2).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::Method;

use super::request::{is_safe, RequestFields};
use crate::header::entity_tag::{self, EntityTag};
use crate::header::{date, first_line};

/// What the fields of a request make of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer is what it would be without them.
    Proceed,
    /// The client holds it already.
    NotModified,
    /// The resource is not in the state that the client named.
    PreconditionFailed,
}

/// What is known of the current representation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Validators<'a> {
    pub(crate) etag: Option<EntityTag<'a>>,
    /// Seconds since 1970, as all dates here.
    pub(crate) last_modified: Option<i64>,
    /// When the origin sent it, and so the moment for which its modification date was true.
    pub(crate) date: Option<i64>,
}

impl<'a> Validators<'a> {
    /// What the fields of a response say.
    pub(crate) fn read(headers: &'a HeaderMap, now: i64) -> Self {
        Self::of(|name| first_line(name, headers), now)
    }

    /// The same, of fields that stand somewhere else than in a map.
    pub(crate) fn of(field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>, now: i64) -> Self {
        let date = |name| field(name).and_then(|value| date::parse(value.as_bytes(), now));
        let etag = field(&header::ETAG);
        Self {
            etag: etag.and_then(|value| EntityTag::parse(value.as_bytes())),
            last_modified: date(&header::LAST_MODIFIED),
            date: date(&header::DATE),
        }
    }
}

/// Judges a request as the origin does, where the plain answer would be a success. `current` is
/// `None` where the resource has no representation.
pub(crate) fn judge_at_origin(
    method: &Method,
    request: &HeaderMap,
    current: Option<&Validators<'_>>,
    now: i64,
) -> Verdict {
    if is_about_no_representation(method) {
        return Verdict::Proceed;
    }
    if is_unmet(request, current, now) {
        return Verdict::PreconditionFailed;
    }
    let modified = current.and_then(|current| current.last_modified);
    judge_freshness(method, request, current, modified, now)
}

/// Judges a `GET` or `HEAD` as a cache does, which holds a response to it (RFC 9111 §4.3.2).
/// `received` is the second at the end of which it was surely there.
pub(crate) fn judge_at_cache(
    method: &Method,
    request: &HeaderMap,
    stored: &Validators<'_>,
    received: i64,
    now: i64,
) -> Verdict {
    let modified = stored.last_modified.or(stored.date).unwrap_or(received);
    judge_freshness(method, request, Some(stored), Some(modified), now)
}

/// Whether `If-None-Match` begins with exactly this entity tag, strong or weak. That is how clients
/// ask nearly always, and then nothing else decides: no other member of the list, and no date.
#[inline]
pub(crate) fn is_held(request: &RequestFields<'_>, etag: &HeaderValue) -> bool {
    fn opaque(tag: &HeaderValue) -> &[u8] {
        let bytes = tag.as_bytes();
        bytes.strip_prefix(b"W/").unwrap_or(bytes)
    }
    let first = request.first(&header::IF_NONE_MATCH);
    first.is_some_and(|line| opaque(line) == opaque(etag))
}

/// Whether a range may be cut from this representation for a client that may hold another part
/// already (RFC 9110 §13.1.5): always without `If-Range`.
pub(crate) fn range_holds(request: &HeaderMap, current: &Validators<'_>, now: i64) -> bool {
    let Some(only) = single(request, &header::IF_RANGE) else {
        return !request.contains_key(header::IF_RANGE);
    };
    if let Some(tag) = EntityTag::parse(only.as_bytes()) {
        return current.etag.is_some_and(|etag| tag.matches_strongly(etag));
    }
    // A date is as good as a strong tag only if nothing could have changed within its second.
    let held = date::parse(only.as_bytes(), now);
    let is_strong = |modified| current.date.is_some_and(|date| date > modified);
    held.is_some()
        && held
            == current
                .last_modified
                .filter(|modified| is_strong(*modified))
}

/// The first row: `If-Match` and `If-Unmodified-Since` (RFC 9110 §13.1.1, §13.1.4).
fn is_unmet(request: &HeaderMap, current: Option<&Validators<'_>>, now: i64) -> bool {
    if request.contains_key(header::IF_MATCH) {
        let lines = || request.get_all(header::IF_MATCH);
        let Some(current) = current else { return true };
        let names =
            |tag: EntityTag<'_>| current.etag.is_some_and(|etag| tag.matches_strongly(etag));
        return !entity_tag::is_any(lines()) && !entity_tag::listed(lines()).any(names);
    }
    let since = single_date(request, &header::IF_UNMODIFIED_SINCE, now);
    let modified = current.and_then(|current| current.last_modified);
    matches!((since, modified), (Some(since), Some(modified)) if modified > since)
}

/// The second row: `If-None-Match` and `If-Modified-Since` (RFC 9110 §13.1.2, §13.1.3).
fn judge_freshness(
    method: &Method,
    request: &HeaderMap,
    current: Option<&Validators<'_>>,
    modified: Option<i64>,
    now: i64,
) -> Verdict {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let matched = if request.contains_key(header::IF_NONE_MATCH) {
        let lines = || request.get_all(header::IF_NONE_MATCH);
        let names = |tag: EntityTag<'_>, etag| tag.matches_weakly(etag);
        current.is_some_and(|current| {
            let etag = current.etag;
            entity_tag::is_any(lines())
                || etag.is_some_and(|etag| entity_tag::listed(lines()).any(|tag| names(tag, etag)))
        })
    } else {
        let since = single_date(request, &header::IF_MODIFIED_SINCE, now);
        reads && matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
    };
    match (matched, reads) {
        (false, _) => Verdict::Proceed,
        (true, true) => Verdict::NotModified,
        (true, false) => Verdict::PreconditionFailed,
    }
}

/// Whether preconditions mean nothing to this method (RFC 9110 §13.2.1).
fn is_about_no_representation(method: &Method) -> bool {
    matches!(*method, Method::OPTIONS | Method::TRACE | Method::CONNECT)
}

/// A field of one value: more than one line is as good as none that can be read.
fn single<'a>(request: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = request.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn single_date(request: &HeaderMap, name: &HeaderName, now: i64) -> Option<i64> {
    single(request, name).and_then(|value| date::parse(value.as_bytes().trim_ascii(), now))
}

/// The preconditions of a request, by name.
const PRECONDITIONS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];

/// The preconditions of a request, apart from it; `None` where it has none, as most have not.
pub(crate) fn preconditions(method: &Method, request: &HeaderMap) -> Option<HeaderMap> {
    let is_one = |name: &HeaderName| PRECONDITIONS.contains(name);
    if is_about_no_representation(method) || !request.keys().any(is_one) {
        return None;
    }
    let lines = request.iter().filter(|(name, _)| is_one(name));
    let mut kept = HeaderMap::with_capacity(PRECONDITIONS.len());
    for (name, value) in lines {
        kept.append(name.clone(), value.clone());
    }
    Some(kept)
}

/// Whether a method can spoil what another client has seen, so that its preconditions protect something.
pub(crate) fn is_guarded(method: &Method) -> bool {
    !is_safe(method) && !is_about_no_representation(method)
}

/// Whether a field stays in a 304 (RFC 9110 §15.4.5). What tells of the representation goes, since
/// the client has it; what guides its update (`Cache-Control`, `Content-Location`, `Date`, `ETag`,
/// `Expires`, `Vary`), and whatever is about this answer rather than about the representation, stays.
pub(crate) fn stays_when_not_modified(name: &HeaderName, has_etag: bool) -> bool {
    match name.as_str() {
        "content-location" | "content-security-policy" | "content-security-policy-report-only" => {
            true
        }
        // It guides an update only where nothing better does.
        "last-modified" => !has_etag,
        "accept-ranges" | "digest" | "repr-digest" | "transfer-encoding" | "trailer" => false,
        name => !name.starts_with("content-"),
    }
}

/// Leaves the fields of a 200 that its 304 has too.
pub(crate) fn strip_for_not_modified(headers: &mut HeaderMap) {
    let has_etag = headers.contains_key(header::ETAG);
    let goes = |name: &&HeaderName| !stays_when_not_modified(name, has_etag);
    while let Some(name) = headers.keys().find(goes).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const MODIFIED: i64 = 784_111_777;
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const NOW: i64 = 1_767_225_600;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn validators(etag: &'static str, last_modified: Option<i64>) -> Validators<'static> {
        Validators {
            etag: EntityTag::parse(etag.as_bytes()),
            last_modified,
            date: Some(NOW),
        }
    }

    type Row = (
        &'static str,
        &'static [(&'static str, &'static str)],
        Verdict,
    );

    fn check(current: Option<&Validators<'_>>, rows: &[Row]) {
        for (method, request, expected) in rows {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let verdict = judge_at_origin(&method, &fields(request), current, NOW);
            assert_eq!(verdict, *expected, "{method} {request:?}");
        }
    }

    use Verdict::{NotModified, PreconditionFailed, Proceed};

    #[test]
    fn if_match_compares_strongly_and_hides_if_unmodified_since() {
        let strong = validators("\"a\"", Some(MODIFIED));
        check(
            Some(&strong),
            &[
                ("PUT", &[("if-match", "\"a\"")], Proceed),
                ("PUT", &[("if-match", "\"b\", \"a\"")], Proceed),
                ("PUT", &[("if-match", "*")], Proceed),
                ("PUT", &[("if-match", "\"b\"")], PreconditionFailed),
                ("PUT", &[("if-match", "W/\"a\"")], PreconditionFailed),
                ("PUT", &[("if-match", "a")], PreconditionFailed),
                ("PUT", &[("if-match", "")], PreconditionFailed),
                ("GET", &[("if-match", "\"b\"")], PreconditionFailed),
                ("GET", &[("if-match", "\"a\"")], Proceed),
                (
                    "PUT",
                    &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)],
                    Proceed,
                ),
                ("OPTIONS", &[("if-match", "\"b\"")], Proceed),
            ],
        );
        let weak = validators("W/\"a\"", None);
        check(
            Some(&weak),
            &[
                ("PUT", &[("if-match", "W/\"a\"")], PreconditionFailed),
                ("PUT", &[("if-match", "\"a\"")], PreconditionFailed),
                ("PUT", &[("if-match", "*")], Proceed),
            ],
        );
    }

    #[test]
    fn what_does_not_exist_matches_nothing() {
        check(
            None,
            &[
                ("PUT", &[("if-match", "*")], PreconditionFailed),
                ("PUT", &[("if-match", "\"a\"")], PreconditionFailed),
                ("PUT", &[("if-none-match", "*")], Proceed),
                ("PUT", &[("if-none-match", "\"a\"")], Proceed),
                ("PUT", &[("if-unmodified-since", BEFORE)], Proceed),
            ],
        );
    }

    #[test]
    fn if_unmodified_since_needs_one_readable_date_on_both_sides() {
        let dated = validators("", Some(MODIFIED));
        check(
            Some(&dated),
            &[
                (
                    "PUT",
                    &[("if-unmodified-since", BEFORE)],
                    PreconditionFailed,
                ),
                ("PUT", &[("if-unmodified-since", SAME)], Proceed),
                ("PUT", &[("if-unmodified-since", AFTER)], Proceed),
                (
                    "GET",
                    &[("if-unmodified-since", BEFORE)],
                    PreconditionFailed,
                ),
                ("PUT", &[("if-unmodified-since", "yesterday")], Proceed),
                (
                    "PUT",
                    &[
                        ("if-unmodified-since", BEFORE),
                        ("if-unmodified-since", BEFORE),
                    ],
                    Proceed,
                ),
            ],
        );
        let undated = validators("\"a\"", None);
        check(
            Some(&undated),
            &[("PUT", &[("if-unmodified-since", BEFORE)], Proceed)],
        );
    }

    #[test]
    fn if_none_match_compares_weakly_and_hides_if_modified_since() {
        let current = validators("\"a\"", Some(MODIFIED));
        check(
            Some(&current),
            &[
                ("GET", &[("if-none-match", "\"a\"")], NotModified),
                ("HEAD", &[("if-none-match", "\"a\"")], NotModified),
                ("GET", &[("if-none-match", "W/\"a\"")], NotModified),
                ("GET", &[("if-none-match", "\"b\", W/\"a\"")], NotModified),
                (
                    "GET",
                    &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")],
                    NotModified,
                ),
                ("GET", &[("if-none-match", "*")], NotModified),
                ("GET", &[("if-none-match", "\"b\"")], Proceed),
                ("GET", &[("if-none-match", "a")], Proceed),
                (
                    "GET",
                    &[("if-none-match", "\"b\""), ("if-modified-since", AFTER)],
                    Proceed,
                ),
                (
                    "GET",
                    &[("if-none-match", ""), ("if-modified-since", AFTER)],
                    Proceed,
                ),
                (
                    "GET",
                    &[("if-none-match", "\"a\""), ("if-modified-since", BEFORE)],
                    NotModified,
                ),
                ("PUT", &[("if-none-match", "*")], PreconditionFailed),
                ("PUT", &[("if-none-match", "\"a\"")], PreconditionFailed),
                ("PUT", &[("if-none-match", "\"b\"")], Proceed),
                ("QUERY", &[("if-none-match", "\"a\"")], PreconditionFailed),
            ],
        );
        let unnamed = validators("", Some(MODIFIED));
        check(
            Some(&unnamed),
            &[
                ("GET", &[("if-none-match", "*")], NotModified),
                ("GET", &[("if-none-match", "\"\"")], Proceed),
            ],
        );
    }

    #[test]
    fn if_modified_since_is_for_get_and_head() {
        let current = validators("\"a\"", Some(MODIFIED));
        check(
            Some(&current),
            &[
                ("GET", &[("if-modified-since", BEFORE)], Proceed),
                ("GET", &[("if-modified-since", SAME)], NotModified),
                ("HEAD", &[("if-modified-since", AFTER)], NotModified),
                (
                    "GET",
                    &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
                    NotModified,
                ),
                (
                    "GET",
                    &[("if-modified-since", "Sun Nov  6 08:49:37 1994")],
                    NotModified,
                ),
                ("GET", &[("if-modified-since", "784111777")], Proceed),
                (
                    "GET",
                    &[("if-modified-since", SAME), ("if-modified-since", SAME)],
                    Proceed,
                ),
                ("PUT", &[("if-modified-since", AFTER)], Proceed),
            ],
        );
        let undated = validators("\"a\"", None);
        check(
            Some(&undated),
            &[("GET", &[("if-modified-since", AFTER)], Proceed)],
        );
    }

    #[test]
    fn the_first_row_comes_before_the_second() {
        let current = validators("\"a\"", Some(MODIFIED));
        check(
            Some(&current),
            &[
                (
                    "GET",
                    &[("if-match", "\"b\""), ("if-none-match", "\"a\"")],
                    PreconditionFailed,
                ),
                (
                    "GET",
                    &[("if-match", "\"a\""), ("if-none-match", "\"a\"")],
                    NotModified,
                ),
                (
                    "GET",
                    &[("if-unmodified-since", BEFORE), ("if-modified-since", SAME)],
                    PreconditionFailed,
                ),
            ],
        );
    }

    #[test]
    fn a_cache_leaves_the_first_row_to_the_origin_and_dates_what_has_no_date() {
        let judge = |request: &[(&'static str, &'static str)], stored: Validators<'_>| {
            judge_at_cache(&Method::GET, &fields(request), &stored, MODIFIED, NOW)
        };
        let tagged = validators("\"a\"", None);
        assert_eq!(judge(&[("if-match", "\"b\"")], tagged), Proceed);
        assert_eq!(judge(&[("if-none-match", "W/\"a\"")], tagged), NotModified);
        let sent = |date| Validators {
            date,
            ..Validators::default()
        };
        for (since, expected) in [(BEFORE, Proceed), (SAME, NotModified), (AFTER, NotModified)] {
            let request = [("if-modified-since", since)];
            assert_eq!(
                judge(&request, sent(Some(MODIFIED))),
                expected,
                "by Date: {since}"
            );
            assert_eq!(judge(&request, sent(None)), expected, "by receipt: {since}");
        }
        let modified_before_sent = validators("", Some(MODIFIED));
        assert_eq!(
            judge(&[("if-modified-since", SAME)], modified_before_sent),
            NotModified
        );
    }

    #[test]
    fn if_range_wants_a_strong_validator() {
        let holds = |field: &'static str, current: Validators<'_>| {
            range_holds(&fields(&[("if-range", field)]), &current, NOW)
        };
        let current = validators("\"a\"", Some(MODIFIED));
        assert!(range_holds(&HeaderMap::new(), &current, NOW));
        assert!(holds("\"a\"", current));
        assert!(!holds("W/\"a\"", current));
        assert!(!holds("\"b\"", current));
        assert!(!holds("\"a\"", validators("W/\"a\"", None)));
        assert!(holds(SAME, current));
        assert!(!holds(AFTER, current), "later is not the same");
        assert!(!holds(BEFORE, current));
        assert!(!holds("*", current));
        assert!(!holds("nonsense", validators("", None)));
        let within_its_second = Validators {
            date: Some(MODIFIED),
            ..current
        };
        assert!(!holds(SAME, within_its_second));
        let twice = fields(&[("if-range", "\"a\""), ("if-range", "\"a\"")]);
        assert!(!range_holds(&twice, &current, NOW));
    }

    #[test]
    fn the_short_way_says_nothing_but_what_the_long_one_says() {
        let tags = ["\"a\"", "W/\"a\"", "\"\"", "W/\"\"", "\"a,b\""];
        let lines = [
            "\"a\"", "W/\"a\"", "w/\"a\"", "*", "\"b\"", "\"\"", "W/", "", "\"a,b\"", "a",
        ];
        for etag in tags {
            let stored = validators(etag, None);
            for line in lines {
                let request = fields(&[("if-none-match", line)]);
                if is_held(
                    &RequestFields::read(&request),
                    &HeaderValue::from_static(etag),
                ) {
                    let verdict = judge_at_cache(&Method::GET, &request, &stored, 0, NOW);
                    assert_eq!(verdict, Verdict::NotModified, "{etag} {line}");
                }
            }
            let same = fields(&[("if-none-match", etag), ("if-none-match", "\"z\"")]);
            assert!(is_held(
                &RequestFields::read(&same),
                &HeaderValue::from_static(etag)
            ));
        }
    }

    #[test]
    fn a_304_has_the_fields_that_guide_an_update_and_none_that_describe_the_content() {
        let mut headers = fields(&[
            ("cache-control", "no-cache"),
            ("content-location", "/a"),
            ("date", SAME),
            ("etag", "\"a\""),
            ("expires", SAME),
            ("vary", "accept"),
            ("vary", "origin"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("content-type", "text/plain"),
            ("content-length", "3"),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
            ("accept-ranges", "bytes"),
            ("last-modified", SAME),
        ]);
        strip_for_not_modified(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        let expected = [
            "access-control-allow-origin",
            "cache-control",
            "content-location",
            "date",
            "etag",
            "expires",
            "set-cookie",
            "vary",
            "vary",
        ];
        assert_eq!(left, expected);
        let mut dated = fields(&[("last-modified", SAME), ("content-type", "a/b")]);
        strip_for_not_modified(&mut dated);
        assert_eq!(dated, fields(&[("last-modified", SAME)]));
    }

    /// Whatever a stranger writes, and what nearly is a tag or a date.
    fn value() -> impl Strategy<Value = HeaderValue> {
        let any_bytes = prop::collection::vec(any::<u8>(), 0..40);
        let nearly = prop::sample::select(vec![SAME, AFTER, "\"a\"", "W/\"a\", ", "*", "\"a"]);
        let nearly = prop::collection::vec(nearly, 1..3).prop_map(|parts| parts.concat());
        let bytes = prop_oneof![any_bytes, nearly.prop_map(String::into_bytes)];
        bytes.prop_filter_map("no field value", |bytes| {
            HeaderValue::from_bytes(&bytes).ok()
        })
    }

    fn some_fields() -> impl Strategy<Value = HeaderMap> {
        let names = [&PRECONDITIONS[..], &[header::IF_RANGE, header::RANGE]].concat();
        let field = (prop::sample::select(names), value());
        prop::collection::vec(field, 0..6).prop_map(|fields| {
            fields
                .into_iter()
                .fold(HeaderMap::new(), |mut headers, (name, value)| {
                    headers.append(name, value);
                    headers
                })
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_and_304_is_for_reading_alone(
            method in prop::sample::select(vec!["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "X"]),
            request in some_fields(),
            etag in value(),
            modified in value(),
            now: i64,
        ) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let response = HeaderMap::from_iter([
                (header::ETAG, etag),
                (header::LAST_MODIFIED, modified.clone()),
                (header::DATE, modified),
            ]);
            let current = Validators::read(&response, now);
            range_holds(&request, &current, now);
            let verdict = judge_at_origin(&method, &request, Some(&current), now);
            let reads = matches!(method.as_str(), "GET" | "HEAD");
            prop_assert!(reads || verdict != NotModified);
            prop_assert_eq!(judge_at_origin(&method, &request, None, now) == NotModified, false);
            match preconditions(&method, &request) {
                None => prop_assert_eq!(verdict, Proceed),
                Some(kept) => {
                    let by_them = judge_at_origin(&method, &kept, Some(&current), now);
                    prop_assert_eq!(by_them, verdict, "nothing else counts");
                }
            }
            if reads {
                let at_cache = judge_at_cache(&method, &request, &current, now, now);
                prop_assert_ne!(at_cache, PreconditionFailed);
            }
        }
    }
}
