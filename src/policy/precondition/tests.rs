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
