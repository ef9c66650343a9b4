//! Validating a stored response: the question, and freshening with its answer (RFC 9111 §4.3).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response;

use super::precondition::stays_when_not_modified;
use super::profile::Profile;
use crate::header::date;
use crate::header::entity_tag::{self, EntityTag};

/// What a stored response can be asked about by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) etag: Option<&'a HeaderValue>,
    pub(crate) last_modified: Option<&'a HeaderValue>,
}

/// What a 304 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirms {
    /// The stored response still holds.
    Stored,
    /// It was asked about the stored response, and names another one: by what it means itself nothing has
    /// changed, but it updates nothing.
    Other,
}

/// Fields by which a client asks for less than the whole.
const CLIENTS_OWN: [HeaderName; 4] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
    header::IF_RANGE,
];

impl<'a> Asked<'a> {
    /// The validators of a response, if it has any. An origin that writes tags in a form of its own may
    /// know them again: in the rfc9111 profile it is asked by whatever it wrote.
    pub(crate) fn of(
        profile: Profile,
        field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>,
    ) -> Option<Self> {
        let is_asked_by = |tag: &&HeaderValue| match profile {
            Profile::Safe => EntityTag::parse(tag.as_bytes()).is_some(),
            Profile::Rfc9111 => !tag.is_empty(),
        };
        let asked = Self {
            etag: field(&header::ETAG).filter(is_asked_by),
            last_modified: field(&header::LAST_MODIFIED),
        };
        (asked.etag.is_some() || asked.last_modified.is_some()).then_some(asked)
    }

    /// Makes a request ask whether the stored response holds (RFC 9111 §4.3.1), and nothing else: what the
    /// client holds itself, and which part it wants, is judged by what comes of it. Otherwise a 304 without
    /// a tag could be about either.
    ///
    /// Where there is a tag, the safe profile does not ask by the date as well: who goes by dates alone
    /// may confirm what the tag would not.
    pub(crate) fn put_to(self, profile: Profile, request: &mut HeaderMap) {
        for name in CLIENTS_OWN {
            request.remove(name);
        }
        let by_date = self.etag.is_none() || profile == Profile::Rfc9111;
        let date = self.last_modified.filter(|_| by_date);
        let tag = self.etag.map(|tag| (header::IF_NONE_MATCH, tag.clone()));
        request.extend(tag);
        request.extend(date.map(|date| (header::IF_MODIFIED_SINCE, date.clone())));
    }

    /// What a 304 with these fields confirms (RFC 9111 §4.3.3, §4.3.4).
    pub(crate) fn confirmed_by(self, not_modified: &HeaderMap) -> Confirms {
        let said = not_modified.get(header::ETAG);
        let Some((ours, said)) = self.etag.zip(said) else {
            return Confirms::Stored;
        };
        let tags = (
            EntityTag::parse(ours.as_bytes()),
            EntityTag::parse(said.as_bytes()),
        );
        let is_ours = match tags {
            (Some(ours), Some(said)) => said.matches_weakly(ours),
            // Nothing is known of what it says.
            (Some(_), None) => true,
            // What is written in a form of its own is known again by its bytes alone.
            (None, _) => said == ours,
        };
        match is_ours {
            true => Confirms::Stored,
            false => Confirms::Other,
        }
    }
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
        header::CONTENT_LENGTH => false,
        header::CONTENT_RANGE => profile == Profile::Rfc9111,
        // The same tag but perhaps for its strength; and bytes that had none are not what a tag of now names.
        header::ETAG => false,
        header::VARY => false,
        // Who says it of content that is not there may mean that content, or none.
        _ => profile == Profile::Rfc9111 || stays_when_not_modified(name, false),
    };
    let names: Vec<HeaderName> = not_modified.keys().filter(updates).cloned().collect();
    for name in names {
        stored.remove(&name);
        for value in not_modified.get_all(&name) {
            stored.append(name.clone(), value.clone());
        }
    }
    // It was selected by what the stored fields name: it varies on that whatever a 304 says.
    for line in not_modified.get_all(header::VARY) {
        if !stored
            .get_all(header::VARY)
            .iter()
            .any(|known| known == line)
        {
            stored.append(header::VARY, line.clone());
        }
    }
    stored
}

/// Whether a 304 names what the client holds, by its own `If-None-Match`, so that it can have it as it is.
pub(crate) fn is_the_clients(request: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let said = not_modified.get(header::ETAG);
    let said = said.and_then(|value| EntityTag::parse(value.as_bytes()));
    said.is_some_and(|said| {
        let lines = request.get_all(header::IF_NONE_MATCH);
        entity_tag::listed(lines).any(|held| held.matches_weakly(said))
    })
}

/// Whether a 304 says itself for how long it holds.
pub(crate) fn names_a_lifetime(not_modified: &HeaderMap) -> bool {
    let names = [header::CACHE_CONTROL, header::EXPIRES, CDN_CACHE_CONTROL];
    names.iter().any(|name| not_modified.contains_key(name))
}

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Whether a modification date tells one version from the next: not if the response was sent within its
/// second (RFC 9110 §8.8.2.2).
pub(crate) fn is_strong(last_modified: &HeaderValue, sent: i64, now: i64) -> bool {
    date::parse(last_modified.as_bytes(), now).is_some_and(|modified| modified < sent)
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
    fn the_question_has_the_stored_validators_and_nothing_of_the_clients() {
        const DATED: Lines = &[("if-modified-since", "x")];
        const TAGGED: Lines = &[("if-none-match", "\"a\"")];
        let rows: [(Lines, Lines, Lines); 6] = [
            (&[("etag", "\"a\"")], &[], TAGGED),
            (&[("etag", "W/\"a\"")], &[], &[("if-none-match", "W/\"a\"")]),
            (
                &[("last-modified", "x")],
                &[("if-none-match", "\"b\""), ("range", "bytes=0-1")],
                DATED,
            ),
            (
                &[("etag", "\"a\""), ("last-modified", "x")],
                &[("if-modified-since", "y")],
                TAGGED,
            ),
            (
                &[("etag", "\"a\"")],
                &[
                    ("if-none-match", "\"b\""),
                    ("if-none-match", "\"a\", \"c\""),
                ],
                TAGGED,
            ),
            (
                &[("etag", "\"a\"")],
                &[("if-none-match", "*"), ("if-range", "\"a\"")],
                TAGGED,
            ),
        ];
        for (stored, client, expected) in rows {
            let stored = fields(stored);
            let mut request = fields(client);
            let asked = Asked::of(Profile::Safe, |name| stored.get(name)).unwrap();
            asked.put_to(Profile::Safe, &mut request);
            assert_eq!(request, fields(expected), "{stored:?} {client:?}");
        }
        let both = fields(&[("etag", "\"a\""), ("last-modified", "x")]);
        let mut request = HeaderMap::new();
        let asked = Asked::of(Profile::Safe, |name| both.get(name)).unwrap();
        asked.put_to(Profile::Rfc9111, &mut request);
        assert_eq!(request.len(), 2, "by the letter of the RFC, both");
        for none in [&[("etag", "a")][..], &[("date", "x")]] {
            let stored = fields(none);
            assert!(
                Asked::of(Profile::Safe, |name| stored.get(name)).is_none(),
                "{none:?}"
            );
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
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], Confirms::Other),
            (
                &[("last-modified", "x")],
                &[("etag", "\"b\"")],
                Confirms::Stored,
            ),
            (&[("last-modified", "x")], &[], Confirms::Stored),
        ];
        for (stored, not_modified, expected) in rows {
            let stored = fields(stored);
            let asked = Asked::of(Profile::Safe, |name| stored.get(name)).unwrap();
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
