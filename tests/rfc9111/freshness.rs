//! For how long a response is fresh (RFC 9111 §4.2).

use super::script::check;

/// A field with a lifetime of a minute, to the second.
fn fresh_for_a_minute(section: &'static str, says: &'static str, fields: &str) {
    let script = format!(
        "
        GET -> 200 | {fields} => store
        +59 GET => hit | #1
        +1 GET -> 200 | {fields} => store | #2"
    );
    check(&[(section, says, script.leak())]);
}

/// A field that gives no lifetime at all.
fn stale(section: &'static str, says: &'static str, fields: &str) {
    let script = format!(
        "
        GET -> 200 | {fields} | etag: \"a\" => store
        GET -> 200 | ?if-none-match: \"a\" => pass | #2"
    );
    check(&[(section, says, script.leak())]);
}

#[test]
fn lifetimes() {
    for (says, fields) in [
        ("max-age", "cache-control: max-age=60"),
        (
            "s-maxage before max-age",
            "cache-control: max-age=9, s-maxage=60",
        ),
        (
            "s-maxage before a longer max-age",
            "cache-control: s-maxage=60, max-age=90",
        ),
        (
            "max-age before Expires",
            "cache-control: max-age=60 | expires: @9",
        ),
        (
            "max-age before a past Expires",
            "cache-control: max-age=60 | expires: @-9",
        ),
        (
            "max-age before an Expires that is none",
            "cache-control: max-age=60 | expires: 0",
        ),
        (
            "s-maxage before Expires",
            "cache-control: s-maxage=60 | expires: @9",
        ),
        ("Expires minus Date", "date: @0 | expires: @60"),
        ("Expires alone", "expires: @60"),
        (
            "Expires with a Date that is none: the time of receipt",
            "date: now | expires: @60",
        ),
        (
            "an Expires that is fresh by Date, whatever our clock",
            "date: @30 | expires: @90",
        ),
        ("letters in any case", "cache-control: MaX-aGe=60"),
        ("a quoted number", "cache-control: max-age=\"60\""),
        ("leading zeros", "cache-control: max-age=0060"),
        ("the first of two", "cache-control: max-age=60, max-age=90"),
        (
            "the first of two lines",
            "cache-control: max-age=60 | cache-control: max-age=9",
        ),
        (
            "unknown directives around it",
            "cache-control: a, max-age=60, b=c",
        ),
        ("empty members", "cache-control: , ,max-age=60,,"),
        (
            "not in a quoted string",
            "cache-control: a=\"max-age=9\", max-age=60",
        ),
        (
            "not in a quoted string with escapes",
            "cache-control: a=\"\\\", max-age=9\", max-age=60",
        ),
        (
            "a tenth of the time since it changed",
            "last-modified: @-600",
        ),
        ("the same from Date", "date: @0 | last-modified: @-600"),
    ] {
        fresh_for_a_minute("§4.2.1", says, fields);
    }
}

#[test]
fn lifetimes_that_cannot_be_read() {
    for value in [
        "", "=", "=-60", "=+60", "='60'", "=60.0", "=60s", "=abc", " =60", "= 60", "=\"\"",
        "=\"60", "=0x60", "=6 0", "=6e1",
    ] {
        stale(
            "§4.2.1",
            "a max-age that is no number is stale",
            &format!("cache-control: max-age{value}"),
        );
    }
    for value in [
        "0",
        "-1",
        "60",
        "soon",
        "Thu, 01 Jan 2026",
        "2026-01-01T01:00:00Z",
        "Thu, 01 Jan 2026 01:00:00 UTC",
    ] {
        stale(
            "§5.3",
            "an Expires that is no date has passed",
            &format!("expires: {value}"),
        );
    }
    stale(
        "§5.3",
        "two lines of Expires have passed",
        "expires: @60 | expires: @60",
    );
    stale("§5.3", "an Expires in the past", "expires: @-1");
    stale("§5.3", "Expires as old as Date", "date: @60 | expires: @60");
    stale(
        "§4.2.1",
        "a lifetime of nothing",
        "cache-control: max-age=0",
    );
    stale(
        "§4.2.1",
        "a bad s-maxage before a good max-age",
        "cache-control: s-maxage=x, max-age=60",
    );
    stale(
        "§4.2.2",
        "changed in the future: no guess",
        "last-modified: @60",
    );
    stale(
        "§4.2.2",
        "changed at no date: no guess",
        "last-modified: recently",
    );
}

#[test]
fn ends_of_time() {
    check(&[
        (
            "§1.2.2",
            "2^31 and more are as much as there is",
            "
            GET /a -> 200 | cache-control: max-age=2147483647 => store
            GET /b -> 200 | cache-control: max-age=2147483648 => store
            GET /c -> 200 | cache-control: max-age=99999999999999999999 => store
            +999999999 GET /a => hit
            GET /b => hit
            GET /c => hit",
        ),
        (
            "§5.3",
            "years behind 2038",
            "
            GET -> 200 | expires: Sun, 21 Nov 2286 04:46:39 GMT => store
            +999999999 GET => hit",
        ),
        (
            "RFC 9110 §5.6.7",
            "all three forms of a date, in any case",
            "
            GET /a -> 200 | expires: thu, 01 jan 2026 00:01:00 gmt => store
            GET /b -> 200 | expires: Thursday, 01-Jan-26 00:01:00 GMT => store
            GET /c -> 200 | expires: Thu Jan  1 00:01:00 2026 => store
            +59 GET /a => hit
            GET /b => hit
            GET /c => hit",
        ),
        (
            "§4.2.2",
            "a guess is never longer than a day",
            "
            GET -> 200 | last-modified: Sun, 06 Nov 1994 08:49:37 GMT => store
            +86399 GET => hit
            +1 GET -> 304 | ?if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT => valid",
        ),
        (
            "§4.2.2",
            "public lets any status be guessed about",
            "
            GET -> 299 | cache-control: public | last-modified: @-600 => store
            +59 GET => hit 299",
        ),
        (
            "§4.2.2",
            "no guess about a status that is not of that kind",
            "
            GET -> 299 | last-modified: @-600 => pass
            GET -> 302 | last-modified: @-600 => pass
            GET -> 500 | last-modified: @-600 => pass
            GET -> 599 | last-modified: @-600 => pass",
        ),
        (
            "§4.2.2",
            "a guess about each that is",
            "
            GET /1 -> 203 | last-modified: @-600 => store
            GET /2 -> 204 | last-modified: @-600 => store
            GET /3 -> 300 | last-modified: @-600 => store
            GET /4 -> 301 | last-modified: @-600 => store
            GET /5 -> 308 | last-modified: @-600 => store
            GET /6 -> 404 | last-modified: @-600 => store
            GET /7 -> 405 | last-modified: @-600 => store
            GET /8 -> 410 | last-modified: @-600 => store
            GET /9 -> 414 | last-modified: @-600 => store
            GET /0 -> 501 | last-modified: @-600 => store
            +59 GET /1 => hit 203
            GET /2 => hit 204
            GET /9 => hit 414",
        ),
        (
            "§4.2.1",
            "nothing in the response says how long: asked about each time",
            "
            GET -> 200 | etag: \"a\" => store
            GET -> 304 | ?if-none-match: \"a\" => valid | #1
            GET -> 304 | ?if-none-match: \"a\" => valid | #1",
        ),
    ]);
}
