//! Entity tags, the names of representations, and the lists of them that clients send.
//!
//! A strong tag names exact bytes; a weak one names a meaning that several byte sequences may share. Both are opaque:
//! there are no escapes in them, a comma is only a byte, and `W/` is weak where `w/` is nothing.
//!
//! | | `"a"` and `"a"` | `W/"a"` and `"a"` | `W/"a"` and `W/"a"` | asked by |
//! | --- | --- | --- | --- | --- |
//! | strong comparison | equal | not equal | not equal | `If-Match`, `If-Range` |
//! | weak comparison | equal | equal | equal | `If-None-Match` |

use http::HeaderValue;

use super::list::is_whitespace;

/// One entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    /// What stands between the quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// The value of an `ETag` field. What is not an entity tag is none, and so matches nothing.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::read(value.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Whether both name the same bytes (RFC 9110 §8.8.3.2).
    pub(crate) fn matches_strongly(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Whether both name the same meaning (RFC 9110 §8.8.3.2).
    pub(crate) fn matches_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }

    /// The tag that `value` begins with, and what follows it.
    fn read(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match value.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let text = quoted.strip_prefix(b"\"")?;
        let end = text.iter().position(|byte| !is_tag_byte(*byte))?;
        let (opaque, rest) = text.split_at(end);
        let rest = rest.strip_prefix(b"\"")?;
        Some((Self { weak, opaque }, rest))
    }
}

/// Whether this byte may stand in a tag: visible ASCII without the quote, and everything above it.
pub(crate) const fn is_tag_byte(byte: u8) -> bool {
    byte == 0x21 || (byte >= 0x23 && byte != 0x7f)
}

/// Whether the lines of an `If-Match` or `If-None-Match` say `*`, and nothing else.
pub(crate) fn is_any<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> bool {
    let mut lines = lines.into_iter();
    let first = lines.next().map(|line| line.as_bytes().trim_ascii());
    first == Some(b"*") && lines.next().is_none()
}

/// The entity tags of an `If-Match` or `If-None-Match`. Members that are none are left out.
pub(crate) fn listed<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = EntityTag<'a>> {
    lines.into_iter().flat_map(|line| Members(line.as_bytes()))
}

/// What is left to read of one line. It is not split at commas first, since tags may contain them.
struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        loop {
            self.skip(|byte| is_whitespace(byte) || byte == b',');
            if self.0.is_empty() {
                return None;
            }
            let read = EntityTag::read(self.0);
            // A tag that never ends hides where the next member begins: nothing after it counts.
            if read.is_none() && is_unterminated(self.0) {
                self.0 = &[];
                return None;
            }
            if let Some((_, rest)) = read {
                self.0 = rest;
                self.skip(is_whitespace);
            }
            let stands_alone = self.0.first().is_none_or(|byte| *byte == b',');
            self.skip(|byte| byte != b',');
            match read {
                Some((tag, _)) if stands_alone => return Some(tag),
                _ => {}
            }
        }
    }
}

impl Members<'_> {
    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while let [first, rest @ ..] = self.0 {
            if !skipped(*first) {
                return;
            }
            self.0 = rest;
        }
    }
}

/// Whether something that begins like a tag is not one.
fn is_unterminated(member: &[u8]) -> bool {
    member.strip_prefix(b"W/").unwrap_or(member).first() == Some(&b'"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(lines: &[&str]) -> Vec<HeaderValue> {
        let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
        lines.iter().map(value).collect()
    }

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_tag_is_quoted_and_its_weak_prefix_is_a_capital() {
        let rows = [
            (r#""a""#, Some((false, "a"))),
            (r#"W/"a""#, Some((true, "a"))),
            (r#" "a" "#, Some((false, "a"))),
            (r#""""#, Some((false, ""))),
            (r#""a,b""#, Some((false, "a,b"))),
            (r#""a\""#, Some((false, r"a\"))),
            (r#""W/""#, Some((false, "W/"))),
            (r#""é""#, Some((false, "é"))),
            (r#"w/"a""#, None),
            (r#"W /"a""#, None),
            (r#"W/ "a""#, None),
            ("a", None),
            (r#""a"#, None),
            (r#"a""#, None),
            (r#""a b""#, None),
            (r#""a"b"#, None),
            (r#""a""b""#, None),
            (r#""a", "b""#, None),
            ("*", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let parsed = EntityTag::parse(text.as_bytes()).map(|tag| (tag.weak, tag.opaque));
            let expected = expected.map(|(weak, opaque)| (weak, opaque.as_bytes()));
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn comparison_is_the_table_of_rfc_9110_section_8_8_3_2() {
        let rows = [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
            (r#""a""#, r#""A""#, false, false),
        ];
        for (one, other, strongly, weakly) in rows {
            for (one, other) in [(tag(one), tag(other)), (tag(other), tag(one))] {
                assert_eq!(one.matches_strongly(other), strongly, "{one:?} {other:?}");
                assert_eq!(one.matches_weakly(other), weakly, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn lists_are_read_over_all_lines_without_the_members_that_are_no_tags() {
        let rows: [(&[&str], &[&str]); 14] = [
            (&[r#""a""#], &["a"]),
            (&[r#""a", W/"b""#], &["a", "b"]),
            (&[r#""a"   ,	"b","c""#], &["a", "b", "c"]),
            (&[r#", ,"a",,"#], &["a"]),
            (&[r#""a,b", "c""#], &["a,b", "c"]),
            (&[r#""a\", "c""#], &[r"a\", "c"]),
            (&[r#""a""#, "", r#""b""#], &["a", "b"]),
            (&["a, \"b\""], &["b"]),
            (&[r#"w/"a", "b""#], &["b"]),
            (&[r#""a"b, "c""#], &["c"]),
            (&[r#""a" "b", "c""#], &["c"]),
            (&[r#""open, "b""#], &[]),
            (&[r#""open, "b""#, r#""c""#], &["c"]),
            (&["*"], &[]),
        ];
        for (lines, expected) in rows {
            let lines = values(lines);
            let read: Vec<_> = listed(&lines).map(|tag| tag.opaque).collect();
            let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(read, expected, "{lines:?}");
        }
    }

    #[test]
    fn a_star_stands_alone() {
        let rows: [(&[&str], bool); 6] = [
            (&["*"], true),
            (&[" * "], true),
            (&[], false),
            (&["\"*\""], false),
            (&["*, \"a\""], false),
            (&["*", "*"], false),
        ];
        for (lines, expected) in rows {
            assert_eq!(is_any(&values(lines)), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            written in prop::collection::vec((any::<bool>(), "[!#-~]{0,8}"), 1..8),
            gap in "[ \t]{0,2}(,[ \t]{0,2}){1,3}",
        ) {
            let texts: Vec<_> = written
                .iter()
                .map(|(weak, opaque)| format!("{}\"{opaque}\"", if *weak { "W/" } else { "" }))
                .collect();
            let line = HeaderValue::from_str(&texts.join(&gap)).unwrap();
            let read: Vec<_> = listed([&line]).map(|tag| (tag.weak, tag.opaque)).collect();
            let written: Vec<_> = written.iter().map(|(weak, text)| (*weak, text.as_bytes())).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn any_value_is_read_without_panic_and_gives_tags_that_lie_in_it(
            value in prop::collection::vec(prop::sample::select(b"W/\"a,* \t\\\xff".to_vec()), 0..32),
        ) {
            let line = HeaderValue::from_bytes(&value).unwrap();
            for tag in listed([&line]) {
                prop_assert!(tag.opaque.iter().all(|byte| is_tag_byte(*byte)));
                let quoted = [b"\"", tag.opaque, b"\""].concat();
                prop_assert!(value.windows(quoted.len()).any(|at| at == quoted));
            }
        }
    }
}
