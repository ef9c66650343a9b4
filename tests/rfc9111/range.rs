//! Ranges, of what is stored whole and of what is stored in part (RFC 9111 §3.3, §3.4, RFC 9110 §14).

use super::script::check;

#[test]
fn of_the_whole() {
    check(&[
        ("RFC 9110 §14.1.2", "first and last", "
            GET -> 200 | cache-control: max-age=60 | x-a: 1 | \"0123456789\" => store
            GET | range: bytes=0-1 => hit 206 | \"01\" | content-range: bytes 0-1/10 | content-length: 2 | x-a: 1
            GET | range: bytes=2-99 => hit 206 | \"23456789\" | content-range: bytes 2-9/10"),
        ("RFC 9110 §14.1.2", "open-ended", "
            GET -> 200 | cache-control: max-age=60 | \"0123456789\" => store
            GET | range: bytes=7- => hit 206 | \"789\" | content-range: bytes 7-9/10"),
        ("RFC 9110 §14.1.2", "suffix", "
            GET -> 200 | cache-control: max-age=60 | \"0123456789\" => store
            GET | range: bytes=-3 => hit 206 | \"789\" | content-range: bytes 7-9/10"),
        ("RFC 9110 §15.5.17", "behind the end", "
            GET -> 200 | cache-control: max-age=60 | \"0123456789\" => store
            GET | range: bytes=10- => hit 416 | content-range: bytes */10"),
        ("RFC 9110 §14.2", "other units pass", "
            GET -> 200 | cache-control: max-age=60 => store
            GET | range: lines=0-1 -> 200 | ?range: lines=0-1 => pass"),
        ("RFC 9110 §14.2", "what cannot be read asks for the whole", "
            GET -> 200 | cache-control: max-age=60 | \"0123456789\" => store
            GET | range: bytes=5-4 => hit 200 | \"0123456789\""),
        ("RFC 9110 §13.1.5", "If-Range that holds, and one that does not", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | \"0123456789\" => store
            GET | range: bytes=0-1 | if-range: \"a\" => hit 206 | \"01\"
            GET | range: bytes=0-1 | if-range: \"b\" => hit 200 | \"0123456789\"
            GET | range: bytes=0-1 | if-range: W/\"a\" => hit 200"),
        ("§4.3.4", "after validation", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" | \"0123456789\" => store
            +60 GET | range: bytes=0-1 -> 304 | ?if-none-match: \"a\" | ?!range => valid 206 | \"01\""),
        ("RFC 9110 §14.2", "HEAD has no ranges", "
            GET -> 200 | cache-control: max-age=60 | \"0123456789\" => store
            HEAD | range: bytes=0-1 => hit 200"),
    ]);
}

#[test]
fn of_a_part() {
    check(&[
        ("§3.3", "the same range again", "
            GET | range: bytes=2-6 -> 206 | ?range: bytes=2-6 | cache-control: max-age=60 | content-range: bytes 2-6/10 | x-a: 1 | \"23456\" => store
            +9 GET | range: bytes=2-6 => hit 206 | \"23456\" | content-range: bytes 2-6/10 | x-a: 1 | age: 9"),
        ("§3.3", "a range within it", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            GET | range: bytes=3-4 => hit 206 | \"34\" | content-range: bytes 3-4/10 | content-length: 2"),
        ("§3.3", "a range beside it", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            GET | range: bytes=5-8 -> 206 | ?range: bytes=5-8 => pass 206"),
        ("§3.3", "never the whole", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            GET -> 200 | ?!range | \"0123456789\" => pass 200"),
        ("§3.3", "nor HEAD", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            HEAD | range: bytes=2-6 -> 200 | \"\" => pass 200"),
        ("§3.3", "an open end, where the part has it", "
            GET | range: bytes=5- -> 206 | cache-control: max-age=60 | content-range: bytes 5-9/10 | \"56789\" => store
            GET | range: bytes=5- => hit 206 | \"56789\"
            GET | range: bytes=8- => hit 206 | \"89\" | content-range: bytes 8-9/10
            GET | range: bytes=-2 => hit 206 | \"89\" | content-range: bytes 8-9/10
            GET | range: bytes=-6 -> 206 => pass 206"),
        ("§3.3", "no end, where the part has none", "
            GET | range: bytes=0-4 -> 206 | cache-control: max-age=60 | content-range: bytes 0-4/10 | \"01234\" => store
            GET | range: bytes=2- -> 206 => pass 206
            GET | range: bytes=-2 -> 206 => pass 206"),
        ("§3.3", "one byte less than it says", "
            GET | range: bytes=4-9 -> 206 | cache-control: max-age=60 | content-range: bytes 4-9/10 | \"01234\" => store
            GET | range: bytes=4-9 => hit 206 | \"01234\"
            GET | range: bytes=6-7 => hit 206 | \"23\"
            GET | range: bytes=-1 => hit 206 | \"4\""),
        ("§3.3", "any other length is nothing to trust", "
            GET | range: bytes=4-9 -> 206 | cache-control: max-age=60 | content-range: bytes 4-9/10 | \"012\" => store
            GET | range: bytes=4-9 -> 206 => pass 206"),
        ("§3.3", "several ranges are not from a part", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            GET | range: bytes=2-2, 4-4 -> 206 => pass 206"),
        ("§3.3", "a part without a place is not stored", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | \"23456\" => pass
            GET | range: bytes=2-6 -> 206 => pass"),
        ("§3.3", "nor one without a lifetime", "
            GET | range: bytes=2-6 -> 206 | content-range: bytes 2-6/10 | last-modified: @-600 | \"23456\" => pass"),
        ("§3.3", "nor one that is not to be", "
            GET | range: bytes=2-6 -> 206 | cache-control: no-store | content-range: bytes 2-6/10 | \"23456\" => pass"),
        ("§4.2", "a part grows stale like the whole", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            +60 GET | range: bytes=2-6 -> 206 => pass 206"),
        ("§4.1", "and has its variants", "
            GET | foo: 1 | range: bytes=2-6 -> 206 | cache-control: max-age=60 | vary: foo | content-range: bytes 2-6/10 | \"23456\" => store
            GET | foo: 2 | range: bytes=2-6 -> 206 => pass 206
            GET | foo: 1 | range: bytes=2-6 => hit 206"),
        ("§4.4", "and goes with the whole", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            PUT -> 204 => pass
            GET | range: bytes=2-6 -> 206 => pass 206"),
        ("RFC 9110 §13.1.5", "If-Range", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | etag: \"a\" | content-range: bytes 2-6/10 | \"23456\" => store
            GET | range: bytes=2-6 | if-range: \"a\" => hit 206
            GET | range: bytes=2-6 | if-range: \"b\" -> 200 | ?if-range: \"b\" => pass 200"),
        ("§3.4", "the whole comes first, the newer one in any case", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=600 | content-range: bytes 2-6/10 | \"23456\" => store
            +1 GET -> 200 | cache-control: max-age=60 | \"abcdefghij\" => store
            GET | range: bytes=2-6 => hit 206 | \"cdefg\"
            +60 GET | range: bytes=2-6 -> 206 => pass 206"),
        ("§5.2.1.4", "no-cache of a request is heeded", "
            GET | range: bytes=2-6 -> 206 | cache-control: max-age=60 | content-range: bytes 2-6/10 | \"23456\" => store
            GET | range: bytes=2-6 | cache-control: no-cache -> 206 => pass 206"),
    ]);
}
