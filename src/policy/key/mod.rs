//! The primary cache key: what a request must share with another one to get its answer
//! (RFC 9111 §2, §4).
//!
//! A key is a list of labelled, length-prefixed parts, so that no two lists have the same bytes: a
//! user called `a` with the extra part `bc` never meets a user `ab` with the part `c`. The bytes
//! themselves are compared on every hit; hashes only find the place to look.
//!
//! ```text
//! domain  class  (label  length:u16  bytes)*
//! ```
//!
//! The query is kept as parsed pairs, sorted stably by decoded name, so that `?a=1&b=2` and
//! `?b=2&a=1` share a response while `?a=1&a=2` and `?a=2&a=1`, which a handler can tell apart, do
//! not. Pairs keep their own spelling: only the *order* of different names is forgotten.

use std::borrow::Cow;
use std::cmp::Ordering;

/// What a key is made of. The discriminants are stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Label {
    Namespace = 1,
    Scheme = 2,
    Host = 3,
    Path = 4,
    /// The kept query pairs, in the order of the key.
    Query = 5,
    User = 6,
    Extra = 7,
    /// An extra part that a request does not have, which differs from an empty one.
    ExtraAbsent = 8,
    ContentType = 9,
    /// The digest of the content that keys the request.
    Digest = 10,
    /// The name of a typed value of `get_or_compute`.
    Name = 11,
    ContentEncoding = 12,
    ContentLanguage = 13,
    /// The path that the route sees, where nesting or a rewrite made it another than the original.
    RoutedPath = 14,
    /// The query that the route sees, where a rewrite made it another than the original.
    RoutedQuery = 15,
    /// One part of what the rest of the key names.
    Part = 16,
    /// What is stored by the rfc9111 profile is not for routes of the safe one.
    Rfc9111 = 17,
}

impl Label {
    #[cfg(test)]
    const ALL: [Self; 17] = [
        Self::Namespace,
        Self::Scheme,
        Self::Host,
        Self::Path,
        Self::Query,
        Self::User,
        Self::Extra,
        Self::ExtraAbsent,
        Self::ContentType,
        Self::Digest,
        Self::Name,
        Self::ContentEncoding,
        Self::ContentLanguage,
        Self::RoutedPath,
        Self::RoutedQuery,
        Self::Part,
        Self::Rfc9111,
    ];
}

/// The method class, or the domain of typed values: the first byte of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    /// `GET` and `HEAD`, which share stored responses.
    Get = b'G',
    /// `POST`, where a route caches it.
    Post = b'P',
    /// `QUERY` (RFC 10008).
    Query = b'Q',
    /// Values of `get_or_compute`, which never meet responses.
    Typed = b'T',
}

/// The key would be longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Writes a key into a buffer that the caller may use again.
pub(crate) struct KeyWriter<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
    overflow: bool,
}

impl<'a> KeyWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, class: Class, limit: usize) -> Self {
        out.clear();
        out.push(class as u8);
        Self {
            out,
            limit,
            overflow: false,
        }
    }

    #[inline]
    pub(crate) fn part(&mut self, label: Label, bytes: &[u8]) {
        let Ok(length) = u16::try_from(bytes.len()) else {
            self.overflow = true;
            return;
        };
        let [high, low] = length.to_be_bytes();
        self.out.reserve(3 + bytes.len());
        self.out.extend_from_slice(&[label as u8, high, low]);
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn finish(self) -> Result<(), TooLong> {
        if self.overflow || self.out.len() > self.limit {
            Err(TooLong)
        } else {
            Ok(())
        }
    }
}

/// The key of a part of what is stored under `key`, should it be stored by itself.
pub(crate) fn of_part(key: &[u8]) -> Vec<u8> {
    [key, &[Label::Part as u8, 0, 0]].concat()
}

/// The key that a part's key was made of.
pub(crate) fn of_whole(key: &[u8]) -> Option<&[u8]> {
    key.strip_suffix(&[Label::Part as u8, 0, 0])
}

/// A key without its query, and the query. `None` where a key has none to speak of: of typed values, of
/// requests keyed by content, and where a rewrite made of the query what nobody else could tell.
pub(crate) fn split_query(key: &[u8]) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let mut query = None;
    let mut path = vec![*key.first().filter(|class| **class == Class::Get as u8)?];
    for (label, bytes) in parts(key) {
        if label == Label::Query as u8 {
            query = Some(bytes);
        } else if label == Label::RoutedQuery as u8 || label == Label::Part as u8 {
            return None;
        } else {
            let length = u16::try_from(bytes.len()).ok()?;
            path.push(label);
            path.extend_from_slice(&length.to_be_bytes());
            path.extend_from_slice(bytes);
        }
    }
    Some((path, query))
}

/// A key for people to read (RFC 9211 §2.7): method, host, path and query, and which kinds of parts it has
/// beside them. Not what those are: a user's name is nobody's business.
pub(crate) fn shown(key: &[u8]) -> String {
    let mut shown = match key.first() {
        Some(b'P') => "POST ".to_owned(),
        Some(b'Q') => "QUERY ".to_owned(),
        _ => "GET ".to_owned(),
    };
    let mut beside: Vec<&str> = Vec::new();
    for (label, bytes) in parts(key) {
        match label {
            label if label == Label::Query as u8 => shown.push('?'),
            label if label == Label::Host as u8 || label == Label::Path as u8 => {}
            label if label == Label::User as u8 => beside.push(" +user"),
            label if label == Label::Digest as u8 => beside.push(" +content"),
            label if label == Label::Extra as u8 || label == Label::ExtraAbsent as u8 => {
                beside.push(" +part");
            }
            _ => continue,
        }
        if beside.is_empty() {
            bytes.iter().for_each(|byte| show(&mut shown, *byte));
        }
    }
    shown.extend(beside);
    shown
}

fn show(shown: &mut String, byte: u8) {
    match byte {
        _ if shown.len() >= LONGEST_SHOWN => {}
        b'!'..=b'~' if !b"\"\\%".contains(&byte) => shown.push(char::from(byte)),
        b'%' => shown.push('%'), // escaped already, in a path or a query
        byte => shown.push_str(&format!("%{byte:02X}")),
    }
}

/// How much of a key people read.
const LONGEST_SHOWN: usize = 512;

/// Whether two keys are the same bytes. Eight at a time, which for a hundred bytes costs less than a
/// call of `memcmp`.
#[inline]
pub(crate) fn same_key(a: &[u8], b: &[u8]) -> bool {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    a.len() == b.len()
        && a_words.iter().map(word).eq(b_words.iter().map(word))
        && a_rest.iter().eq(b_rest)
}

/// The parts of a key, in the order in which they were written.
pub(crate) fn parts(key: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = key.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&label, after) = rest.split_first()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (bytes, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some((label, bytes))
    })
}

/// Which query parameters a route's responses depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueryRule {
    /// All of them.
    #[default]
    All,
    /// All of them, byte for byte.
    Verbatim,
    /// These and no others.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

impl QueryRule {
    /// Whether a parameter of this (decoded) name is part of the key.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        match self {
            Self::All | Self::Verbatim => true,
            Self::Only(names) => decoded_is_any(name, names),
            Self::Except(names) => !decoded_is_any(name, names),
        }
    }
}

fn decoded_is_any(name: &str, names: &[String]) -> bool {
    names
        .iter()
        .any(|candidate| decoded(name.as_bytes()).eq(candidate.bytes()))
}

/// The name of a pair, up to its first `=`.
pub(crate) fn pair_name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// The kept pairs of a query in the order of the key, joined again; `None` if none is kept.
///
/// A query whose names are plain and in order, as most are, is its own canonical form.
#[inline]
pub(crate) fn canonical_query<'a>(query: &'a str, rule: &QueryRule) -> Option<Cow<'a, str>> {
    let as_it_is = match rule {
        QueryRule::All => is_in_order(query.as_bytes()),
        rule => *rule == QueryRule::Verbatim,
    };
    if as_it_is {
        return Some(Cow::Borrowed(query));
    }
    let mut pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| rule.keeps(pair_name(pair)))
        .collect();
    // Two spellings may decode to one name once a handler has replaced invalid UTF-8, and then their
    // order matters to it: such a query keeps the order in which it came.
    let names_are_ascii =
        |pair: &&str| decoded(pair_name(pair).as_bytes()).all(|byte| byte.is_ascii());
    if pairs.iter().all(names_are_ascii) {
        pairs.sort_by(|a, b| compare_names(pair_name(a), pair_name(b)));
    }
    (!pairs.is_empty()).then(|| Cow::Owned(pairs.join("&")))
}

/// Puts the query of a key in the order of keys, and answers whether it was in another.
pub(crate) fn order_query(key: &mut [u8]) -> bool {
    let is_query = |(label, _): &(u8, &[u8])| *label == Label::Query as u8;
    let before = parts(key).take_while(|part| !is_query(part));
    let start: usize = before.map(|(_, bytes)| 3 + bytes.len()).sum::<usize>() + 4;
    let query = parts(key).find(is_query);
    let query = query.and_then(|(_, query)| std::str::from_utf8(query).ok());
    let ordered = match query.and_then(|query| canonical_query(query, &QueryRule::All)) {
        Some(Cow::Owned(ordered)) => ordered,
        _ => return false,
    };
    let query = &mut key[start..start + ordered.len()];
    let moved = query != ordered.as_bytes();
    query.copy_from_slice(ordered.as_bytes());
    moved
}

/// Whether the names of a query are spelled as they are meant, and sorted.
fn is_in_order(query: &[u8]) -> bool {
    let mut previous: &[u8] = b"";
    let mut rest = query;
    loop {
        let is_special = |byte: &u8| SPECIAL[usize::from(*byte)];
        let end = rest.iter().position(is_special).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if matches!(after, [encoded, ..] if !b"=&".contains(encoded)) || is_after(previous, name) {
            return false;
        }
        match after.iter().position(|byte| *byte == b'&') {
            Some(at) => (previous, rest) = (name, &after[at + 1..]),
            None => return true,
        }
    }
}

/// Compares byte by byte: names are shorter than a call of `memcmp` is worth.
fn is_after(a: &[u8], b: &[u8]) -> bool {
    a.iter().gt(b)
}

/// The bytes that end a name or, being part of what stands for another byte, spell it differently.
static SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    special[b'=' as usize] = true;
    special[b'&' as usize] = true;
    special[b'%' as usize] = true;
    special[b'+' as usize] = true;
    let mut byte = 0x80;
    while byte < 256 {
        special[byte] = true;
        byte += 1;
    }
    special
};

fn compare_names(a: &str, b: &str) -> Ordering {
    decoded(a.as_bytes()).cmp(decoded(b.as_bytes()))
}

/// The bytes of a name as a form decoder reads them: `+` is a space, `%61` is `a`.
pub(super) fn decoded(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if first == b'%' {
            if let [high, low, tail @ ..] = after {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    rest = tail;
                    return Some(high << 4 | low);
                }
            }
        }
        rest = after;
        Some(if first == b'+' { b' ' } else { first })
    })
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
