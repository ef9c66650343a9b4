//! Fields that a service repeats in all its answers, kept once.
//!
//! `Content-Type: application/json` is the same bytes in every stored response of a route, and so
//! are most of its fields. Kept once and for ever as a prebuilt map, they cost a stored response no
//! memory, and an answer one copy of the map instead of one insertion per field and one count of
//! references, which all threads would share, per value.
//!
//! Only fields that say something about a route rather than about one response are looked at, only
//! short values are kept, and only the first few hundred sets of them: what this holds is bounded by
//! [`SETS`] times [`FIELDS`] times [`LONGEST`] bytes. What does not fit belongs to its response.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;

use crate::policy::precondition::stays_when_not_modified;
use crate::policy::stored::Common;

const SETS: usize = 256;
const FIELDS: usize = 12;
const LONGEST: usize = 128;

/// The field that every answer from a cache gets (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

type Line = (HeaderName, HeaderValue);

/// By the hash of their names and values.
#[derive(Default)]
struct Sets {
    seed: DefaultHashBuilder,
    count: usize,
    by_hash: HashMap<u64, Vec<&'static Common>, DefaultHashBuilder>,
}

static KEPT: LazyLock<RwLock<Sets>> = LazyLock::new(RwLock::default);

/// The common part of a response's fields, and the lines that are its own.
///
/// The common part also has a place for `Age` and for `Cache-Status`, which each answer fills in, so
/// that a copy of it need not grow. The lines of one name stay together and in order.
pub(crate) fn split(lines: impl Iterator<Item = Line>) -> (&'static Common, Vec<Line>) {
    let (mut shared, mut own) = (Vec::new(), Vec::<Line>::new());
    for line in lines {
        let (name, value) = &line;
        let is_short = value.len() <= LONGEST && !value.is_sensitive();
        if repeats(name) && is_short && value.to_str().is_ok() {
            shared.push(line);
        } else {
            own.push(line);
        }
    }
    // A name with a value of its own keeps all its lines there.
    let is_mixed = |(name, _): &Line| own.iter().any(|(other, _)| other == name);
    if shared.iter().any(is_mixed) {
        let (mixed, alone) = shared.into_iter().partition::<Vec<_>, _>(is_mixed);
        shared = alone;
        own.extend(mixed);
    }
    if shared.len() > FIELDS {
        own.append(&mut shared);
    }
    match kept(&shared) {
        Some(common) => (common, own),
        None => {
            own.append(&mut shared);
            (kept(&[]).unwrap_or(&EMPTY), own)
        }
    }
}

/// The lines of a common part, without the places that each answer fills in.
pub(crate) fn lines(common: &Common) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let fields = common.all.iter();
    fields.filter(|(name, _)| **name != header::AGE && **name != CACHE_STATUS)
}

static EMPTY: LazyLock<Common> = LazyLock::new(|| for_ever(&[]));

fn kept(shared: &[Line]) -> Option<&'static Common> {
    let known = KEPT.read();
    if let Some(map) = known.find(shared) {
        return Some(map);
    }
    drop(known);
    let mut kept = KEPT.write();
    match kept.find(shared) {
        Some(map) => Some(map), // by another thread, in between
        None if kept.count >= SETS => None,
        None => Some(kept.add(shared)),
    }
}

impl Sets {
    fn find(&self, shared: &[Line]) -> Option<&'static Common> {
        let wanted = || shared.iter().map(|(name, value)| (name, value));
        let maps = self.by_hash.get(&self.hash(shared))?;
        maps.iter().copied().find(|map| lines(map).eq(wanted()))
    }

    fn add(&mut self, shared: &[Line]) -> &'static Common {
        let map: &'static Common = Box::leak(Box::new(for_ever(shared)));
        let hash = self.hash(shared);
        self.by_hash.entry(hash).or_default().push(map);
        self.count += 1;
        map
    }

    fn hash(&self, shared: &[Line]) -> u64 {
        self.seed.hash_one(shared)
    }
}

/// Maps whose values are of static lifetime, so that copying them counts nothing.
fn for_ever(lines: &[Line]) -> Common {
    let mut all = with_places(lines.len());
    let mut not_modified = with_places(lines.len());
    for (name, value) in lines {
        let text: &'static str = String::leak(value.to_str().unwrap_or_default().to_owned());
        let value = HeaderValue::from_static(text);
        // Tags belong to one response: none of them is here.
        if stays_when_not_modified(name, false) {
            not_modified.append(name.clone(), value.clone());
        }
        all.append(name.clone(), value);
    }
    Common { all, not_modified }
}

/// A map with its two places, which come first: that is where [`filled`] looks for them.
fn with_places(lines: usize) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(lines + 2);
    map.insert(header::AGE, HeaderValue::from_static("0"));
    map.insert(CACHE_STATUS, HeaderValue::from_static(""));
    map
}

/// A copy of one map of a common part, with both places filled in. To look where they were put costs less than
/// to search by name; should one not be there after all, the names decide.
#[inline]
pub(crate) fn filled(common: &HeaderMap, age: &HeaderValue, status: &HeaderValue) -> HeaderMap {
    let mut map = common.clone();
    let mut places = map.iter_mut();
    match (places.next(), places.next()) {
        (Some((first, at_first)), Some((second, at_second)))
            if *first == header::AGE && *second == CACHE_STATUS =>
        {
            *at_first = age.clone();
            *at_second = status.clone();
        }
        _ => {
            map.insert(header::AGE, age.clone());
            map.insert(CACHE_STATUS, status.clone());
        }
    }
    map
}

fn repeats(name: &HeaderName) -> bool {
    [
        header::CONTENT_TYPE,
        header::CACHE_CONTROL,
        header::VARY,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_SECURITY_POLICY,
        header::X_CONTENT_TYPE_OPTIONS,
        header::X_FRAME_OPTIONS,
        header::REFERRER_POLICY,
        header::STRICT_TRANSPORT_SECURITY,
        header::ACCEPT_RANGES,
        header::SERVER,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn owned((name, value): (&HeaderName, &HeaderValue)) -> Line {
        (name.clone(), value.clone())
    }

    #[test]
    fn no_line_is_lost_and_lines_of_one_name_keep_their_order() {
        let long = "x".repeat(LONGEST + 1);
        let rows: [&[(&'static str, &str)]; 5] = [
            &[],
            &[
                ("content-type", "a/b"),
                ("etag", "\"1\""),
                ("vary", "accept"),
            ],
            &[("vary", "a"), ("vary", "b"), ("x", "1"), ("x", "2")],
            &[("vary", "a"), ("vary", &long), ("vary", "b")],
            &[
                ("cache-control", "public"),
                ("age", "3"),
                ("cache-status", "up; hit"),
            ],
        ];
        for fields in rows {
            let original = map(fields);
            let (common, own) = split(original.iter().map(owned));
            let mut again = HeaderMap::new();
            for (name, value) in lines(common).chain(own.iter().map(|(name, value)| (name, value)))
            {
                again.append(name.clone(), value.clone());
            }
            for name in original.keys() {
                let of = |map: &HeaderMap| map.get_all(name).iter().cloned().collect::<Vec<_>>();
                assert_eq!(of(&again).len(), of(&original).len(), "{fields:?}");
                if !own
                    .iter()
                    .any(|(own, value)| own == name && value.len() > LONGEST)
                {
                    assert_eq!(of(&again), of(&original), "{fields:?}");
                }
            }
        }
    }

    #[test]
    fn equal_fields_are_kept_once_and_their_number_is_bounded() {
        let json = map(&[("content-type", "application/x-interned")]);
        assert!(std::ptr::eq(
            split(json.iter().map(owned)).0,
            split(json.iter().map(owned)).0
        ));
        for n in 0..2 * SETS {
            let value = format!("max-age={n}");
            let (common, own) = split(map(&[("cache-control", &value)]).iter().map(owned));
            assert_eq!(lines(common).count() + own.len(), 1);
        }
        assert!(KEPT.read().count <= SETS);
    }
}
