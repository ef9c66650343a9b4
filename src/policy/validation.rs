//! Validating a stored response: the question, and freshening with its answer (RFC 9111 §4.3).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response;

use super::precondition::is_held;
use super::profile::Profile;
use crate::header::entity_tag::EntityTag;

/// What a stored response can be asked about by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) etag: Option<&'a HeaderValue>,
    pub(crate) last_modified: Option<&'a HeaderValue>,
}

/// Whose question a 304 answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirms {
    /// Ours: the stored response still holds.
    Stored,
    /// The client's: it holds a response that is not the stored one.
    Client,
}

impl<'a> Asked<'a> {
    /// The validators of a response, if it has any.
    pub(crate) fn of(field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>) -> Option<Self> {
        let asked = Self {
            etag: field(&header::ETAG).filter(|tag| EntityTag::parse(tag.as_bytes()).is_some()),
            last_modified: field(&header::LAST_MODIFIED),
        };
        (asked.etag.is_some() || asked.last_modified.is_some()).then_some(asked)
    }

    /// Makes a request ask whether the stored response holds (RFC 9111 §4.3.1). Of the client's own
    /// conditions its entity tags stay beside ours, as the answer may confirm one of them; what else it
    /// asks of the answer is judged when that is there.
    pub(crate) fn put_to(self, request: &mut HeaderMap) {
        for name in [header::RANGE, header::IF_RANGE, header::IF_MODIFIED_SINCE] {
            request.remove(name);
        }
        let Some(etag) = self.etag else {
            request.remove(header::IF_NONE_MATCH);
            request.extend(self.last_modified.map(since));
            return;
        };
        if !is_held(request, etag) {
            let tags = request.get_all(header::IF_NONE_MATCH).iter();
            let tags = tags.filter(|line| line.as_bytes() != b"*");
            let lines: Vec<&[u8]> = [etag]
                .into_iter()
                .chain(tags)
                .map(HeaderValue::as_bytes)
                .collect();
            let all = HeaderValue::from_bytes(&lines.join(&b", "[..]));
            request.insert(header::IF_NONE_MATCH, all.unwrap_or_else(|_| etag.clone()));
        }
        request.extend(self.last_modified.map(since));
    }

    /// Whose question a 304 with these fields answers (RFC 9111 §4.3.3).
    pub(crate) fn confirmed_by(self, not_modified: &HeaderMap) -> Confirms {
        let tag = |value: &'a HeaderValue| EntityTag::parse(value.as_bytes());
        let said = not_modified.get(header::ETAG);
        let said = said.and_then(|value| EntityTag::parse(value.as_bytes()));
        match (self.etag.and_then(tag), said) {
            (Some(ours), Some(said)) if !said.matches_weakly(ours) => Confirms::Client,
            _ => Confirms::Stored,
        }
    }
}

fn since(last_modified: &HeaderValue) -> (HeaderName, HeaderValue) {
    (header::IF_MODIFIED_SINCE, last_modified.clone())
}

/// The fields of a stored response after a 304 (RFC 9111 §3.2): those of the 304 take the place of those
/// that were stored, but for what frames content that it does not carry. What is never stored goes when
/// the result is.
pub(crate) fn freshened(
    profile: Profile,
    mut stored: HeaderMap,
    not_modified: &HeaderMap,
) -> HeaderMap {
    // Without `Date` it was made when it came, not when the stored one was.
    stored.remove(header::DATE);
    let updates = |name: &&HeaderName| match **name {
        header::CONTENT_LENGTH | header::CONTENT_RANGE => false,
        // Who says it of content that is not there may mean that content, or none.
        header::CONTENT_ENCODING => profile == Profile::Rfc9111,
        // The same tag but perhaps for its strength, and the stored bytes are what it named.
        header::ETAG => !stored.contains_key(header::ETAG),
        _ => true,
    };
    let names: Vec<HeaderName> = not_modified.keys().filter(updates).cloned().collect();
    for name in names {
        stored.remove(&name);
        for value in not_modified.get_all(&name) {
            stored.append(name.clone(), value.clone());
        }
    }
    stored
}

/// Whether the 200 to a `HEAD` request is about the stored content: what it says of validators and
/// length is what is stored (RFC 9111 §4.3.5).
pub(crate) fn is_about<'a>(
    said: &response::Parts,
    stored: impl Fn(&HeaderName) -> Option<&'a HeaderValue>,
    length: u64,
) -> bool {
    let tag = |value: &'a HeaderValue| EntityTag::parse(value.as_bytes());
    let said = |name: HeaderName| said.headers.get(name);
    let same_tag = said(header::ETAG).is_none_or(|said| {
        let known = stored(&header::ETAG).and_then(tag);
        let said = EntityTag::parse(said.as_bytes());
        matches!((said, known), (Some(said), Some(known)) if said.matches_weakly(known))
    });
    let same_date =
        said(header::LAST_MODIFIED).is_none_or(|said| stored(&header::LAST_MODIFIED) == Some(said));
    let same_length =
        said(header::CONTENT_LENGTH).is_none_or(|said| *said == HeaderValue::from(length));
    same_tag && same_date && same_length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    type Lines = &'static [(&'static str, &'static str)];

    /// RFC 9111 §4.3.1.
    #[test]
    fn the_question_has_the_stored_validators_beside_the_clients_tags() {
        let rows: [(Lines, Lines, Lines); 8] = [
            (&[("etag", "\"a\"")], &[], &[("if-none-match", "\"a\"")]),
            (&[("etag", "W/\"a\"")], &[], &[("if-none-match", "W/\"a\"")]),
            (
                &[("last-modified", "x")],
                &[("if-none-match", "\"b\""), ("range", "bytes=0-1")],
                &[("if-modified-since", "x")],
            ),
            (
                &[("etag", "\"a\""), ("last-modified", "x")],
                &[("if-modified-since", "y")],
                &[("if-none-match", "\"a\""), ("if-modified-since", "x")],
            ),
            (
                &[("etag", "\"a\"")],
                &[("if-none-match", "\"b\""), ("if-none-match", "\"c\"")],
                &[("if-none-match", "\"a\", \"b\", \"c\"")],
            ),
            (
                &[("etag", "\"a\"")],
                &[("if-none-match", "*"), ("if-range", "\"a\"")],
                &[("if-none-match", "\"a\"")],
            ),
            (
                &[("etag", "\"a\"")],
                &[("if-none-match", "\"a\", \"b\"")],
                &[("if-none-match", "\"a\", \"a\", \"b\"")],
            ),
            (
                &[("etag", "\"a\"")],
                &[("accept", "x"), ("if-none-match", "W/\"a\"")],
                &[("accept", "x"), ("if-none-match", "W/\"a\"")],
            ),
        ];
        for (stored, client, expected) in rows {
            let stored = fields(stored);
            let mut request = fields(client);
            Asked::of(|name| stored.get(name))
                .unwrap()
                .put_to(&mut request);
            assert_eq!(request, fields(expected), "{stored:?} {client:?}");
        }
        for none in [&[("etag", "a")][..], &[("date", "x")]] {
            let stored = fields(none);
            assert!(Asked::of(|name| stored.get(name)).is_none(), "{none:?}");
        }
    }

    /// RFC 9111 §4.3.3, §4.3.4.
    #[test]
    fn a_304_confirms_the_stored_response_unless_it_names_another_one() {
        let rows: [(Lines, Lines, Confirms); 6] = [
            (&[("etag", "\"a\"")], &[("etag", "\"a\"")], Confirms::Stored),
            (
                &[("etag", "\"a\"")],
                &[("etag", "W/\"a\"")],
                Confirms::Stored,
            ),
            (&[("etag", "\"a\"")], &[], Confirms::Stored),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], Confirms::Client),
            (
                &[("last-modified", "x")],
                &[("etag", "\"b\"")],
                Confirms::Stored,
            ),
            (&[("last-modified", "x")], &[], Confirms::Stored),
        ];
        for (stored, not_modified, expected) in rows {
            let stored = fields(stored);
            let asked = Asked::of(|name| stored.get(name)).unwrap();
            assert_eq!(asked.confirmed_by(&fields(not_modified)), expected);
        }
    }

    /// RFC 9111 §3.2.
    #[test]
    fn the_fields_of_a_304_replace_the_stored_ones_but_for_those_of_content() {
        let stored = fields(&[
            ("cache-control", "max-age=1"),
            ("content-length", "10"),
            ("content-type", "a/b"),
            ("date", "then"),
            ("etag", "\"a\""),
            ("x-kept", "1"),
            ("x-two", "1"),
        ]);
        let not_modified = fields(&[
            ("cache-control", "max-age=9"),
            ("content-length", "0"),
            ("date", "now"),
            ("etag", "W/\"a\""),
            ("x-new", "1"),
            ("x-two", "2"),
            ("x-two", "3"),
        ]);
        let expected = fields(&[
            ("cache-control", "max-age=9"),
            ("content-length", "10"),
            ("content-type", "a/b"),
            ("date", "now"),
            ("etag", "\"a\""),
            ("x-kept", "1"),
            ("x-new", "1"),
            ("x-two", "2"),
            ("x-two", "3"),
        ]);
        assert_eq!(
            freshened(Profile::Safe, stored.clone(), &not_modified),
            expected
        );
        assert!(!freshened(Profile::Safe, stored, &fields(&[])).contains_key("date"));
    }

    /// RFC 9111 §4.3.5.
    #[test]
    fn a_200_to_head_is_about_the_stored_content_unless_it_names_another_one() {
        const STORED: Lines = &[("etag", "\"a\""), ("last-modified", "x")];
        let rows: [(Lines, Lines, bool); 10] = [
            (STORED, &[], true),
            (STORED, &[("etag", "\"a\""), ("last-modified", "x")], true),
            (STORED, &[("etag", "W/\"a\"")], true),
            (STORED, &[("etag", "\"b\"")], false),
            (STORED, &[("etag", "b")], false),
            (STORED, &[("last-modified", "y")], false),
            (STORED, &[("etag", "\"a\""), ("last-modified", "y")], false),
            (STORED, &[("content-length", "10")], true),
            (STORED, &[("content-length", "11")], false),
            (&[], &[("etag", "\"a\"")], false),
        ];
        for (stored, said, expected) in rows {
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.headers = fields(said);
            let stored = fields(stored);
            let found = is_about(&parts, |name| stored.get(name), 10);
            assert_eq!(found, expected, "{said:?}");
        }
    }
}
