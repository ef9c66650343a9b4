//! `HEAD` (RFC 9111 §4.3.5).

use super::script::check;

#[test]
fn head() {
    check(&[
        ("§4", "a fresh GET answers it", "
            GET -> 200 | cache-control: max-age=60 | x-a: 1 => store
            HEAD => hit | x-a: 1 | \"\""),
        ("§4", "a stale one sends it on, as HEAD and without conditions", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 HEAD -> 200 | ?!if-none-match | \"\" => pass 200"),
        ("§4.3.5", "its 200 freshens the stored GET", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | x-a: 1 | x-b: 2 | \"abc\" => store
            +60 HEAD -> 200 | cache-control: max-age=60 | etag: \"a\" | x-a: 3 | content-length: 3 | \"\" => pass
            +30 GET => hit | \"abc\" | x-a: 3 | x-b: 2 | age: 30"),
        ("§4.3.5", "also without validators", "
            GET -> 200 | cache-control: max-age=60 | x-a: 1 => store
            +60 HEAD -> 200 | cache-control: max-age=90 | x-a: 2 | \"\" => pass
            +89 GET => hit | #1 | x-a: 2"),
        ("§4.3.5", "another tag is another content", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 HEAD -> 200 | cache-control: max-age=60 | etag: \"b\" | \"\" => pass
            GET -> 200 | ?!if-none-match => pass"),
        ("§4.3.5", "another length is another content", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | \"abc\" => store
            +60 HEAD -> 200 | cache-control: max-age=60 | etag: \"a\" | content-length: 4 | \"\" => pass
            GET -> 200 | ?!if-none-match => pass"),
        ("§4.3.5", "another date is another content", "
            GET -> 200 | cache-control: max-age=60 | last-modified: @-90 => store
            +60 HEAD -> 200 | cache-control: max-age=60 | last-modified: @-9 | \"\" => pass
            GET -> 200 | ?!if-modified-since => pass"),
        ("§4.3.5", "what is fresh goes too when a client asks past it", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            HEAD | cache-control: no-cache -> 200 | etag: \"b\" | \"\" => pass
            GET -> 200 => pass"),
        ("§4.3.5", "no other status says anything", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 HEAD -> 404 | \"\" => pass 404
            GET -> 304 | ?if-none-match: \"a\" => valid | #1"),
        ("§4.3.5", "nor of another variant", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo | etag: \"a\" => store
            HEAD | foo: 2 -> 200 | etag: \"b\" | \"\" => pass
            GET | foo: 1 => hit"),
        ("§4.3.5", "what may not be stored any more goes", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 HEAD -> 200 | cache-control: no-store | etag: \"a\" | \"\" => pass
            GET -> 200 | ?!if-none-match => pass"),
        (
            "§3.5",
            "nor does what one client with credentials is told",
            "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +60 HEAD | authorization: x -> 200 | etag: \"b\" | \"\" => pass
            GET -> 304 | ?if-none-match: \"a\" => valid | #1",
        ),
    ]);
}
