//! Which stored response answers which request (RFC 9111 §2, §4).

use super::script::check;

#[test]
fn keys() {
    check(&[
        (
            "§2",
            "another path is another response",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            GET /b -> 200 => pass
            GET /a/ -> 200 => pass
            GET /A -> 200 => pass
            GET /a => hit",
        ),
        (
            "§2",
            "another query is another response",
            "
            GET /a?x=1 -> 200 | cache-control: max-age=60 => store
            GET /a?x=2 -> 200 => pass
            GET /a -> 200 => pass
            GET /a? -> 200 => pass
            GET /a?x=1 => hit",
        ),
        (
            "§2",
            "the query counts byte for byte",
            "
            GET /a?x=1&y=2 -> 200 | cache-control: max-age=60 => store
            GET /a?y=2&x=1 -> 200 => pass
            GET /a?x=1&y=2& -> 200 => pass
            GET /a?%78=1&y=2 -> 200 => pass
            GET /a?x=1&y=2 => hit",
        ),
        (
            "§4",
            "GET answers HEAD, without the content",
            "
            GET -> 200 | cache-control: max-age=60 | \"abc\" => store
            HEAD => hit | \"\" | content-length: 3",
        ),
        (
            "§4",
            "GET does not answer other methods",
            "
            GET -> 200 | cache-control: max-age=60 => store
            OPTIONS -> 200 => pass
            PURR -> 400 => pass
            GET => hit",
        ),
        (
            "§4",
            "a request with conditions of the origin passes",
            "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            GET | if-match: \"b\" -> 412 => pass
            GET | if-unmodified-since: @0 -> 412 => pass
            GET => hit",
        ),
        (
            "§4",
            "status and content are those that were stored",
            "
            GET -> 404 | cache-control: max-age=60 | \"gone\" => store
            GET => hit 404 | \"gone\"",
        ),
        (
            "§4",
            "immutable changes nothing for a request without a wish",
            "
            GET -> 200 | cache-control: max-age=60, immutable => store
            GET => hit",
        ),
        (
            "§4",
            "the latest response answers",
            "
            GET -> 200 | cache-control: max-age=60 => store
            GET | cache-control: no-cache -> 200 | cache-control: max-age=60 => store
            GET => hit | #2",
        ),
    ]);
}

#[test]
fn pragma() {
    check(&[
        (
            "§5.4",
            "Pragma: no-cache asks for validation",
            "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            GET | pragma: no-cache -> 304 | ?if-none-match: \"a\" => valid",
        ),
        (
            "§5.4",
            "not beside Cache-Control",
            "
            GET -> 200 | cache-control: max-age=60 => store
            GET | pragma: no-cache | cache-control: max-age=60 => hit",
        ),
        (
            "§5.4",
            "other words of Pragma mean nothing",
            "
            GET -> 200 | cache-control: max-age=60 => store
            GET | pragma: foo => hit",
        ),
        (
            "§5.4",
            "nor does Pragma in a response",
            "
            GET -> 200 | cache-control: max-age=60 | pragma: no-cache => store
            GET => hit | pragma: no-cache",
        ),
        (
            "§5.4",
            "nor beside a guessed lifetime",
            "
            GET -> 200 | last-modified: @-600 | pragma: no-cache => store
            GET => hit",
        ),
    ]);
}
