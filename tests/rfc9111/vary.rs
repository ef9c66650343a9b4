//! Which variant answers (RFC 9111 §4.1).

use super::script::check;

#[test]
fn variants() {
    check(&[
        ("§4.1", "the same value is answered", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 1 => hit"),
        ("§4.1", "another value is not", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 2 -> 200 => pass"),
        ("§4.1", "absent is not present", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET -> 200 => pass"),
        ("§4.1", "present is not absent", "
            GET -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 1 -> 200 => pass
            GET => hit"),
        ("§4.1", "an empty value is not absent", "
            GET -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: -> 200 => pass"),
        ("§4.1", "two variants lie side by side", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 2 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 1 => hit | #1
            GET | foo: 2 => hit | #2"),
        ("§4.1", "other fields do not matter", "
            GET | foo: 1 | bar: 1 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 1 | bar: 2 => hit"),
        ("§4.1", "two names must both match", "
            GET | foo: 1 | bar: 2 -> 200 | cache-control: max-age=60 | vary: foo, bar => store
            GET | foo: 1 | bar: 3 -> 200 => pass
            GET | foo: 3 | bar: 2 -> 200 => pass
            GET | bar: 2 | foo: 1 => hit"),
        ("§4.1", "names in two lines", "
            GET | foo: 1 | bar: 2 -> 200 | cache-control: max-age=60 | vary: foo | vary: bar => store
            GET | foo: 1 | bar: 3 -> 200 => pass
            GET | foo: 1 | bar: 2 => hit"),
        ("§4.1", "names in any case, and empty members", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: ,FOO,, => store
            GET | foo: 2 -> 200 => pass
            GET | foo: 1 => hit"),
        ("§4.1", "an asterisk matches nothing", "
            GET -> 200 | cache-control: max-age=60 | vary: * => pass
            GET -> 200 => pass"),
        ("§4.1", "nor beside names", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo, * => pass
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: *, foo => pass
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo | vary: * => pass"),
        ("§4.1", "the latest Vary chooses the question", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo | etag: \"a\" => store
            +90 GET | foo: 1 -> 304 | ?foo: 1 | ?if-none-match: \"a\" | cache-control: max-age=60 => valid | #1"),
        ("§4.1", "another variant is not asked about", "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo | etag: \"a\" => store
            +90 GET | foo: 2 -> 200 | ?!if-none-match => pass"),
    ]);
}

#[test]
fn values() {
    check(&[
        ("§4.1", "repeated fields are one", "
            GET | foo: 1 | foo: 2 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 1, 2 => hit
            GET | foo: 2, 1 -> 200 => pass"),
        ("§4.1", "space around commas means nothing", "
            GET | foo: 1,2 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 1, 2 => hit
            GET | foo: 1 ,  2 => hit"),
        ("§4.1", "space within members does", "
            GET | foo: 1 2 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 12 -> 200 => pass
            GET | foo: 1 2 => hit"),
        ("§4.1", "letters count", "
            GET | foo: a -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: A -> 200 => pass"),
        ("§4.1", "but in language tags", "
            GET | accept-language: en-GB, de -> 200 | cache-control: max-age=60 | vary: accept-language => store
            GET | accept-language: EN-gb,DE => hit"),
        ("§4.1", "a cookie selects where the response says so", "
            GET | cookie: a=b -> 200 | cache-control: max-age=60 | vary: cookie => store
            GET | cookie: a=c -> 200 => pass
            GET | cookie: a=b => hit"),
        ("§4.1", "a coding the client accepts selects too", "
            GET | accept-encoding: gzip -> 200 | cache-control: max-age=60 | vary: accept-encoding | content-encoding: gzip => store
            GET -> 200 => pass
            GET | accept-encoding: gzip => hit | content-encoding: gzip"),
    ]);
}

/// What may stand in for errors, for a day, must not keep the next client's variant out.
#[test]
fn stale_variants_make_room() {
    let variant =
        |n: u32| format!("GET | foo: {n} -> 200 | cache-control: max-age=60 | vary: foo => store");
    let mut script: Vec<String> = (0..16).map(variant).collect();
    script.push(variant(16).replace("store", "pass"));
    script.push(format!("+60 {}", variant(17)));
    script.push("GET | foo: 17 => hit".to_owned());
    let script = script.join("\n").leak();
    check(&[("§4.1", "stale variants make room for fresh ones", script)]);
}
