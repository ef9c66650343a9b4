//! Asking whether a stored response still holds, and being asked (RFC 9111 §4.3).

use super::script::check;

#[test]
fn questions() {
    check(&[
        ("§4.3.1", "by the entity tag", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 | ?if-none-match: \"a\" | ?!if-modified-since => valid | #1"),
        ("§4.3.1", "by a weak one, as it is", "
            GET -> 200 | cache-control: max-age=60 | etag: W/\"a\" => store
            +60 GET -> 304 | ?if-none-match: W/\"a\" => valid | #1"),
        ("§4.3.1", "by the date of the last change", "
            GET -> 200 | cache-control: max-age=60 | last-modified: @-90 => store
            +60 GET -> 304 | ?if-modified-since: @-150 | ?!if-none-match => valid | #1"),
        ("§4.3.1", "by both", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | last-modified: @-90 => store
            +60 GET -> 304 | ?if-none-match: \"a\" | ?if-modified-since: @-150 => valid | #1"),
        ("§4.3.1", "not at all without a validator", "
            GET -> 200 | cache-control: max-age=60 => store
            +60 GET -> 200 | ?!if-none-match | ?!if-modified-since => pass"),
        ("§4.3.1", "not while it is fresh", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +59 GET => hit"),
        ("§4.3.1", "and not about the tags that the client has, as a 304 without one could be about either", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET | if-none-match: \"b\" -> 304 | ?if-none-match: \"a\" | etag: \"a\" => valid 200 | #1"),
        ("§4.3.1", "in the place of the date that the client has", "
            GET -> 200 | cache-control: max-age=60 | last-modified: @-90 => store
            +60 GET | if-modified-since: @-999 -> 304 | ?if-modified-since: @-150 => valid 200 | #1"),
    ]);
}

#[test]
fn answers() {
    check(&[
        ("§4.3.3", "200 takes the place of what was stored", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 200 | cache-control: max-age=60 | etag: \"b\" => store | #2
            GET => hit | #2 | etag: \"b\""),
        ("§4.3.4", "304 makes it fresh for as long as it says", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 | cache-control: max-age=30 => valid | #1
            +29 GET => hit | #1
            +1 GET -> 304 => valid"),
        ("§4.3.4", "or, where it does not say, as what was stored", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 => valid
            +59 GET => hit"),
        ("§3.2", "its fields replace the stored ones, all lines of them", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | x-a: 1 | x-a: 2 | x-b: 3 => store
            +60 GET -> 304 | x-a: 4 | x-c: 5 => valid | x-a: 4 | x-b: 3 | x-c: 5
            GET => hit | x-a: 4 | x-b: 3 | x-c: 5"),
        ("§3.2", "those of content too", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | content-type: a/b | content-language: en => store
            +60 GET -> 304 | content-type: a/c | content-encoding: x | content-location: /c => valid | content-type: a/c
            GET => hit | content-type: a/c | content-encoding: x | content-location: /c | content-language: en"),
        ("§3.2", "but not the length", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | content-length: 3 | \"abc\" => store
            +60 GET -> 304 | content-length: 0 => valid | content-length: 3 | \"abc\"
            GET => hit | content-length: 3 | \"abc\""),
        ("§3.2", "nor those of the connection", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 | connection: x-a | x-a: 1 | keep-alive: 2 => valid | !x-a | !keep-alive | !connection
            GET => hit | !x-a | !keep-alive"),
        ("§3.2", "its Date is the new one", "
            GET -> 200 | date: @0 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 | date: @0 => valid | date: @0 | age: 0"),
        ("§3.2", "a cookie of the 304 is set", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 | set-cookie: a=b => valid | set-cookie: a=b"),
        ("§4.3.4", "a 304 with another strong tag is not about it", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET | if-none-match: \"b\" -> 304 | etag: \"b\" => pass 304"),
        ("§4.3.4", "a 304 that says no-store is the last use", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 304 | cache-control: no-store => valid | #1"),
        ("§4.3.3", "an error is passed on where stale is forbidden", "
            GET -> 200 | cache-control: max-age=60, must-revalidate | etag: \"a\" => store
            +60 GET -> 503 => pass 503"),
        ("§4.3.3", "404 is an answer", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET -> 404 => pass 404"),
    ]);
}

#[test]
fn being_asked() {
    check(&[
        ("§4.3.2", "If-None-Match that matches", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            GET | if-none-match: \"a\" => hit 304 | etag: \"a\" | \"\""),
        ("§4.3.2", "any of its tags", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            GET | if-none-match: \"x\", \"a\" , \"y\" => hit 304
            GET | if-none-match: \"x\" | if-none-match: \"a\" => hit 304
            GET | if-none-match: \"x\" => hit 200"),
        ("§4.3.2", "weakly, either way", "
            GET /a -> 200 | cache-control: max-age=60 | etag: W/\"a\" => store
            GET /a | if-none-match: \"a\" => hit 304
            GET /b -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            GET /b | if-none-match: W/\"a\" => hit 304"),
        ("§4.3.2", "an asterisk", "
            GET -> 200 | cache-control: max-age=60 => store
            GET | if-none-match: * => hit 304"),
        ("§4.3.2", "a comma in a tag separates nothing", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a,b\" => store
            GET | if-none-match: \"a,b\" => hit 304
            GET | if-none-match: \"a\" => hit 200"),
        ("§4.3.2", "If-Modified-Since, equal or later", "
            GET -> 200 | cache-control: max-age=60 | last-modified: @-90 => store
            GET | if-modified-since: @-90 => hit 304
            GET | if-modified-since: @-80 => hit 304
            GET | if-modified-since: @-91 => hit 200"),
        ("§4.3.2", "in all forms of a date", "
            GET -> 200 | cache-control: max-age=60 | last-modified: Thu, 01 Jan 2025 00:00:00 GMT => store
            GET | if-modified-since: Wednesday, 01-Jan-25 00:00:00 GMT => hit 304
            GET | if-modified-since: Wed Jan  1 00:00:00 2025 => hit 304
            GET | if-modified-since: yesterday => hit 200"),
        ("RFC 9110 §13.1.3", "If-None-Match rules out If-Modified-Since", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | last-modified: @-90 => store
            GET | if-none-match: \"b\" | if-modified-since: @-90 => hit 200
            GET | if-none-match: \"a\" | if-modified-since: @-99 => hit 304"),
        ("RFC 9110 §15.4.5", "a 304 has what caches need of the fields", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | vary: foo | content-location: /b | expires: @60 | date: @0 => store
            GET | if-none-match: \"a\" => hit 304 | cache-control: max-age=60 | etag: \"a\" | vary: foo | content-location: /b | expires: @60 | date: @0"),
        ("§4.3.2", "HEAD too", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            HEAD | if-none-match: \"a\" => hit 304"),
        ("§4.3.2", "only where the answer would be a success", "
            GET -> 404 | cache-control: max-age=60 | etag: \"a\" => store
            GET | if-none-match: \"a\" => hit 404"),
        ("§4.3.2", "the client's condition after ours", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 GET | if-none-match: \"a\" -> 304 | ?if-none-match: \"a\" => valid 304"),
        ("§4.3.2", "without a stored response it is passed on", "
            GET | if-none-match: \"a\" | if-modified-since: @0 -> 304 | ?if-none-match: \"a\" | ?if-modified-since: @0 => pass 304"),
    ]);
}
