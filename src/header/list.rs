//! Comma-separated lists, the syntax most fields share.
//!
//! A comma separates members, except inside a quoted string, where it is only a comma. Optional whitespace around a
//! member means nothing, and senders may leave members empty. A quoted string that never ends reaches to the end of
//! its line: what follows the quote cannot be told apart from its content.

/// The members of one field line, trimmed, without the empty ones (RFC 9110 §5.6.1).
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoting = Quoting::default();
    line.split(move |&byte| !quoting.holds(byte) && byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// Follows a value byte by byte and knows what lies inside a quoted string (RFC 9110 §5.6.4).
#[derive(Debug, Default)]
pub(super) struct Quoting {
    open: bool,
    escaped: bool,
}

impl Quoting {
    /// Whether the next byte belongs to a quoted string, its two quotes included.
    pub(super) fn holds(&mut self, byte: u8) -> bool {
        if !self.open {
            self.open = byte == b'"';
            return self.open;
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.open = false;
        }
        true
    }
}

/// Whether this byte is optional whitespace (RFC 9110 §5.6.3).
pub(super) fn is_whitespace(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether this byte may stand in a token, such as a field name (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value without the optional whitespace around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value {
        if !is_whitespace(*first) {
            break;
        }
        value = rest;
    }
    while let [rest @ .., last] = value {
        if !is_whitespace(*last) {
            break;
        }
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::members;

    fn strings(line: &str) -> Vec<&str> {
        members(line.as_bytes())
            .map(|member| std::str::from_utf8(member).unwrap())
            .collect()
    }

    #[test]
    fn commas_separate_members_outside_quoted_strings_only() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t ", &[]),
            (",", &[]),
            (", ,\t,", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a ,\tb\t", &["a", "b"]),
            (",a,,b,", &["a", "b"]),
            ("a b", &["a b"]),
            ("a=1, b=2", &["a=1", "b=2"]),
            (r#""a,b""#, &[r#""a,b""#]),
            (r#"x="a,b", c"#, &[r#"x="a,b""#, "c"]),
            (r#"x="a\",b", c"#, &[r#"x="a\",b""#, "c"]),
            (r#"x="a\\", c"#, &[r#"x="a\\""#, "c"]),
            (r#"a\,b"#, &[r"a\", "b"]),
            (r#"x="", y"#, &[r#"x="""#, "y"]),
            (r#"W/"a,b", "c""#, &[r#"W/"a,b""#, r#""c""#]),
        ];
        for (line, expected) in table {
            assert_eq!(strings(line), *expected, "{line}");
        }
    }

    #[test]
    fn unterminated_quoted_string_reaches_to_the_end_of_the_line() {
        assert_eq!(strings(r#"a, b="c, d"#), ["a", r#"b="c, d"#]);
        assert_eq!(strings(r#"a, "b\", c"#), ["a", r#""b\", c"#]);
        assert_eq!(strings(r#"a, ""#), ["a", r#"""#]);
    }

    proptest! {
        #[test]
        fn joined_members_are_read_back(
            written in prop::collection::vec(r#"[a-z=]{1,4}("([a-z, ]|\\["\\,])*")?"#, 0..6),
            gap in "[ \t]{0,2}(,[ \t]{0,2}){1,3}",
        ) {
            let line = written.join(&gap);
            prop_assert_eq!(strings(&line), written);
        }

        #[test]
        fn any_bytes_give_trimmed_members_that_are_not_empty(
            line in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            for member in members(&line) {
                prop_assert!(!b" \t".contains(member.first().unwrap()));
                prop_assert!(!b" \t".contains(member.last().unwrap()));
            }
        }
    }
}
