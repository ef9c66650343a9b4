//! What an unsafe request spoils (RFC 9111 §4.4).

use super::script::check;

#[test]
fn methods() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURR"] {
        for status in ["200", "204", "201", "303"] {
            let script = format!(
                "
                GET -> 200 | cache-control: max-age=60 => store
                {method} -> {status} => pass
                GET -> 200 => pass"
            );
            check(&[(
                "§4.4",
                "a success of an unsafe method spoils its URI",
                script.leak(),
            )]);
        }
        for status in ["400", "404", "500", "503"] {
            let script = format!(
                "
                GET -> 200 | cache-control: max-age=60 => store
                {method} -> {status} => pass
                GET => hit"
            );
            check(&[("§4.4", "a failure spoils nothing", script.leak())]);
        }
    }
    for method in ["HEAD", "OPTIONS", "TRACE"] {
        let script = format!(
            "
            GET -> 200 | cache-control: max-age=60 => store
            {method} | cache-control: no-store -> 200 | \"\" => pass
            GET => hit"
        )
        .replace(
            "HEAD | cache-control: no-store -> 200 | \"\" => pass",
            "HEAD => hit",
        );
        check(&[(
            "RFC 9110 §9.2.1",
            "a safe method spoils nothing",
            script.leak(),
        )]);
    }
}

#[test]
fn reach() {
    check(&[
        (
            "§4.4",
            "all variants",
            "
            GET | foo: 1 -> 200 | cache-control: max-age=60 | vary: foo => store
            GET | foo: 2 -> 200 | cache-control: max-age=60 | vary: foo => store
            POST -> 200 => pass
            GET | foo: 1 -> 200 => pass
            GET | foo: 2 -> 200 => pass",
        ),
        (
            "§4.4",
            "what Location names",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /b -> 201 | location: /a => pass
            GET /a -> 200 => pass",
        ),
        (
            "§4.4",
            "what Content-Location names",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /b -> 200 | content-location: /a => pass
            GET /a -> 200 => pass",
        ),
        (
            "§4.4",
            "in absolute form too, of the same origin",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /b -> 201 | location: http://a.test/a => pass
            GET /a -> 200 => pass",
        ),
        (
            "§4.4",
            "not of another origin",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /b -> 201 | location: http://b.test/a | content-location: //b.test/a => pass
            GET /a => hit",
        ),
        (
            "§4.4",
            "not where it failed",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /b -> 400 | location: /a | content-location: /a => pass
            GET /a => hit",
        ),
        (
            "§4.4",
            "not another path",
            "
            GET /a -> 200 | cache-control: max-age=60 => store
            POST /b -> 200 => pass
            GET /a => hit",
        ),
    ]);
}

#[test]
fn groups() {
    check(&[
        (
            "RFC 9875 §3",
            "an answer to an unsafe method invalidates a group of its origin",
            "
            GET /a -> 200 | cache-control: max-age=60 | cache-groups: \"x\", \"y\" => store
            GET /b -> 200 | cache-control: max-age=60 | cache-groups: \"y\" => store
            GET /c -> 200 | cache-control: max-age=60 | cache-groups: \"z\" => store
            POST /d -> 200 | cache-group-invalidation: \"y\" => pass
            GET /a -> 200 => pass
            GET /b -> 200 => pass
            GET /c => hit",
        ),
        (
            "RFC 9875 §3",
            "not to a safe one",
            "
            GET /a -> 200 | cache-control: max-age=60 | cache-groups: \"x\" => store
            GET /b -> 200 | cache-group-invalidation: \"x\" => pass
            OPTIONS /b -> 200 | cache-group-invalidation: \"x\" => pass
            GET /a => hit",
        ),
        (
            "RFC 9875 §2",
            "not what is of another origin",
            "
            GET /a -> 200 | cache-control: max-age=60 | cache-groups: \"x\" => store
            POST /d | host: b.test -> 200 | cache-group-invalidation: \"x\" => pass
            GET /a => hit",
        ),
        (
            "RFC 9875 §3",
            "it does not cascade",
            "
            GET /a -> 200 | cache-control: max-age=60 | cache-groups: \"x\", \"y\" => store
            GET /b -> 200 | cache-control: max-age=60 | cache-groups: \"y\" => store
            POST /d -> 200 | cache-group-invalidation: \"x\" => pass
            GET /a -> 200 => pass
            GET /b => hit",
        ),
        (
            "RFC 9875 §3",
            "a 304 keeps the groups",
            "
            GET /a -> 200 | cache-control: max-age=60 | etag: \"a\" | cache-groups: \"x\" => store
            +60 GET /a -> 304 => valid
            POST /d -> 200 | cache-group-invalidation: \"x\" => pass
            GET /a -> 200 | ?!if-none-match => pass",
        ),
    ]);
}
