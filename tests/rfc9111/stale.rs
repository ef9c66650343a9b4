//! Stale responses (RFC 9111 §4.2.4, RFC 5861).

use super::script::check;

#[test]
fn instead_of_errors() {
    check(&[
        (
            "§4.2.4",
            "when the service fails",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET -> error => stale 200 | #1 | age: 90",
        ),
        (
            "§4.2.4",
            "when it answers 503",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET -> 503 => stale 200 | #1",
        ),
        (
            "§4.2.4",
            "or 500, 502, 504",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET -> 500 => stale 200
            GET -> 502 => stale 200
            GET -> 504 => stale 200",
        ),
        (
            "§4.2.4",
            "not for 404",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET -> 404 => pass 404",
        ),
        (
            "§4.2.4",
            "not for longer than a day",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +86460 GET -> error => error",
        ),
        (
            "RFC 5861 §4",
            "as long as stale-if-error says",
            "
            GET -> 200 | cache-control: max-age=60, stale-if-error=60 => store
            +119 GET -> 503 => stale 200
            +1 GET -> 503 => pass 503",
        ),
        (
            "RFC 5861 §4",
            "even for longer than a day",
            "
            GET -> 200 | cache-control: max-age=60, stale-if-error=999999 => store
            +200000 GET -> 503 => stale 200",
        ),
        (
            "§4.2.4",
            "a guessed lifetime was one too",
            "
            GET -> 200 | last-modified: @-600 => store
            +90 GET -> 503 => stale 200",
        ),
        (
            "§4.2.4",
            "what was never fresh is not shown",
            "
            GET -> 200 | etag: \"a\" => store
            GET -> 503 => pass 503",
        ),
        (
            "§4.2.4",
            "nor what was to be fresh for no time",
            "
            GET -> 200 | cache-control: max-age=0 | etag: \"a\" => store
            GET -> 503 => pass 503",
        ),
        (
            "§4.4",
            "nor what was spoiled",
            "
            GET -> 200 | cache-control: max-age=60 => store
            PUT -> 204 => pass
            GET -> 503 => pass 503",
        ),
        (
            "§5.2.1.4",
            "nor to who wants it validated",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET | cache-control: no-cache -> 503 => pass 503",
        ),
        (
            "§4.2.4",
            "the other errors do not stay",
            "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET -> 503 | cache-control: max-age=60 => stale 200
            GET -> 200 => pass",
        ),
    ]);
    for forbids in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=60",
        "no-cache",
    ] {
        let script = format!(
            "
            GET -> 200 | cache-control: max-age=60, {forbids} | etag: \"a\" | x-a: 1 => store
            +90 GET -> 503 => pass 503 | !x-a
            GET -> error => error"
        );
        check(&[("§5.2.2", "never where that is forbidden", script.leak())]);
        let script = format!("
            GET -> 200 | cache-control: max-age=60, stale-if-error=60, {forbids} | etag: \"a\" => store
            +90 GET -> 503 => pass 503");
        check(&[("§5.2.2", "whatever else is allowed", script.leak())]);
    }
}

#[test]
fn while_it_is_validated() {
    check(&[
        ("RFC 5861 §3", "stale inside the window, and one refresh", "
            GET -> 200 | cache-control: max-age=60, stale-while-revalidate=60 => store
            +60 GET -> 200 | cache-control: max-age=60 => late | #1
            GET => hit | #2"),
        ("RFC 5861 §3", "the refresh asks", "
            GET -> 200 | cache-control: max-age=60, stale-while-revalidate=60 | etag: \"a\" => store
            +60 GET -> 304 | ?if-none-match: \"a\" | cache-control: max-age=60 => late | #1
            GET => hit | #1 | age: 0"),
        ("RFC 5861 §3", "not behind the window", "
            GET -> 200 | cache-control: max-age=60, stale-while-revalidate=60 => store
            +120 GET -> 200 => pass | #2"),
        ("RFC 5861 §3", "not where the response does not say so", "
            GET -> 200 | cache-control: max-age=60 => store
            +60 GET -> 200 => pass | #2"),
        ("§5.2.2.2", "not against must-revalidate", "
            GET -> 200 | cache-control: max-age=60, stale-while-revalidate=60, must-revalidate => store
            +60 GET -> 200 => pass | #2"),
        ("RFC 5861 §3", "a window that is no number is none", "
            GET -> 200 | cache-control: max-age=60, stale-while-revalidate=x => store
            +60 GET -> 200 => pass | #2"),
    ]);
}
