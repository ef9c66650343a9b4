//! `CDN-Cache-Control` (RFC 9213).

use super::script::check;

#[test]
fn targeted() {
    check(&[
        ("§2.2", "replaces a shorter max-age", "
            GET -> 200 | cdn-cache-control: max-age=60 | cache-control: max-age=9 => store
            +59 GET => hit | cache-control: max-age=9 | cdn-cache-control: max-age=60"),
        ("§2.2", "replaces a longer max-age", "
            GET -> 200 | cdn-cache-control: max-age=9 | cache-control: max-age=60 => store
            +9 GET -> 200 => pass"),
        ("§2.2", "replaces s-maxage", "
            GET -> 200 | cdn-cache-control: max-age=60 | cache-control: s-maxage=9 => store
            +59 GET => hit"),
        ("§2.2", "replaces Expires", "
            GET -> 200 | cdn-cache-control: max-age=60 | expires: @9 => store
            +59 GET => hit"),
        ("§2.2", "and a past Expires", "
            GET -> 200 | cdn-cache-control: max-age=60 | expires: 0 => store
            +59 GET => hit"),
        ("§2.2", "gives no lifetime: Expires gives none either", "
            GET -> 200 | cdn-cache-control: public | expires: @60 => pass"),
        ("§2.2", "replaces no-store", "
            GET -> 200 | cdn-cache-control: max-age=60 | cache-control: no-store => store
            GET => hit | cache-control: no-store"),
        ("§2.2", "replaces private", "
            GET -> 200 | cdn-cache-control: max-age=60 | cache-control: private => store
            GET => hit"),
        ("§2.2", "replaces no-cache", "
            GET -> 200 | cdn-cache-control: max-age=60 | cache-control: no-cache => store
            GET => hit"),
        ("§2.2", "its no-store counts", "
            GET -> 200 | cdn-cache-control: no-store | cache-control: max-age=60 => pass"),
        ("§2.2", "its private counts", "
            GET -> 200 | cdn-cache-control: private | cache-control: max-age=60 => pass"),
        ("§2.2", "its no-cache counts", "
            GET -> 200 | cdn-cache-control: no-cache | cache-control: max-age=60 | etag: \"a\" => store
            GET -> 304 => valid"),
        ("§2.2", "its max-age=0 counts", "
            GET -> 200 | cdn-cache-control: max-age=0 | cache-control: max-age=60 | etag: \"a\" => store
            GET -> 304 => valid"),
        ("§2.2", "unknown members are skipped", "
            GET -> 200 | cdn-cache-control: foo, max-age=60, bar=1 => store
            +59 GET => hit"),
        ("§2.1", "parameters are skipped", "
            GET -> 200 | cdn-cache-control: max-age=60;a=b => store
            +59 GET => hit"),
        ("§2.1", "an empty one is none", "
            GET -> 200 | cdn-cache-control: | cache-control: max-age=60 => store
            +59 GET => hit"),
        ("§2.2", "another cache's field is not ours", "
            GET -> 200 | other-cache-control: max-age=60 | cache-control: max-age=9 => store
            +9 GET -> 200 => pass"),
    ]);
    for bad in [
        "max-age=60,",
        "MAX-AGE=60",
        "max-age = 60",
        "max-age=60, ,",
        "max-age=\"60",
        "&",
    ] {
        let script = format!(
            "
            GET -> 200 | cdn-cache-control: {bad} | cache-control: max-age=9 => store
            +8 GET => hit
            +1 GET -> 200 => pass"
        );
        check(&[(
            "§2.1",
            "what is no dictionary is ignored whole",
            script.leak(),
        )]);
    }
    for odd in [
        "max-age=\"60\"",
        "max-age=60.0",
        "max-age=-60",
        "max-age=abc",
        "max-age",
        "max-age=?1",
    ] {
        let script = format!(
            "
            GET -> 200 | cdn-cache-control: {odd} | cache-control: max-age=60 | etag: \"a\" => store
            GET -> 304 => valid"
        );
        check(&[(
            "§2.1",
            "a lifetime that is no integer is stale",
            script.leak(),
        )]);
    }
}
