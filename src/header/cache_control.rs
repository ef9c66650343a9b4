//! `Cache-Control`, of requests and of responses.
//!
//! The field carries what may be kept, for how long, and who must be asked first. It is written by hand more often
//! than any other, so it arrives with odd letter case, quoted numbers, semicolons for commas, and directives nobody
//! has heard of. Four habits keep every misreading on the safe side:
//!
//! 1. An unknown directive is skipped together with its quoted string, whatever that string contains.
//! 2. A restriction counts even when written with a value it should not have; a permission counts only when written
//!    exactly right.
//! 3. A lifetime that cannot be read is zero; an allowance to serve stale that cannot be read is not given.
//! 4. A quoted string that never ends takes the rest of its line with it, and spoils its own directive.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

use super::list;

/// What one message's `Cache-Control` lines say together (RFC 9111 §5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheControl {
    /// There was at least one field line, be it an empty one.
    pub(crate) present: bool,
    /// Nothing of this exchange may be stored (RFC 9111 §5.2.1.5, §5.2.2.5).
    pub(crate) no_store: bool,
    /// Validate before each reuse, or leave these fields out of it (RFC 9111 §5.2.1.4, §5.2.2.4).
    pub(crate) no_cache: Option<Fields>,
    /// A shared cache may not store the response, or these fields of it (RFC 9111 §5.2.2.7).
    pub(crate) private: Option<Fields>,
    /// Any cache may store the response (RFC 9111 §5.2.2.9).
    pub(crate) public: bool,
    /// Freshness lifetime, or the greatest age a client accepts, in seconds (RFC 9111 §5.2.1.1, §5.2.2.1).
    pub(crate) max_age: Option<u64>,
    /// Freshness lifetime in shared caches, in seconds (RFC 9111 §5.2.2.10).
    pub(crate) s_maxage: Option<u64>,
    /// Never reuse a stale response without validation (RFC 9111 §5.2.2.2).
    pub(crate) must_revalidate: bool,
    /// The same, for shared caches only (RFC 9111 §5.2.2.8).
    pub(crate) proxy_revalidate: bool,
    /// Store only if the status code is understood, and then despite `no-store` (RFC 9111 §5.2.2.3).
    pub(crate) must_understand: bool,
    /// The content must stay as it is (RFC 9111 §5.2.1.6, §5.2.2.6).
    pub(crate) no_transform: bool,
    /// The response will not change while it is fresh (RFC 8246 §2).
    pub(crate) immutable: bool,
    /// How long a stale response may be answered while it is being validated, in seconds (RFC 5861 §3).
    pub(crate) stale_while_revalidate: Option<u64>,
    /// How long a stale response may be answered instead of an error, in seconds (RFC 5861 §4).
    pub(crate) stale_if_error: Option<u64>,
    /// The client wants a stored response or none (RFC 9111 §5.2.1.7).
    pub(crate) only_if_cached: bool,
    /// The client wants a response fresh for this many more seconds (RFC 9111 §5.2.1.3).
    pub(crate) min_fresh: Option<u64>,
    /// The client accepts a stale response (RFC 9111 §5.2.1.2).
    pub(crate) max_stale: Option<MaxStale>,
}

/// Which fields of a response `no-cache` or `private` is about (RFC 9111 §5.2.2.4, §5.2.2.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fields {
    /// The whole response.
    All,
    /// Only the fields with these names.
    Named(Vec<HeaderName>),
}

/// How stale a response the client accepts (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxStale {
    /// Stale by any age.
    Any,
    /// Stale by at most this many seconds.
    Seconds(u64),
}

impl CacheControl {
    /// Reads all lines of the field as one list (RFC 9111 §5.2).
    pub(crate) fn parse<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut parsed = Self::default();
        for line in lines {
            parsed.present = true;
            for member in list::members(line.as_bytes()) {
                parsed.read(member);
            }
        }
        parsed
    }

    /// Reads one directive; of two that contradict each other the first counts (RFC 9111 §4.2.1).
    fn read(&mut self, member: &[u8]) {
        let end = member
            .iter()
            .position(|&byte| !list::is_token_byte(byte))
            .unwrap_or(member.len());
        let (name, rest) = member.split_at(end);
        let mut lowercase = [0; LONGEST_NAME];
        let Some(lowercase) = lowercase.get_mut(..name.len()) else {
            return;
        };
        lowercase.copy_from_slice(name);
        lowercase.make_ascii_lowercase();

        let argument = Argument::after_name(rest);
        let bare = matches!(argument, Argument::Absent);
        match &*lowercase {
            b"no-store" => self.no_store = true,
            b"no-cache" => restrict(&mut self.no_cache, argument.fields()),
            b"private" => restrict(&mut self.private, argument.fields()),
            b"public" => self.public |= bare,
            b"max-age" => first(&mut self.max_age, Some(argument.seconds().unwrap_or(0))),
            b"s-maxage" => first(&mut self.s_maxage, Some(argument.seconds().unwrap_or(0))),
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand |= bare,
            b"no-transform" => self.no_transform = true,
            b"immutable" => self.immutable |= bare,
            b"stale-while-revalidate" => {
                first(&mut self.stale_while_revalidate, argument.seconds());
            }
            b"stale-if-error" => first(&mut self.stale_if_error, argument.seconds()),
            b"only-if-cached" => self.only_if_cached = true,
            b"min-fresh" => first(&mut self.min_fresh, argument.seconds()),
            b"max-stale" if bare => first(&mut self.max_stale, Some(MaxStale::Any)),
            b"max-stale" => first(
                &mut self.max_stale,
                argument.seconds().map(MaxStale::Seconds),
            ),
            _ => {}
        }
    }
}

impl Fields {
    /// The names in this list, or everything when it names nothing or cannot be read (RFC 9111 §5.2.2.4).
    pub(super) fn named(list: &[u8]) -> Self {
        let names: Result<Vec<_>, _> = list::members(list).map(HeaderName::from_bytes).collect();
        match names {
            // Whoever writes single quotes means another name than the one they spell.
            Ok(names) if !names.is_empty() && !list.contains(&b'\'') => Self::Named(names),
            _ => Self::All,
        }
    }
}

/// What follows a directive's name (RFC 9111 §5.2).
enum Argument<'a> {
    Absent,
    /// A token, or what a quoted string means.
    Value(Cow<'a, [u8]>),
    Invalid,
}

impl<'a> Argument<'a> {
    fn after_name(rest: &'a [u8]) -> Self {
        let value = match rest {
            [] => return Self::Absent,
            [b'=', b'"', quoted @ ..] => unquote(quoted),
            [b'=', token @ ..] if token.iter().all(|&byte| list::is_token_byte(byte)) => {
                Some(Cow::Borrowed(token))
            }
            _ => None,
        };
        value.map_or(Self::Invalid, Self::Value)
    }

    /// Whole seconds, at most 2^31 (RFC 9111 §1.2.2).
    fn seconds(&self) -> Option<u64> {
        let Self::Value(digits) = self else {
            return None;
        };
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0, |seconds: u64, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            Some((seconds * 10 + digit).min(MOST_SECONDS))
        })
    }

    fn fields(&self) -> Fields {
        match self {
            Self::Value(list) => Fields::named(list),
            Self::Absent | Self::Invalid => Fields::All,
        }
    }
}

/// The meaning of a quoted string, from behind its first quote to its last byte (RFC 9110 §5.6.4).
fn unquote(quoted: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (last, content) = quoted.split_last()?;
    if *last != b'"' {
        return None;
    }
    if !content.iter().any(|byte| b"\"\\".contains(byte)) {
        return Some(Cow::Borrowed(content));
    }
    let mut meaning = Vec::with_capacity(content.len());
    let mut bytes = content.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            // A backslash before the last quote escapes it, and the string has no end.
            b'\\' => meaning.push(*bytes.next()?),
            _ => meaning.push(byte),
        }
    }
    Some(Cow::Owned(meaning))
}

/// Keeps the first value that could be read.
fn first<T>(kept: &mut Option<T>, read: Option<T>) {
    if kept.is_none() {
        *kept = read;
    }
}

/// Adds one restriction to another: together they name the fields of both, and everything covers any name.
fn restrict(kept: &mut Option<Fields>, read: Fields) {
    match (kept, read) {
        (Some(Fields::All), _) => {}
        (Some(Fields::Named(names)), Fields::Named(more)) => names.extend(more),
        (kept, read) => *kept = Some(read),
    }
}

/// The length of `stale-while-revalidate`, the longest name we know.
const LONGEST_NAME: usize = 22;

/// More seconds than this are read as this many (RFC 9111 §1.2.2).
pub(super) const MOST_SECONDS: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::{CacheControl, Fields, MaxStale};

    fn parse(lines: &[&str]) -> CacheControl {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap())
            .collect();
        CacheControl::parse(&lines)
    }

    /// A present field with nothing in it, to be filled in by a row's expectation.
    fn with(fill: impl FnOnce(&mut CacheControl)) -> CacheControl {
        let mut expected = CacheControl {
            present: true,
            ..CacheControl::default()
        };
        fill(&mut expected);
        expected
    }

    fn named(names: &[&'static str]) -> Option<Fields> {
        Some(Fields::Named(
            names.iter().map(|name| name.parse().unwrap()).collect(),
        ))
    }

    const ALL: Option<Fields> = Some(Fields::All);

    #[test]
    fn absent_field_says_nothing_and_an_empty_one_is_present() {
        assert_eq!(parse(&[]), CacheControl::default());
        for lines in [&[""][..], &[" ", ","], &[", ,\t,"]] {
            assert_eq!(parse(lines), with(|_| {}), "{lines:?}");
        }
    }

    #[test]
    fn every_directive_is_read_in_any_letter_case() {
        let line = "no-store, public, max-age=1, s-maxage=2, must-revalidate, proxy-revalidate, must-understand, \
                    no-transform, immutable, stale-while-revalidate=3, stale-if-error=4, only-if-cached, \
                    min-fresh=5, max-stale=6, no-cache, private";
        let expected = CacheControl {
            present: true,
            no_store: true,
            no_cache: ALL,
            private: ALL,
            public: true,
            max_age: Some(1),
            s_maxage: Some(2),
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            stale_while_revalidate: Some(3),
            stale_if_error: Some(4),
            only_if_cached: true,
            min_fresh: Some(5),
            max_stale: Some(MaxStale::Seconds(6)),
        };
        assert_eq!(parse(&[line]), expected);
        assert_eq!(parse(&[&line.to_uppercase()]), expected);
        assert_eq!(parse(&[&line.replace(", ", " ,, \t")]), expected);
        let lines: Vec<_> = line.split(',').collect();
        assert_eq!(parse(&lines), expected);
    }

    #[test]
    fn max_age_that_cannot_be_read_is_zero() {
        let most = 1 << 31;
        let table = [
            ("max-age=60", 60),
            ("max-age=0", 0),
            ("max-age=0060", 60),
            ("max-age=00000000000000000000000000000060", 60),
            (r#"max-age="60""#, 60),
            (r#"max-age="\60""#, 60),
            ("max-age=2147483647", most - 1),
            ("max-age=2147483648", most),
            ("max-age=2147483649", most),
            ("max-age=99999999999999999999999999999999", most),
            ("max-age", 0),
            ("max-age=", 0),
            (r#"max-age="""#, 0),
            ("max-age=-60", 0),
            ("max-age=+60", 0),
            ("max-age='60'", 0),
            ("max-age=60.0", 0),
            ("max-age=60s", 0),
            ("max-age=6e1", 0),
            ("max-age=abc", 0),
            ("max-age=60 0", 0),
            ("max-age =60", 0),
            ("max-age= 60", 0),
            ("max-age = 60", 0),
            ("max-age\t=60", 0),
            ("max-age 60", 0),
            ("max-age:60", 0),
            ("max-age==60", 0),
            (r#"max-age=" 60""#, 0),
            (r#"max-age="60"#, 0),
            (r#"max-age="60\""#, 0),
            (r#"max-age=60""#, 0),
            (r#"max-age="60"0"#, 0),
            (r#"max-age="6""0""#, 0),
            ("max-age=60; public", 0),
            ("max-age=60, max-age=1", 60),
            ("max-age=1, max-age=60", 1),
            ("max-age=abc, max-age=60", 0),
            ("max-age=60, max-age=abc", 60),
        ];
        for (line, expected) in table {
            assert_eq!(
                parse(&[line]),
                with(|it| it.max_age = Some(expected)),
                "{line}"
            );
            let line = line.replace("max-age", "S-MaxAge");
            assert_eq!(
                parse(&[&line]),
                with(|it| it.s_maxage = Some(expected)),
                "{line}"
            );
        }
        assert_eq!(parse(&["max-age=60", "max-age=1"]).max_age, Some(60));
        assert_eq!(parse(&["max-age=60\u{e9}"]).max_age, Some(0));
    }

    #[test]
    fn allowance_that_cannot_be_read_is_not_given() {
        let table = [
            ("=60", Some(60)),
            ("=\"060\"", Some(60)),
            ("=99999999999999999999", Some(1 << 31)),
            ("=-1", None),
            ("=1.5", None),
            ("= 60", None),
            (" =60", None),
            ("=", None),
            ("=abc", None),
            ("=\"60", None),
        ];
        for (value, expected) in table {
            let line = |name| format!("{name}{value}");
            assert_eq!(
                parse(&[&line("stale-while-revalidate")]).stale_while_revalidate,
                expected,
                "{value}"
            );
            assert_eq!(
                parse(&[&line("stale-if-error")]).stale_if_error,
                expected,
                "{value}"
            );
            assert_eq!(parse(&[&line("min-fresh")]).min_fresh, expected, "{value}");
            let expected = expected.map(MaxStale::Seconds);
            assert_eq!(parse(&[&line("max-stale")]).max_stale, expected, "{value}");
        }
        assert_eq!(parse(&["stale-while-revalidate"]), with(|_| {}));
        assert_eq!(parse(&["stale-if-error, min-fresh"]), with(|_| {}));
        assert_eq!(parse(&["max-stale"]).max_stale, Some(MaxStale::Any));
        assert_eq!(
            parse(&["max-stale=5, max-stale"]).max_stale,
            Some(MaxStale::Seconds(5))
        );
    }

    #[test]
    fn named_fields_restrict_less_than_all_and_anything_unclear_means_all() {
        let table: &[(&[&str], Option<Fields>)] = &[
            (&["private"], ALL),
            (&[r#"private="a""#], named(&["a"])),
            (&[r#"private="a, b""#], named(&["a", "b"])),
            (
                &[r#"private=" ,Set-Cookie,, X-A ""#],
                named(&["set-cookie", "x-a"]),
            ),
            (&["private=set-cookie"], named(&["set-cookie"])),
            (&[r#"private="a\b""#], named(&["ab"])),
            (&[r#"private="a""#, r#"private="b""#], named(&["a", "b"])),
            (&[r#"private="a", private"#], ALL),
            (&[r#"private, private="a""#], ALL),
            (&["private="], ALL),
            (&[r#"private="""#], ALL),
            (&[r#"private=" , ""#], ALL),
            (&[r#"private="a b""#], ALL),
            (&[r#"private="a, b:""#], ALL),
            (&[r#"private="a"b"#], ALL),
            (&[r#"private="a\""#], ALL),
            (&[r#"private="a"#], ALL),
            (&[r#"private = "a""#], ALL),
            (&["private='a'"], ALL),
            (&[r#"private="a, 'b'""#], ALL),
            (&["private=a b"], ALL),
            (&["private;"], ALL),
            (&["PRIVATE"], ALL),
            (&["privat"], None),
            (&["private-ish"], None),
        ];
        for (lines, expected) in table {
            assert_eq!(
                parse(lines),
                with(|it| it.private = expected.clone()),
                "{lines:?}"
            );
            let lines: Vec<_> = lines
                .iter()
                .map(|line| {
                    line.replace("privat", "no-cach")
                        .replace("PRIVATE", "NO-CACHE")
                })
                .collect();
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            assert_eq!(
                parse(&lines),
                with(|it| it.no_cache = expected.clone()),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn quoted_strings_of_other_directives_are_never_directives() {
        let table = [
            r#"foo="no-store, private", max-age=60"#,
            r#"foo="a\", no-store, \"b", max-age=60"#,
            r#"foo="\\", max-age=60, bar="no-store""#,
            r#"foo="max-age=1", max-age=60"#,
            r#""no-store", max-age=60"#,
            r#""no-store, private" , max-age=60"#,
            r#"foo"no-store, private", max-age=60"#,
            r#"foo = ", no-store, ", max-age=60"#,
            r#"max-age=60, foo=", no-store"#,
            r#"max-age=60, foo="\", no-store"#,
            "x-no-store, no-store-x, max-age=60",
            "'no-store', max-age=60",
            "=no-store, max-age=60",
            "foo=no-store, max-age=60",
            "stale-while-revalidate-and-more=1, max-age=60",
        ];
        for line in table {
            assert_eq!(parse(&[line]), with(|it| it.max_age = Some(60)), "{line}");
        }
    }

    #[test]
    fn unterminated_quoted_string_ends_with_its_line() {
        let expected = with(|it| {
            it.public = true;
            it.no_cache = ALL;
            it.no_store = true;
        });
        assert_eq!(
            parse(&[r#"public, no-cache="a, max-age=60"#, "no-store"]),
            expected
        );
    }

    #[test]
    fn restriction_counts_with_any_value_and_a_permission_only_without() {
        let nothing = with(|_| {});
        let restrictions = [
            "no-store",
            "must-revalidate",
            "proxy-revalidate",
            "no-transform",
        ];
        let values = ["=foo", "=\"foo\"", " = foo", "=", ";", " foo", "=\"", "=0"];
        for value in values {
            for name in restrictions {
                let line = format!("{name}{value}");
                assert_eq!(parse(&[&line]), parse(&[name]), "{line}");
                assert_ne!(parse(&[&line]), nothing, "{line}");
            }
            for name in ["public", "must-understand", "immutable"] {
                let line = format!("{name}{value}");
                assert_eq!(parse(&[&line]), nothing, "{line}");
                assert_ne!(parse(&[name]), nothing, "{name}");
            }
        }
    }

    #[test]
    fn bytes_outside_ascii_do_not_hide_directives() {
        let line = HeaderValue::from_bytes(b"\xff, x=\"\xe9\", no-store, y=\x80").unwrap();
        assert!(CacheControl::parse([&line]).no_store);
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(lines in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..64), 0..4,
        )) {
            let lines: Vec<_> =
                lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
            prop_assert_eq!(CacheControl::parse(&lines).present, !lines.is_empty());
        }

        #[test]
        fn no_store_counts_wherever_it_stands(
            before in r#"([a-z-]{1,9}(=[a-z0-9]{0,3}|="([a-z, =]|\\["\\])*")?, ){0,3}"#,
            after in r#"(,[ -~]{0,20}){0,2}"#,
        ) {
            let line = format!("{before}no-store{after}");
            prop_assert!(parse(&[&line]).no_store);
        }

        #[test]
        fn lifetime_is_the_number_or_the_most(seconds: u64) {
            let read = parse(&[&format!("max-age={seconds}")]).max_age;
            prop_assert_eq!(read, Some(seconds.min(1 << 31)));
        }
    }
}
