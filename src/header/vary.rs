//! `Vary`, and the request fields it names.
//!
//! A response with `Vary` answers only requests that carry the same values in the fields it names. Two requests may
//! write one value differently: in one line or in three, with or without a space after a comma, a language tag in
//! capitals. Such differences mean nothing and would only split the cache, so values are normalised before they are
//! compared. Nothing else is guessed at: another order, another weight or an empty member is another value, which costs
//! a trip to the origin and never a wrong answer.

use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list::{self, Quoting};

/// What a response's choice depended on (RFC 9110 §12.5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vary {
    /// More than request fields, or a list that cannot be read: no request matches.
    Any,
    /// These request fields, sorted and each once; none at all when the field is absent or empty.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads all `Vary` lines as one list (RFC 9110 §12.5.5).
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(VARY) {
            for member in list::members(line.as_bytes()) {
                match HeaderName::from_bytes(member) {
                    // An asterisk may stand in a name; alone it is none.
                    Ok(name) if name != "*" => names.push(name),
                    _ => return Self::Any,
                }
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::Fields(names)
    }
}

/// The request's value for this field, normalised, or `None` if the field is absent (RFC 9111 §4.1).
///
/// Repeated lines are joined with commas, whitespace around commas and at both ends is dropped, quoted strings are kept
/// as they are, and language tags are in lower case. Normalising a normalised value changes nothing.
pub(crate) fn selecting_value(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    normalise(name, headers, |byte| value.push(byte)).then_some(value)
}

/// Whether [`selecting_value`] of this request is the stored one, found out without allocating (RFC 9111 §4.1).
///
/// `first` is the field's first line, and `stored` must itself come from [`selecting_value`].
#[inline]
pub(crate) fn selecting_value_matches(
    name: &HeaderName,
    first: Option<&HeaderValue>,
    headers: &HeaderMap,
    stored: Option<&[u8]>,
) -> bool {
    let (line, stored) = match (first, stored) {
        (Some(line), Some(stored)) => (line, stored),
        (line, stored) => return line.is_none() && stored.is_none(),
    };
    // Most requests write the value in one line, and as it is stored but for spaces after commas.
    let no_name_repeats = headers.len() == headers.keys_len();
    if no_name_repeats && is_spelled_so(line.as_bytes(), stored) {
        return true;
    }
    let mut rest = Some(stored);
    let present = normalise(name, headers, |byte| {
        rest = rest.and_then(|rest| rest.strip_prefix(&[byte]));
    });
    present && rest.is_some_and(<[u8]>::is_empty)
}

/// Whether a line is the stored value but for spaces after its commas. `false` may also mean that a
/// closer look is needed.
#[inline]
fn is_spelled_so(line: &[u8], stored: &[u8]) -> bool {
    let mut rest = stored;
    let mut after_comma = false;
    for &byte in line {
        if byte == b' ' && after_comma {
            continue;
        }
        match rest.split_first() {
            // Spaces after a comma mean something inside quotes.
            Some((&expected, after)) if byte == expected && byte != b'"' => rest = after,
            _ => return line == stored,
        }
        after_comma = byte == b',';
    }
    rest.is_empty()
}

/// Hands out the normalised value byte by byte, and answers whether the field is present at all.
fn normalise(name: &HeaderName, headers: &HeaderMap, mut emit: impl FnMut(u8)) -> bool {
    let language = *name == ACCEPT_LANGUAGE || *name == CONTENT_LANGUAGE;
    let emit = |byte: u8| match language {
        true => emit(byte.to_ascii_lowercase()),
        false => emit(byte),
    };
    let mut normaliser = Normaliser {
        emit,
        quoting: Quoting::default(),
        at_edge: true,
    };
    let mut present = false;
    for line in headers.get_all(name) {
        if present {
            normaliser.feed(b",");
        }
        present = true;
        normaliser.feed(line.as_bytes());
    }
    present
}

/// Drops the whitespace that means nothing, from a value fed in pieces.
struct Normaliser<F> {
    emit: F,
    /// Runs on from line to line: joined lines are one value, and so is a quoted string that spans them.
    quoting: Quoting,
    /// Nothing but whitespace since the beginning or the last comma.
    at_edge: bool,
}

impl<F: FnMut(u8)> Normaliser<F> {
    /// Takes a whole line, or the comma between two: whitespace that ends a piece is never kept.
    fn feed(&mut self, piece: &[u8]) {
        let mut space_from = None;
        for (at, &byte) in piece.iter().enumerate() {
            let quoted = self.quoting.holds(byte);
            if !quoted && list::is_whitespace(byte) {
                space_from.get_or_insert(at);
                continue;
            }
            let comma = !quoted && byte == b',';
            // Whitespace counts between two bytes of one member only.
            if let (Some(from), false, false) = (space_from.take(), comma, self.at_edge) {
                piece[from..at].iter().copied().for_each(&mut self.emit);
            }
            self.at_edge = comma;
            (self.emit)(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{selecting_value, Vary};

    fn selecting_value_matches(
        name: &HeaderName,
        headers: &HeaderMap,
        stored: Option<&[u8]>,
    ) -> bool {
        super::selecting_value_matches(name, headers.get(name), headers, stored)
    }

    fn map<L: AsRef<[u8]>>(name: &HeaderName, lines: &[L]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_ref()).unwrap());
        }
        headers
    }

    fn fields(names: &[&str]) -> Vary {
        Vary::Fields(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn all_lines_make_one_sorted_list_of_names() {
        let table: &[(&[&str], Vary)] = &[
            (&[], fields(&[])),
            (&[""], fields(&[])),
            (&[" , ,"], fields(&[])),
            (&["accept"], fields(&["accept"])),
            (&["Foo, accept"], fields(&["accept", "foo"])),
            (
                &["accept", "Accept-Encoding"],
                fields(&["accept", "accept-encoding"]),
            ),
            (&["b,,a, ", "", "A ,\tc"], fields(&["a", "b", "c"])),
            (&["a*"], fields(&["a*"])),
            (&["*"], Vary::Any),
            (&["accept, *"], Vary::Any),
            (&["*, accept"], Vary::Any),
            (&["accept", " * "], Vary::Any),
            (&["*", "accept"], Vary::Any),
            (&["**, *"], Vary::Any),
            (&["accept encoding"], Vary::Any),
            (&["accept;"], Vary::Any),
            (&["\"accept\""], Vary::Any),
            (&["\"a, *"], Vary::Any),
            (&["accept, \u{e9}"], Vary::Any),
        ];
        for (lines, expected) in table {
            assert_eq!(
                Vary::parse(&map(&http::header::VARY, lines)),
                *expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn values_are_normalised_outside_quoted_strings() {
        let table: &[(&str, &[&str], Option<&str>)] = &[
            ("foo", &[], None),
            ("foo", &[""], Some("")),
            ("foo", &["  "], Some("")),
            ("foo", &["1"], Some("1")),
            ("foo", &[" 1\t"], Some("1")),
            ("foo", &["1, 2"], Some("1,2")),
            ("foo", &["1 \t,\t 2"], Some("1,2")),
            ("foo", &["1", "2"], Some("1,2")),
            ("foo", &["1 ", " 2"], Some("1,2")),
            ("foo", &["1", "", "2"], Some("1,,2")),
            ("foo", &["1, , 2"], Some("1,,2")),
            ("foo", &[" ,1, "], Some(",1,")),
            ("foo", &["a b"], Some("a b")),
            ("foo", &["a \t b"], Some("a \t b")),
            ("foo", &["a ; q=1 , b"], Some("a ; q=1,b")),
            ("foo", &["A, b"], Some("A,b")),
            ("foo", &[r#""a , b" , c"#], Some(r#""a , b",c"#)),
            ("foo", &[r#" "a\" , b" , c"#], Some(r#""a\" , b",c"#)),
            ("foo", &[r#"a "b , c" d"#], Some(r#"a "b , c" d"#)),
            ("foo", &[r#"a, " b ""#], Some(r#"a," b ""#)),
            ("foo", &[r#""a , b"#], Some(r#""a , b"#)),
            ("foo", &[r#""a "#, r#" b" , c"#], Some(r#""a , b",c"#)),
            (
                "accept-language",
                &["en-GB , DE;q=0.5"],
                Some("en-gb,de;q=0.5"),
            ),
            ("accept-language", &["EN", "de"], Some("en,de")),
            ("content-language", &["DE"], Some("de")),
            ("accept-encoding", &["GZIP"], Some("GZIP")),
        ];
        for (name, lines, expected) in table {
            let name = name.parse().unwrap();
            let headers = map(&name, lines);
            let expected = expected.map(str::as_bytes);
            assert_eq!(
                selecting_value(&name, &headers).as_deref(),
                expected,
                "{lines:?}"
            );
            assert!(
                selecting_value_matches(&name, &headers, expected),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn different_values_do_not_match() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&[], Some("")),
            (&[""], None),
            (&["1"], None),
            (&["1"], Some("")),
            (&["1"], Some("2")),
            (&["1"], Some("1,2")),
            (&["1, 2"], Some("1")),
            (&["1", "2"], Some("1")),
            (&["2, 1"], Some("1,2")),
            (&["a"], Some("A")),
            (&["ab"], Some("a b")),
        ];
        let name = HeaderName::from_static("foo");
        for (lines, stored) in table {
            let stored = stored.map(str::as_bytes);
            assert!(
                !selecting_value_matches(&name, &map(&name, lines), stored),
                "{lines:?}"
            );
        }
    }

    fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(
            prop::collection::vec(prop::sample::select(b"aA ,\t\"\\\xe9".to_vec()), 0..8),
            0..4,
        )
    }

    fn name() -> impl Strategy<Value = HeaderName> {
        prop::sample::select(vec![http::header::ACCEPT, http::header::ACCEPT_LANGUAGE])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn comparing_in_place_gives_the_same_verdict(name in name(), one in lines(), other in lines()) {
            let (one, other) = (map(&name, &one), map(&name, &other));
            let (value, stored) = (selecting_value(&name, &one), selecting_value(&name, &other));
            prop_assert!(selecting_value_matches(&name, &one, value.as_deref()));
            prop_assert_eq!(selecting_value_matches(&name, &one, stored.as_deref()), value == stored);
            // A request that writes exactly what is stored meets the short way.
            let written: Vec<_> = stored.iter().collect();
            prop_assert!(selecting_value_matches(&name, &map(&name, &written), stored.as_deref()));
        }

        #[test]
        fn normalising_twice_changes_nothing(name in name(), lines in lines()) {
            let value = selecting_value(&name, &map(&name, &lines));
            let written: Vec<_> = value.iter().collect();
            prop_assert_eq!(selecting_value(&name, &map(&name, &written)), value);
        }

        #[test]
        fn any_bytes_do_not_panic(line in prop::collection::vec(any::<u8>(), 0..64)) {
            if HeaderValue::from_bytes(&line).is_ok() {
                let _ = Vary::parse(&map(&http::header::VARY, &[line]));
            }
        }
    }
}
