//! How old a response is (RFC 9111 §4.2.3, §5.1).

use super::script::check;

#[test]
fn age_in() {
    check(&[
        (
            "§4.2.3",
            "Age is taken from the lifetime",
            "
            GET -> 200 | cache-control: max-age=60 | age: 50 => store
            +9 GET => hit | age: 59
            +1 GET -> 200 => pass",
        ),
        (
            "§4.2.3",
            "Age beyond the lifetime is stale",
            "
            GET -> 200 | cache-control: max-age=60 | age: 60 => store
            GET -> 200 => pass",
        ),
        (
            "§4.2.3",
            "Age counts against Expires too",
            "
            GET -> 200 | expires: @60 | age: 60 => store
            GET -> 200 => pass",
        ),
        (
            "§4.2.3",
            "the time since Date is an age",
            "
            GET -> 200 | cache-control: max-age=60 | date: @-50 => store
            +9 GET => hit | age: 59
            +1 GET -> 200 => pass",
        ),
        (
            "§4.2.3",
            "of the two the larger, Age",
            "
            GET -> 200 | cache-control: max-age=60 | date: @-10 | age: 50 => store
            +9 GET => hit | age: 59",
        ),
        (
            "§4.2.3",
            "of the two the larger, Date",
            "
            GET -> 200 | cache-control: max-age=60 | date: @-50 | age: 10 => store
            +9 GET => hit | age: 59",
        ),
        (
            "§4.2.3",
            "a Date ahead of us is no age",
            "
            GET -> 200 | cache-control: max-age=60 | date: @100 => store
            +9 GET => hit | age: 9",
        ),
        (
            "§5.1",
            "the first member counts",
            "
            GET -> 200 | cache-control: max-age=60 | age: 50, 0 => store
            +10 GET -> 200 => pass",
        ),
        (
            "§5.1",
            "and not the second",
            "
            GET -> 200 | cache-control: max-age=60 | age: 0, 50 => store
            +10 GET => hit | age: 10",
        ),
        (
            "§5.1",
            "the first line counts",
            "
            GET -> 200 | cache-control: max-age=60 | age: 50 | age: 0 => store
            +10 GET -> 200 => pass",
        ),
        (
            "§5.1",
            "and not the second",
            "
            GET -> 200 | cache-control: max-age=60 | age: 0 | age: 50 => store
            +10 GET => hit | age: 10",
        ),
        (
            "§5.1",
            "what is not a number is ignored",
            "
            GET /a -> 200 | cache-control: max-age=60 | age: -50 => store
            GET /b -> 200 | cache-control: max-age=60 | age: 50.0 => store
            GET /c -> 200 | cache-control: max-age=60 | age: abc => store
            GET /d -> 200 | cache-control: max-age=60 | age: 90;a=b => store
            GET /e -> 200 | cache-control: max-age=60 | age: \"90\" => store
            +10 GET /a => hit | age: 10
            GET /b => hit | age: 10
            GET /c => hit | age: 10
            GET /d => hit | age: 10
            GET /e => hit | age: 10",
        ),
        (
            "§1.2.2",
            "an Age beyond all numbers is stale",
            "
            GET /a -> 200 | cache-control: max-age=60 | age: 2147483648 => store
            GET /a -> 200 => pass
            GET /b -> 200 | cache-control: max-age=60 | age: 99999999999999999999 => store
            GET /b -> 200 => pass",
        ),
    ]);
}

#[test]
fn age_out() {
    check(&[
        (
            "§5.1",
            "what is stored has Age from the first second",
            "
            GET -> 200 | cache-control: max-age=60 => store | !age
            GET => hit | age: 0",
        ),
        (
            "§5.1",
            "one line, in the place of those received",
            "
            GET -> 200 | cache-control: max-age=600 | age: 7, 8 | age: 9 => store
            +3 GET => hit | age: 10",
        ),
        (
            "§5.1",
            "never below what was received",
            "
            GET -> 200 | cache-control: max-age=600 | age: 300 => store
            GET => hit | age: 300",
        ),
        (
            "§4.3.4",
            "a 304 makes it young again",
            "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +90 GET -> 304 | cache-control: max-age=60 => valid | age: 0
            +5 GET => hit | age: 5",
        ),
        (
            "§4.3.4",
            "but for the age of the 304",
            "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +90 GET -> 304 | cache-control: max-age=60 | age: 20 => valid | age: 20
            +40 GET -> 200 => pass",
        ),
        (
            "RFC 9110 §15.4.5",
            "a 304 from store has Age",
            "
            GET -> 200 | cache-control: max-age=60 | etag: \"a\" => store
            +7 GET | if-none-match: \"a\" => hit 304 | age: 7",
        ),
    ]);
}
