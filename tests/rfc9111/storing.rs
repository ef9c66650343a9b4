//! What is stored (RFC 9111 §3), and with which fields.

use super::script::check;

#[test]
fn what_is_stored_and_what_is_not() {
    check(&[
        ("§3", "an explicit lifetime is enough", "
            GET -> 200 | cache-control: max-age=60 => store
            GET => hit | #1"),
        ("§3", "no lifetime and no validator: nothing to keep", "
            GET -> 200 => pass
            GET -> 200 => pass | #2"),
        ("§5.2.2.5", "no-store is not stored", "
            GET -> 200 | cache-control: no-store, max-age=60 => pass
            GET -> 200 => pass"),
        ("§5.2.2.5", "no-store in any letter case", "
            GET -> 200 | cache-control: No-StOrE, max-age=60 => pass"),
        ("§5.2.2.7", "private is not stored", "
            GET -> 200 | cache-control: private, max-age=60 => pass
            GET -> 200 => pass"),
        ("§5.2.2.7", "a private field is left out", "
            GET -> 200 | cache-control: max-age=60, private=\"x-a\" | x-a: 1 | x-b: 2 => store | x-a: 1
            GET => hit | !x-a | x-b: 2"),
        ("§5.2.2.4", "no-cache is stored and validated", "
            GET -> 200 | cache-control: no-cache, max-age=60 | etag: \"a\" => store
            GET -> 304 | ?if-none-match: \"a\" => valid | #1"),
        ("§5.2.2.4", "no-cache without a validator is of no use", "
            GET -> 200 | cache-control: no-cache, max-age=60 => pass"),
        ("§5.2.2.4", "a no-cache field is left out of reuse", "
            GET -> 200 | cache-control: max-age=60, no-cache=\"x-a\" | x-a: 1 | x-b: 2 => store | x-a: 1
            GET => hit | !x-a | x-b: 2"),
        ("§5.2.2.4", "several no-cache fields, quoted, in any case", "
            GET -> 200 | cache-control: max-age=60, No-Cache=\"X-A, x-c\" | x-a: 1 | x-b: 2 | x-c: 3 => store
            GET => hit | !x-a | x-b: 2 | !x-c"),
        ("§5.2.2.3", "must-understand frees a known status of no-store", "
            GET -> 200 | cache-control: must-understand, no-store, max-age=60 => store
            GET => hit"),
        ("§5.2.2.3", "must-understand keeps an unknown status out", "
            GET -> 599 | cache-control: must-understand, max-age=60 => pass"),
        ("§5.2.2.3", "and leaves no-store to it", "
            GET -> 599 | cache-control: must-understand, no-store, max-age=60 => pass"),
        ("§5.2.1.5", "no-store of the request is heeded", "
            GET | cache-control: no-store -> 200 | cache-control: max-age=60 => pass
            GET -> 200 | cache-control: max-age=60 => store"),
        ("§3", "only GET is stored", "
            POST -> 200 | cache-control: max-age=60 => pass
            PURR -> 200 | cache-control: max-age=60 => pass
            OPTIONS -> 200 | cache-control: max-age=60 => pass
            GET -> 200 | cache-control: max-age=60 => store"),
        ("§3", "an answer to HEAD is not an answer to GET", "
            HEAD -> 200 | cache-control: max-age=60 => pass
            GET -> 200 => pass"),
        ("RFC 9110 §9.3.1", "GET with content passes", "
            GET | \"fat\" -> 200 | cache-control: max-age=60 => pass
            GET -> 200 => pass"),
        ("RFC 9110 §15.4.5", "a 304 to the client's own question passes", "
            GET | if-none-match: \"a\" -> 304 | ?if-none-match: \"a\" | cache-control: max-age=60 => pass
            GET -> 200 => pass"),
        ("§3", "a response with Cookie in its request may be shared", "
            GET | cookie: a=b -> 200 | cache-control: max-age=60 => store
            GET | cookie: c=d => hit | #1"),
        ("RFC 9110 §15.5.17", "a refusal of a range is its client's own", "
            GET | range: bytes=90- -> 416 | cache-control: max-age=60 => pass
            GET -> 200 => pass"),
    ]);
}

#[test]
fn post() {
    check(&[
        (
            "RFC 9110 §9.3.3",
            "an answer to POST that is its target's representation answers GET",
            "
            POST /a?b -> 200 | cache-control: max-age=60 | content-location: /a?b => store
            GET /a?b => hit | #1
            POST /a?b -> 200 => pass
            GET /a?b -> 200 => pass",
        ),
        (
            "RFC 9110 §9.3.3",
            "it takes the place of what was stored",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /a -> 200 | cache-control: max-age=60 | content-location: http://a.test/a => store
            GET /a => hit | #2",
        ),
        (
            "RFC 9110 §9.3.3",
            "not without a lifetime, nor of another URI",
            "
            POST /a -> 200 | etag: \"a\" | content-location: /a => pass
            POST /a -> 200 | cache-control: max-age=60 | content-location: /b => pass
            POST /a -> 200 | cache-control: max-age=60 => pass
            POST /a -> 400 | cache-control: max-age=60 | content-location: /a => pass
            POST /a -> 200 | cache-control: no-store, max-age=60 | content-location: /a => pass
            GET /a -> 200 => pass
            GET /b -> 200 => pass",
        ),
        (
            "RFC 9110 §9.3.3",
            "POST itself is never answered from store",
            "
            POST /a -> 200 | cache-control: max-age=60 | content-location: /a => store
            POST /a -> 200 => pass | #2",
        ),
        (
            "§3.5",
            "credentials count",
            "
            POST /a | authorization: x -> 200 | cache-control: max-age=60 | content-location: /a => pass
            GET /a -> 200 => pass",
        ),
    ]);
}

#[test]
fn credentials() {
    check(&[
        (
            "§3.5",
            "an answer to Authorization is not stored",
            "
            GET | authorization: x -> 200 | cache-control: max-age=60 => pass
            GET -> 200 => pass",
        ),
        (
            "§3.5",
            "but with public",
            "
            GET | authorization: x -> 200 | cache-control: max-age=60, public => store
            GET | authorization: y => hit | #1",
        ),
        (
            "§3.5",
            "or with must-revalidate",
            "
            GET | authorization: x -> 200 | cache-control: max-age=60, must-revalidate => store
            GET => hit",
        ),
        (
            "§3.5",
            "or with s-maxage",
            "
            GET | authorization: x -> 200 | cache-control: s-maxage=60 => store
            GET => hit",
        ),
        (
            "§3.5",
            "not with proxy-revalidate",
            "
            GET | authorization: x -> 200 | cache-control: max-age=60, proxy-revalidate => pass",
        ),
        (
            "§3.5",
            "what is stored answers requests with credentials",
            "
            GET -> 200 | cache-control: max-age=60 => store
            GET | authorization: x => hit",
        ),
    ]);
}

#[test]
fn statuses() {
    let stored = [
        "200", "203", "204", "299", "300", "301", "302", "307", "308", "400", "404", "410",
    ];
    let stored_too = [
        "401", "403", "405", "414", "418", "499", "500", "501", "502", "503", "504", "599",
    ];
    for status in stored.iter().chain(&stored_too) {
        let script = format!(
            "
            GET -> {status} | cache-control: max-age=60 => store
            GET => hit {status}
            +60 GET -> {status} | cache-control: max-age=60 => store"
        );
        check(&[(
            "§3",
            "a final status with a lifetime is stored for it",
            script.leak(),
        )]);
    }
    for status in ["428", "429", "431", "511"] {
        let script = format!(
            "
            GET -> {status} | cache-control: max-age=60 => pass
            GET -> 200 => pass"
        );
        check(&[("RFC 6585", "is never stored", script.leak())]);
    }
}

#[test]
fn fields() {
    check(&[
        ("§3.1", "all fields are stored, repeated ones in order", "
            GET -> 200 | cache-control: max-age=60 | x-a: 1 | x-b: 2 | x-a: 3 => store
            GET => hit | x-a: 1, 3 | x-b: 2"),
        ("§3.1", "those of the connection are not", "
            GET -> 200 | cache-control: max-age=60 | connection: x-a, close | x-a: 1 | x-b: 2 => store
            GET => hit | !x-a | !connection | x-b: 2"),
        ("§3.1", "nor those of hops and proxies", "
            GET -> 200 | cache-control: max-age=60 | keep-alive: a | te: b | upgrade: c | proxy-connection: d => store
            GET => hit | !keep-alive | !te | !upgrade | !proxy-connection"),
        ("§3.1", "nor those of authentication at proxies", "
            GET -> 200 | cache-control: max-age=60 | proxy-authenticate: a | proxy-authentication-info: b => store
            GET => hit | !proxy-authenticate | !proxy-authentication-info"),
        ("§3.1", "Set-Cookie is stored as it came", "
            GET -> 200 | cache-control: max-age=60 | set-cookie: a=b | set-cookie: c=d => store
            GET => hit | set-cookie: a=b, c=d"),
        ("§3.1", "and fields of content", "
            GET -> 200 | cache-control: max-age=60 | content-type: a/b | content-language: en | content-location: /b => store
            GET => hit | content-type: a/b | content-language: en | content-location: /b"),
        ("§3.1", "and ids, nonces and times", "
            GET -> 200 | cache-control: max-age=60 | x-request-id: 1 | retry-after: 9 | content-security-policy: script-src 'nonce-x' => store
            GET => hit | x-request-id: 1 | retry-after: 9 | content-security-policy: script-src 'nonce-x'"),
        ("RFC 9331", "what a limit said is not replayed", "
            GET -> 200 | cache-control: max-age=60 | ratelimit: 1 | ratelimit-policy: 2 | x-ratelimit-limit: 3 => store | ratelimit: 1
            GET => hit | !ratelimit | !ratelimit-policy | !x-ratelimit-limit"),
        ("RFC 9213 §2", "CDN-Cache-Control is passed on", "
            GET -> 200 | cdn-cache-control: max-age=60 => store | cdn-cache-control: max-age=60
            GET => hit | cdn-cache-control: max-age=60"),
        ("RFC 9110 §6.6.1", "Date is added where there is none, and then kept", "
            GET -> 200 | cache-control: max-age=60 => store | date: @0
            +30 GET => hit | date: @-30 | age: 30"),
        ("§4", "Date and Expires are kept as they are stored", "
            GET -> 200 | date: @-5 | expires: @60 => store
            +30 GET => hit | date: @-35 | expires: @30 | age: 35"),
        ("§5.2", "nothing is added for downstream", "
            GET -> 200 => pass | !cache-control | !vary | !etag
            GET -> 200 | expires: @60 => store
            GET => hit | !cache-control | !vary | !etag"),
        ("RFC 9110 §12.5.3", "what a client accepts reaches the service", "
            GET | accept-encoding: gzip -> 200 | ?accept-encoding: gzip | cache-control: max-age=60 => store | !vary"),
    ]);
}
