//! Groups of responses that an origin invalidates together (RFC 9875).
//!
//! | field | meaning |
//! | --- | --- |
//! | `Cache-Groups: "a", "b"` | this response is of both groups of its origin |
//! | `Cache-Group-Invalidation: "a"`, in an answer to an unsafe method | what is of that group of the same origin goes |
//!
//! What is invalidated by a group invalidates no other group.

use http::header::HeaderMap;

use super::tag::TagHash;
use crate::header::structured::{parse_list, BareItem, Item, Member};

/// The groups that a response is of, as tags (RFC 9875 §2).
pub(crate) fn of_response(host: &[u8], headers: &HeaderMap) -> Vec<TagHash> {
    listed(host, headers, "cache-groups")
}

/// The groups that an answer to an unsafe method invalidates (RFC 9875 §3).
pub(crate) fn spoiled(host: &[u8], headers: &HeaderMap) -> Vec<TagHash> {
    listed(host, headers, "cache-group-invalidation")
}

/// The strings of a list; what is no list names nothing.
fn listed(host: &[u8], headers: &HeaderMap, name: &str) -> Vec<TagHash> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Vec::new();
    }
    let members = parse_list(lines).unwrap_or_default();
    let group = |member| match member {
        Member::Item(Item {
            value: BareItem::String(group),
            ..
        }) => Some(TagHash::group(host, &group)),
        _ => None,
    };
    members.into_iter().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn groups_are_the_strings_of_a_list_and_belong_to_an_origin() {
        let of = |host: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("cache-groups", HeaderValue::from_static(line));
            }
            of_response(host.as_bytes(), &headers)
        };
        let (a, b) = (
            TagHash::group(b"x.test", "a"),
            TagHash::group(b"x.test", "b"),
        );
        assert_eq!(of("x.test", &["\"a\", \"b\";c=1"]), [a, b]);
        assert_eq!(of("x.test", &["\"a\"", "\"b\""]), [a, b]);
        assert_eq!(of("X.test", &["\"a\", 7, (\"b\"), c"]), [a]);
        assert_eq!(of("x.test", &["\"a\", \"b"]), []);
        assert_eq!(of("x.test", &["\"a\",,\"b\""]), []);
        assert_eq!(of("x.test", &[]), []);
        assert_ne!(of("y.test", &["\"a\""]), [a]);
        assert_ne!(of("x.test", &["\"A\""]), [a], "letters count");
    }
}
