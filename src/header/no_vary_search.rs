//! `No-Vary-Search`: which differences between queries mean nothing to a response.
//!
//! A page that reads `?id=7` and nothing else is the same page for `?id=7&utm_source=x`, and may say so. It is
//! a structured dictionary, and one mistake makes it say nothing: then queries are compared byte for byte.
//!
//! | the field | two queries mean the same if they differ |
//! | --- | --- |
//! | `key-order` | in the order of their names |
//! | `params=("a" "b")` | in `a` and `b` |
//! | `params` | in anything at all |
//! | `params, except=("a")` | in anything but `a` |

use http::HeaderValue;

use super::structured::{self, BareItem, Member};

/// Which differences mean nothing (draft-ietf-httpbis-no-vary-search §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoVarySearch {
    /// Whether the order of different names matters.
    pub(crate) ordered: bool,
    pub(crate) params: Params,
}

/// Which parameters matter, by names as they stand in the field: encoded as in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Params {
    AllBut(Vec<String>),
    NoneBut(Vec<String>),
}

impl NoVarySearch {
    /// Reads all lines of the field; `None` where every difference matters.
    pub(crate) fn parse<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Option<Self> {
        let dictionary = structured::parse_dictionary(lines)?;
        let member = |name: &str| {
            let found = dictionary.iter().find(|(key, _)| key == name);
            found.map(|(_, member)| member)
        };
        let ordered = match member("key-order") {
            Some(member) => !boolean(member)?,
            None => true,
        };
        let params = match (member("params"), member("except")) {
            (Some(Member::InnerList(..)) | None, Some(_)) => return None,
            (None, None) => Params::AllBut(Vec::new()),
            (Some(list @ Member::InnerList(..)), None) => Params::AllBut(names(list)?),
            (Some(item), except) => match (boolean(item)?, except) {
                (true, None) => Params::NoneBut(Vec::new()),
                (true, Some(except)) => Params::NoneBut(names(except)?),
                (false, None) => Params::AllBut(Vec::new()),
                (false, Some(_)) => return None,
            },
        };
        let said = Self { ordered, params };
        let everything_matters = said.ordered && said.params == Params::AllBut(Vec::new());
        (!everything_matters).then_some(said)
    }
}

fn boolean(member: &Member) -> Option<bool> {
    match member {
        Member::Item(item) => match item.value {
            BareItem::Boolean(said) => Some(said),
            _ => None,
        },
        Member::InnerList(..) => None,
    }
}

fn names(member: &Member) -> Option<Vec<String>> {
    let Member::InnerList(items, _) = member else {
        return None;
    };
    let name = |item: &structured::Item| match &item.value {
        BareItem::String(name) => Some(name.clone()),
        _ => None,
    };
    items.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Option<NoVarySearch> {
        NoVarySearch::parse([&HeaderValue::from_bytes(line.as_bytes()).unwrap()])
    }

    fn of(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_form_says_what_does_not_matter() {
        let rows = [
            ("key-order", false, Params::AllBut(of(&[]))),
            ("key-order=?1;x=y", false, Params::AllBut(of(&[]))),
            ("params", true, Params::NoneBut(of(&[]))),
            ("params=?1", true, Params::NoneBut(of(&[]))),
            (
                "params=(\"a\" \"b\")",
                true,
                Params::AllBut(of(&["a", "b"])),
            ),
            ("params=(\"a\";x)", true, Params::AllBut(of(&["a"]))),
            ("params, except=(\"a\")", true, Params::NoneBut(of(&["a"]))),
            ("except=(\"a\"), params", true, Params::NoneBut(of(&["a"]))),
            ("params, except=()", true, Params::NoneBut(of(&[]))),
            (
                "key-order, params=(\"a\")",
                false,
                Params::AllBut(of(&["a"])),
            ),
            ("key-order, params=?0", false, Params::AllBut(of(&[]))),
            ("unknown=7, params", true, Params::NoneBut(of(&[]))),
            ("params=(\"a\"), params", true, Params::NoneBut(of(&[]))),
        ];
        for (line, ordered, params) in rows {
            assert_eq!(
                parse(line),
                Some(NoVarySearch { ordered, params }),
                "{line}"
            );
        }
    }

    #[test]
    fn what_says_nothing_or_is_malformed_leaves_every_difference() {
        for line in [
            "",
            "key-order=?0",
            "params=?0",
            "params=()",
            "unknown",
            "Params",
            "params=",
            "params=a",
            "params=\"a\"",
            "params=1",
            "params=(a)",
            "params=(\"a\" 1)",
            "params=(\"a\"",
            "params=('a')",
            "params,",
            "except=(\"a\")",
            "params=(\"a\"), except=(\"b\")",
            "params=?0, except=(\"a\")",
            "params, except=\"a\"",
            "params, except",
            "params, except=(a)",
            "key-order=1",
            "key-order=(\"a\"), params",
            "key-order=\"a\", params",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(line in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let _ = NoVarySearch::parse([&line]);
            }
        }
    }
}
