//! What a request may say of caching (RFC 9111 §5.2.1).

use super::script::check;

#[test]
fn directives() {
    check(&[
        ("§5.2.1.1", "max-age: no older than that", "
            GET -> 200 | cache-control: max-age=600 => store
            +30 GET | cache-control: max-age=30 => hit
            GET | cache-control: max-age=29 -> 200 => pass"),
        ("§5.2.1.1", "max-age=0 asks for validation", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +1 GET | cache-control: max-age=0 -> 304 | ?if-none-match: \"a\" => valid"),
        ("§5.2.1.1", "max-age counts the age that it came with", "
            GET -> 200 | cache-control: max-age=600 | age: 30 => store
            GET | cache-control: max-age=29 -> 200 => pass"),
        ("§5.2.1.2", "max-stale takes what is stale", "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET | cache-control: max-stale => hit | #1 | age: 90"),
        ("§5.2.1.2", "as far as it says", "
            GET -> 200 | cache-control: max-age=60 => store
            +90 GET | cache-control: max-stale=30 => hit
            GET | cache-control: max-stale=29 -> 200 => pass"),
        ("§5.2.1.2", "counted from the end of the lifetime, also of what came stale", "
            GET -> 200 | cache-control: max-age=1500 | age: 2000 => store
            GET | cache-control: max-stale=1000 => hit | age: 2000
            GET | cache-control: max-stale=499 -> 200 => pass"),
        ("§5.2.1.2", "never where stale is forbidden", "
            GET -> 200 | cache-control: max-age=60, must-revalidate => store
            +90 GET | cache-control: max-stale -> 200 => pass"),
        ("§5.2.1.2", "nor s-maxage, which forbids it as well", "
            GET -> 200 | cache-control: s-maxage=60 => store
            +90 GET | cache-control: max-stale -> 200 => pass"),
        ("§5.2.1.3", "min-fresh: fresh for at least that long", "
            GET -> 200 | cache-control: max-age=60 => store
            +30 GET | cache-control: min-fresh=30 => hit
            GET | cache-control: min-fresh=31 -> 200 => pass"),
        ("§5.2.1.4", "no-cache asks for validation", "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            GET | cache-control: no-cache -> 304 | ?if-none-match: \"a\" | ?cache-control: no-cache => valid | #1"),
        ("§5.2.1.4", "or for a new one", "
            GET -> 200 | cache-control: max-age=60 => store
            GET | cache-control: no-cache -> 200 | cache-control: max-age=60 => store | #2
            GET => hit | #2"),
        ("§5.2.1.7", "only-if-cached", "
            GET | cache-control: only-if-cached => none 504
            GET -> 200 | cache-control: max-age=60 => store
            GET | cache-control: only-if-cached => hit
            +60 GET | cache-control: only-if-cached => none 504
            GET | cache-control: only-if-cached, max-stale => hit"),
        ("§5.2.1.7", "in any letter case", "
            GET | cache-control: Only-If-Cached => none 504"),
        ("§5.2.1.5", "no-store of a request does not forbid what is stored", "
            GET -> 200 | cache-control: max-age=60 => store
            GET | cache-control: no-store => hit"),
        ("§5.2", "unknown directives mean nothing", "
            GET -> 200 | cache-control: max-age=60 => store
            GET | cache-control: foo, bar=\"no-cache\" => hit"),
    ]);
}
