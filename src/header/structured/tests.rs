use http::HeaderValue;
use proptest::prelude::*;

use super::BareItem::{self, Boolean, Bytes, Date, Decimal, DisplayString, Integer, Token};
use super::{Item, Member};

fn values(lines: &[&str]) -> Vec<HeaderValue> {
    lines
        .iter()
        .map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap())
        .collect()
}

fn parse_list(lines: &[&str]) -> Option<Vec<Member>> {
    super::parse_list(&values(lines))
}

fn parse_dictionary(lines: &[&str]) -> Option<Vec<(String, Member)>> {
    super::parse_dictionary(&values(lines))
}

fn string(text: &str) -> BareItem {
    BareItem::String(text.into())
}

fn item(value: BareItem) -> Item {
    Item {
        value,
        params: Vec::new(),
    }
}

fn members<const N: usize>(values: [BareItem; N]) -> Option<Vec<Member>> {
    Some(values.map(item).map(Member::Item).into())
}

fn entries<const N: usize>(entries: [(&str, BareItem); N]) -> Option<Vec<(String, Member)>> {
    Some(
        entries
            .map(|(key, value)| (key.into(), Member::Item(item(value))))
            .into(),
    )
}

#[test]
fn items_of_every_type_are_read() {
    let table = [
        ("0", Integer(0)),
        ("-0", Integer(0)),
        ("42", Integer(42)),
        ("-42", Integer(-42)),
        ("0042", Integer(42)),
        ("999999999999999", Integer(999_999_999_999_999)),
        ("-999999999999999", Integer(-999_999_999_999_999)),
        ("1.5", Decimal(1500)),
        ("-1.25", Decimal(-1250)),
        ("0.001", Decimal(1)),
        ("-0.001", Decimal(-1)),
        ("999999999999.999", Decimal(999_999_999_999_999)),
        (r#""""#, string("")),
        (r#""a, b""#, string("a, b")),
        (r#""a\"b\\c""#, string(r#"a"b\c"#)),
        ("a", Token("a".into())),
        ("*", Token("*".into())),
        (
            "A:b/c*'!#$%&+-.^_`|~9",
            Token("A:b/c*'!#$%&+-.^_`|~9".into()),
        ),
        ("::", Bytes(vec![])),
        (":aGVsbG8=:", Bytes(b"hello".into())),
        (":aGVsbG8:", Bytes(b"hello".into())),
        (":aGVsbA==:", Bytes(b"hell".into())),
        (":aGVs:", Bytes(b"hel".into())),
        (":iZ==:", Bytes(vec![0x89])),
        (":/+Ah:", Bytes(vec![0xff, 0xe0, 0x21])),
        ("?1", Boolean(true)),
        ("?0", Boolean(false)),
        ("@1659578233", Date(1_659_578_233)),
        ("@-1", Date(-1)),
        (r#"%"""#, DisplayString(String::new())),
        (r#"%"f%c3%bc %25""#, DisplayString("fü %".into())),
        ("  1 \t", Integer(1)),
    ];
    for (line, expected) in table {
        assert_eq!(parse_list(&[line]), members([expected]), "{line}");
    }
}

/// Refused alone, and with a member that is right after it.
fn assert_void(lines: &[&str]) {
    for line in lines {
        assert_eq!(parse_list(&[line]), None, "{line}");
        assert_eq!(parse_list(&[line, "2"]), None, "{line}");
    }
}

#[test]
fn misplaced_commas_spaces_and_parameters_make_a_list_void() {
    assert_void(&["1,", "1, ", ",1", "1,,2", "1 2", "\t1", "a=1", "{}", "&"]);
    assert_void(&[
        "1;", "1;=2", "1; ", "1;A", "1 ;a", "1;a=", "1;a =1", "1;a= 1",
    ]);
}

#[test]
fn malformed_numbers_booleans_and_dates_make_a_list_void() {
    assert_void(&["-", "--1", "-a", "+1", ".5", "1.", "1.2.3", "1.2345", "1e3"]);
    assert_void(&["1234567890123456", "-1234567890123456", "1234567890123.1"]);
    assert_void(&["99999999999999999999999999999999"]);
    assert_void(&["?", "?2", "?true", "?10", "@", "@1.5", "@a", "@\"1\""]);
}

#[test]
fn malformed_text_makes_a_list_void() {
    assert_void(&["'a'", "\"a", "\"a\\\"", "\"a\\", r#""\a""#, "\"a\tb\""]);
    assert_void(&["\"\u{e9}\"", "\u{e9}", "a\u{e9}"]);
    assert_void(&["%", "%a", "%\"a", r#"%"%g0""#, r#"%"%0"#, "%\"\u{e9}\""]);
    assert_void(&[r#"%"%C3%BC""#, r#"%"%c3""#]);
}

#[test]
fn malformed_byte_sequences_make_a_list_void() {
    assert_void(&[":a", ":a:", ":=:", ":====:", ":a b:", ":aa_-:", ":aa,a:"]);
    assert_void(&[":aGVsbG8=", ":=aGVsbG8=:", ":aGVsbG8=aa:", ":aGVsbG8==:"]);
    assert_void(&[":aGV=:=", ":aG=:", ":\u{e9}:"]);
}

#[test]
fn malformed_inner_lists_make_a_list_void() {
    assert_void(&["(", "(1", "(1 ", ")", "()1", "(1 2", "(1)(2)", "(1,2)"]);
    assert_void(&["(1\t2)", "((1))", r#"("a""b")"#]);
}

#[test]
fn mistake_anywhere_makes_a_dictionary_void() {
    for line in [
        "1", "A", "a=", "a =1", "a= 1", "a,", "a,,b", ",a", "a b", "-a", "a=1=2", "a;A", "a=b=c",
        "\"a\"",
    ] {
        assert_eq!(parse_dictionary(&[line]), None, "{line}");
        assert_eq!(parse_dictionary(&[line, "b"]), None, "{line}");
    }
}

#[test]
fn lines_are_joined_into_one_field() {
    let one_to_three = members([Integer(1), Integer(2), Integer(3)]);
    assert_eq!(parse_list(&[]), members([]));
    assert_eq!(parse_list(&[""]), members([]));
    assert_eq!(parse_list(&["  "]), members([]));
    assert_eq!(parse_list(&["1,2 \t,\t 3"]), one_to_three);
    assert_eq!(parse_list(&["1", "2, 3"]), one_to_three);
    assert_eq!(parse_list(&[" 1 ", "2", " 3 "]), one_to_three);
    assert_eq!(parse_list(&["1", ""]), None);
    assert_eq!(parse_list(&["", "1"]), None);
    assert_eq!(parse_list(&["\"a", "b\""]), members([string("a, b")]));
    assert_eq!(parse_dictionary(&[]), entries([]));
    assert_eq!(
        parse_dictionary(&["a=1", "b"]),
        entries([("a", Integer(1)), ("b", Boolean(true))])
    );
}

#[test]
fn later_key_overwrites_and_keeps_the_first_place() {
    let table: &[(&str, _)] = &[
        (
            "a=1, b=2, a=3",
            entries([("a", Integer(3)), ("b", Integer(2))]),
        ),
        (
            "a, b, a=?0, b",
            entries([("a", Boolean(false)), ("b", Boolean(true))]),
        ),
        ("*a-_.9=x", entries([("*a-_.9", Token("x".into()))])),
    ];
    for (line, expected) in table {
        assert_eq!(parse_dictionary(&[line]), *expected, "{line}");
    }
    let params = vec![("a".into(), Integer(3)), ("b".into(), Boolean(true))];
    let expected = vec![Member::Item(Item {
        value: Token("x".into()),
        params,
    })];
    assert_eq!(parse_list(&["x;a=1;  b;a=3"]), Some(expected));
}

#[test]
fn inner_lists_hold_items_and_have_parameters() {
    let q = |value| vec![("q".into(), value)];
    let expected = vec![
        Member::InnerList(vec![], vec![]),
        Member::InnerList(
            vec![
                item(string("a")),
                Item {
                    value: Integer(1),
                    params: q(Integer(2)),
                },
            ],
            vec![],
        ),
        Member::InnerList(vec![item(Token("x".into()))], q(Decimal(500))),
    ];
    assert_eq!(
        parse_list(&[r#"(), ( "a"  1;q=2 ), (x);q=0.5"#]),
        Some(expected)
    );

    let expected = vec![
        (
            "a".into(),
            Member::InnerList(vec![item(Integer(1)), item(Integer(2))], q(Boolean(true))),
        ),
        (
            "b".into(),
            Member::Item(Item {
                value: Boolean(true),
                params: q(Integer(1)),
            }),
        ),
    ];
    assert_eq!(parse_dictionary(&["a=(1 2);q, b;q=1"]), Some(expected));
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(line in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            let _ = super::parse_list([&line]);
            let _ = super::parse_dictionary([&line]);
        }
    }

    #[test]
    fn nearly_right_fields_do_not_panic(line in r#"[a-z0-9A?@%:;=().,"\\* -]{0,24}"#) {
        let _ = parse_list(&[&line]);
        let _ = parse_dictionary(&[&line]);
    }

    #[test]
    fn integers_are_read_back(number in -999_999_999_999_999..=999_999_999_999_999_i64) {
        prop_assert_eq!(parse_list(&[&number.to_string()]), members([Integer(number)]));
        prop_assert_eq!(parse_list(&[&format!("@{number}")]), members([Date(number)]));
    }

    #[test]
    fn strings_are_read_back(text in "[ -~]{0,24}") {
        let line = format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
        prop_assert_eq!(parse_list(&[&line]), members([string(&text)]));
    }
}
