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
//!
//! The map also has a place for each field that nearly every response has one line of, with a value of
//! its own: an answer's copy is filled in and need not grow.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;

use crate::header::entity_tag::EntityTag;
use crate::policy::precondition::stays_when_not_modified;
use crate::policy::stored::{Common, Outline, StoredResponse};

const SETS: usize = 256;
const FIELDS: usize = 12;
const LONGEST: usize = 128;

/// The field that every answer from a cache gets (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Fields that have places, in the order of their places and of the lines that fill them.
static PLACED: [HeaderName; 4] = [
    header::ETAG,
    header::LAST_MODIFIED,
    header::DATE,
    header::CONTENT_LENGTH,
];

type Line = (HeaderName, HeaderValue);

/// By the hash of their names and values.
#[derive(Default)]
struct Sets {
    seed: DefaultHashBuilder,
    count: usize,
    by_hash: HashMap<u64, Vec<Set>, DefaultHashBuilder>,
}

/// A common part and which of [`PLACED`] it has places for.
type Set = (Places, &'static Common);
type Places = [bool; PLACED.len()];

static KEPT: LazyLock<RwLock<Sets>> = LazyLock::new(RwLock::default);

/// The common part of a response's fields, and the lines that are its own: first those that fill the
/// places of the common part, in their order.
///
/// `Age` and `Cache-Status` have places too, which each answer fills in. The lines of one name stay
/// together and in order.
pub(crate) fn split(lines: impl Iterator<Item = Line>) -> (&'static Common, Vec<Line>) {
    let lines: Vec<Line> = lines.collect();
    let may_be_shared = |(name, value): &Line| {
        let is_short = value.len() <= LONGEST && !value.is_sensitive();
        repeats(name) && is_short && value.to_str().is_ok()
    };
    // A name with a value of its own keeps all its lines, in their order.
    let alike = |(name, _): &Line| {
        let mut of_name = lines.iter().filter(|(other, _)| other == name);
        of_name.all(may_be_shared)
    };
    let (mut shared, mut own): (Vec<Line>, Vec<Line>) = lines.iter().cloned().partition(alike);
    if shared.len() > FIELDS {
        own.append(&mut shared);
    }
    let places = PLACED.each_ref().map(|name| has_place(name, &own));
    own.sort_by_key(|(name, _)| place_of(name, places)); // stable: repeated lines keep their order
    match kept(places, &shared) {
        Some(common) => (common, own),
        None => {
            own.append(&mut shared);
            (kept(NO_PLACES, &[]).unwrap_or(&EMPTY), own)
        }
    }
}

const NO_PLACES: Places = [false; PLACED.len()];

/// Whether these lines have exactly one of this name. A tag that is none has no place, so that a tag
/// in its place need not be parsed again.
fn has_place(name: &HeaderName, own: &[Line]) -> bool {
    let mut lines = own.iter().filter(|(other, _)| other == name);
    let (first, second) = (lines.next(), lines.next());
    let is_well_formed = |(name, value): &Line| {
        *name != header::ETAG || EntityTag::parse(value.as_bytes()).is_some()
    };
    second.is_none() && first.is_some_and(is_well_formed)
}

/// Those without a place come last.
fn place_of(name: &HeaderName, places: Places) -> usize {
    let place = PLACED.iter().position(|placed| placed == name);
    place.filter(|at| places[*at]).unwrap_or(PLACED.len())
}

/// The lines of a common part, without the places that each answer fills in.
pub(crate) fn lines(common: &Common) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let places = 2 + common.whole.places.len();
    common.whole.map.iter().skip(places)
}

/// All fields of a stored response.
pub(crate) fn all_lines(stored: &StoredResponse) -> HeaderMap {
    let own = stored.lines().iter().map(|(name, value)| (name, value));
    let mut headers = HeaderMap::new();
    for (name, value) in lines(stored.common()).chain(own) {
        headers.append(name.clone(), value.clone());
    }
    headers
}

static EMPTY: LazyLock<Common> = LazyLock::new(|| for_ever(NO_PLACES, &[]));

fn kept(places: Places, shared: &[Line]) -> Option<&'static Common> {
    let known = KEPT.read();
    if let Some(common) = known.find(places, shared) {
        return Some(common);
    }
    drop(known);
    let mut kept = KEPT.write();
    match kept.find(places, shared) {
        Some(common) => Some(common), // by another thread, in between
        None if kept.count >= SETS => None,
        None => Some(kept.add(places, shared)),
    }
}

impl Sets {
    fn find(&self, places: Places, shared: &[Line]) -> Option<&'static Common> {
        let wanted = || shared.iter().map(|(name, value)| (name, value));
        let sets = self.by_hash.get(&self.hash(shared))?;
        let is_it = |(other, common): &&Set| *other == places && lines(common).eq(wanted());
        sets.iter().find(is_it).map(|(_, common)| *common)
    }

    fn add(&mut self, places: Places, shared: &[Line]) -> &'static Common {
        let common: &'static Common = Box::leak(Box::new(for_ever(places, shared)));
        let hash = self.hash(shared);
        self.by_hash.entry(hash).or_default().push((places, common));
        self.count += 1;
        common
    }

    fn hash(&self, shared: &[Line]) -> u64 {
        self.seed.hash_one(shared)
    }
}

/// Maps whose values are of static lifetime, so that copying them counts nothing.
fn for_ever(places: Places, lines: &[Line]) -> Common {
    let has_etag = places[0];
    let lines: Vec<Line> = lines.iter().map(leaked).collect();
    let stays = |name: &HeaderName| stays_when_not_modified(name, has_etag);
    Common {
        whole: outline(places, &lines, |_| true),
        not_modified: outline(places, &lines, stays),
        has_etag,
    }
}

fn leaked((name, value): &Line) -> Line {
    let text: &'static str = String::leak(value.to_str().unwrap_or_default().to_owned());
    (name.clone(), HeaderValue::from_static(text))
}

/// The lines that stay, behind the places, which [`fill`] looks for at the beginning.
fn outline(places: Places, lines: &[Line], stays: impl Fn(&HeaderName) -> bool) -> Outline {
    const EMPTY: HeaderValue = HeaderValue::from_static("");
    let placed = PLACED.iter().zip(places).filter(|(_, has)| *has);
    let places: Vec<(&HeaderName, bool)> = placed.map(|(name, _)| (name, stays(name))).collect();
    let mut map = HeaderMap::with_capacity(lines.len() + places.len() + 2);
    map.insert(header::AGE, EMPTY);
    map.insert(CACHE_STATUS, EMPTY);
    for (name, _) in places.iter().filter(|(_, stays)| *stays) {
        map.insert((*name).clone(), EMPTY);
    }
    for (name, value) in lines.iter().filter(|(name, _)| stays(name)) {
        map.append(name.clone(), value.clone());
    }
    Outline {
        map,
        places: places.into_iter().map(|(_, stays)| stays).collect(),
    }
}

/// Makes `map` a copy of an outline, fills in its places with the first of a response's own lines, and
/// hands back the lines that are left. To look where they were put costs less than to search by
/// name; should one not be there after all, the names decide.
#[inline]
pub(crate) fn fill<'a>(
    map: &mut HeaderMap,
    outline: &Outline,
    own: &'a [Line],
    age: &HeaderValue,
    status: &HeaderValue,
) -> &'a [Line] {
    let (placed, rest) = own.split_at(outline.places.len().min(own.len()));
    // Taken before the map is copied: what was written a moment ago is slow to move.
    let (age_taken, status_taken) = (age.clone(), status.clone());
    *map = outline.map.clone();
    let mut slots = map.iter_mut();
    let mut are_there = put(slots.next(), &header::AGE, age_taken);
    are_there &= put(slots.next(), &CACHE_STATUS, status_taken);
    let placed = placed.iter().zip(&outline.places);
    let placed = placed.filter_map(|(line, stays)| stays.then_some(line));
    for (name, value) in placed.clone() {
        are_there &= put(slots.next(), name, value.clone());
    }
    if !are_there {
        map.insert(header::AGE, age.clone());
        map.insert(CACHE_STATUS, status.clone());
        for (name, value) in placed {
            map.insert(name.clone(), value.clone());
        }
    }
    rest
}

#[inline]
fn put(
    place: Option<(&HeaderName, &mut HeaderValue)>,
    name: &HeaderName,
    value: HeaderValue,
) -> bool {
    match place {
        Some((its, place)) if its == name => {
            *place = value;
            true
        }
        _ => false,
    }
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
        header::VIA,
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
                assert_eq!(of(&again), of(&original), "{fields:?}");
            }
        }
    }

    #[test]
    fn each_value_is_filled_in_under_its_own_name() {
        let rows: [&[(&'static str, &str)]; 7] = [
            &[("etag", "\"1\"")],
            &[("content-length", "1"), ("x", "2"), ("etag", "\"3\"")],
            &[
                ("last-modified", "1"),
                ("date", "2"),
                ("content-length", "3"),
            ],
            &[("etag", "\"1\""), ("etag", "\"2\""), ("date", "3")],
            &[("etag", "no tag"), ("date", "1"), ("content-type", "a/b")],
            &[
                ("x", "1"),
                ("date", "2"),
                ("x", "3"),
                ("etag", "W/\"4\""),
                ("vary", "a"),
            ],
            &[
                ("date", "1"),
                ("last-modified", "2"),
                ("etag", "\"3\""),
                ("vary", "a"),
                ("vary", "b"),
            ],
        ];
        let (age, status) = (HeaderValue::from(7), HeaderValue::from_static("hit"));
        for fields in rows {
            let original = map(fields);
            let (common, own) = split(original.iter().map(owned));
            let has_etag = original.contains_key(header::ETAG);
            for (outline, is_304) in [(&common.whole, false), (&common.not_modified, true)] {
                let stays = |name: &HeaderName| !is_304 || stays_when_not_modified(name, has_etag);
                let mut filled = HeaderMap::new();
                let rest = fill(&mut filled, outline, &own, &age, &status);
                for (name, value) in rest.iter().filter(|(name, _)| stays(name)) {
                    filled.append(name.clone(), value.clone());
                }
                let mut expected = map(&[("age", "7"), ("cache-status", "hit")]);
                for (name, value) in original.iter().filter(|(name, _)| stays(name)) {
                    expected.append(name.clone(), value.clone());
                }
                assert_eq!(filled, expected, "{fields:?}");
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
