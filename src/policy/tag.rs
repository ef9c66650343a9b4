//! Tags: the names under which stored responses are invalidated together.
//!
//! A tag is remembered as 64 bits of its SHA-256, so that a stored response pays eight bytes for it
//! however long its name is. Two names with one hash are invalidated together, never confused when
//! answering.
//!
//! Every stored response has implicit tags besides its own: its path, and its path with the kept
//! query, each with the host (an empty one where a route shares its responses between hosts) and
//! without. So `invalidate_uri` reaches every user's copy and every
//! variant, and a response in the making is fenced by them too.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::key::{self, canonical_query, Label, QueryRule};

/// The 64-bit hash of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TagHash(pub(crate) u64);

impl TagHash {
    /// The hash of a tag that a route, a handler or an operator named.
    pub(crate) fn named(tag: &str) -> Self {
        Self::of(b't', &[tag.as_bytes()])
    }

    /// The implicit tag of a path, whatever its query (RFC 9111 §4.4).
    pub(crate) fn path(host: Option<&[u8]>, path: &[u8]) -> Self {
        match host {
            Some(host) => Self::of(b'P', &[&canonical_host(host), path]),
            None => Self::of(b'p', &[path]),
        }
    }

    /// The implicit tag of a path and its kept query, in canonical order.
    pub(crate) fn uri(host: Option<&[u8]>, path: &[u8], query: Option<&[u8]>) -> Self {
        let domain = match (host.is_some(), query.is_some()) {
            (true, true) => b'U',
            (true, false) => b'V',
            (false, true) => b'u',
            (false, false) => b'v',
        };
        let host = host.map(canonical_host).unwrap_or_default();
        Self::of(domain, &[&host, path, query.unwrap_or_default()])
    }

    /// The tag of those responses of a path that answer more than one query (`No-Vary-Search`).
    pub(crate) fn searches(host: Option<&[u8]>, path: &[u8]) -> Self {
        match host {
            Some(host) => Self::of(b'S', &[&canonical_host(host), path]),
            None => Self::of(b's', &[path]),
        }
    }

    /// The tag of a group of responses of one origin (RFC 9875 §2).
    pub(crate) fn group(host: &[u8], group: &str) -> Self {
        Self::of(b'g', &[&canonical_host(host), group.as_bytes()])
    }

    /// The bucket that says since when the tag is *softly* invalid: stale, but usable where stale
    /// responses are.
    pub(crate) const fn soft(self) -> Self {
        // A bijection (the finalizer of SplitMix64), so that a pair of tags that do not share the
        // hash do not share the soft one either.
        let mut x = self.0 ^ 0x5f73_6f66_745f_7461;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(x ^ (x >> 31))
    }

    fn of(domain: u8, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([domain]);
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let (first, _) = digest
            .split_first_chunk::<8>()
            .expect("a SHA-256 digest has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }
}

/// One spelling for all that mean the same host: a key may tell them apart, a purge must not.
pub(crate) fn canonical_host(host: &[u8]) -> Vec<u8> {
    let without_port = [&b":80"[..], b":443"]
        .iter()
        .find_map(|port| host.strip_suffix(*port));
    without_port.unwrap_or(host).to_ascii_lowercase()
}

/// The host that is part of a key; an empty one where a route shares its responses between hosts.
pub(crate) fn host_of(key: &[u8]) -> &[u8] {
    part_of(key, Label::Host)
}

fn part_of(key: &[u8], wanted: Label) -> &[u8] {
    let mut parts = key::parts(key);
    let found = parts.find(|(label, _)| *label == wanted as u8);
    found.map_or(b"", |(_, bytes)| bytes)
}

/// The tags of what is stored under `key` and answers more than one query: whoever invalidates a query of its
/// path may mean it.
pub(crate) fn of_searches(key: &[u8]) -> Vec<TagHash> {
    let path = part_of(key, Label::Path);
    let host = Some(host_of(key));
    vec![TagHash::searches(None, path), TagHash::searches(host, path)]
}

/// The implicit tags of what is stored under `key`, that of the bare path first; typed values have
/// none.
pub(crate) fn implicit(key: &[u8]) -> Vec<TagHash> {
    let mut host: &[u8] = b"";
    let mut path: &[u8] = b"";
    let mut query: Option<Cow<'_, str>> = None;
    for (label, bytes) in key::parts(key) {
        if label == Label::Host as u8 {
            host = bytes;
        } else if label == Label::Path as u8 {
            path = bytes;
        } else if label == Label::Query as u8 {
            // Whatever order the key keeps it in: a purge must not tell spellings apart.
            let text = std::str::from_utf8(bytes).ok();
            query = text.and_then(|text| canonical_query(text, &QueryRule::All));
        } else if label == Label::Name as u8 {
            return Vec::new(); // typed values have no address
        }
    }
    let query = query.as_deref().map(str::as_bytes);
    vec![
        TagHash::path(None, path),
        TagHash::uri(None, path, query),
        TagHash::path(Some(host), path),
        TagHash::uri(Some(host), path, query),
    ]
}

/// A tag with path parameters to fill in, such as `post:{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TagTemplate {
    Fixed(TagHash),
    Filled(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Parameter(String),
}

impl TagTemplate {
    /// Reads `post:{id}`; `None` when a brace has no partner or a parameter no name.
    pub(crate) fn parse(template: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, from_brace) = rest.split_at(open);
            let inner = from_brace.strip_prefix('{')?;
            let (name, after) = inner.split_once('}')?;
            if name.is_empty() || name.contains('{') {
                return None;
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            pieces.push(Piece::Parameter(name.to_owned()));
            rest = after;
        }
        if pieces.is_empty() {
            return Some(Self::Fixed(TagHash::named(template)));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Some(Self::Filled(pieces))
    }

    /// The tag for a path that was matched by a route's pattern; `None` when a parameter is missing.
    pub(crate) fn fill(&self, pattern: Option<&str>, path: &str) -> Option<TagHash> {
        match self {
            Self::Fixed(tag) => Some(*tag),
            Self::Filled(pieces) => {
                let mut tag = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => tag.push_str(text),
                        Piece::Parameter(name) => tag.push_str(&parameter(pattern?, path, name)?),
                    }
                }
                Some(TagHash::named(&tag))
            }
        }
    }
}

/// The decoded value that `path` has for `{name}` (or `{*name}`) of `pattern`.
fn parameter(pattern: &str, path: &str, name: &str) -> Option<String> {
    let mut path_rest = path;
    for segment in pattern.split('/') {
        if let Some(wanted) = segment.strip_prefix("{*").and_then(|s| s.strip_suffix('}')) {
            return (wanted == name).then(|| percent_decoded(path_rest))?;
        }
        let (value, after) = path_rest.split_once('/').unwrap_or((path_rest, ""));
        // A segment may have text around its parameter: `{id}.json`.
        if let Some((prefix, inner)) = segment.split_once('{') {
            let (wanted, suffix) = inner.split_once('}')?;
            if wanted == name {
                let value = value.strip_prefix(prefix)?.strip_suffix(suffix)?;
                return percent_decoded(value);
            }
        }
        path_rest = after;
    }
    None
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.push(key::hex(*high)? << 4 | key::hex(*low)?);
                rest = tail;
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_take_their_values_from_the_path() {
        let rows = [
            ("post:{id}", Some("/posts/{id}"), "/posts/7", Some("post:7")),
            (
                "post:{id}",
                Some("/posts/{id}"),
                "/posts/a%20b",
                Some("post:a b"),
            ),
            ("{a}-{b}", Some("/x/{a}/{b}"), "/x/1/2", Some("1-2")),
            (
                "file:{rest}",
                Some("/f/{*rest}"),
                "/f/a/b",
                Some("file:a/b"),
            ),
            ("doc:{id}", Some("/d/{id}.json"), "/d/9.json", Some("doc:9")),
            ("post:{id}", Some("/posts/{slug}"), "/posts/7", None),
            ("post:{id}", None, "/posts/7", None),
            ("posts", None, "/posts/7", Some("posts")),
        ];
        for (template, pattern, path, expected) in rows {
            let filled = TagTemplate::parse(template).unwrap().fill(pattern, path);
            assert_eq!(filled, expected.map(TagHash::named), "{template} on {path}");
        }
    }

    #[test]
    fn a_brace_without_its_partner_is_refused() {
        for template in ["post:{id", "post:id}", "post:{}", "{a{b}}"] {
            assert_eq!(TagTemplate::parse(template), None, "{template}");
        }
    }

    #[test]
    fn tags_of_different_kinds_never_share_a_hash() {
        let tags = [
            TagHash::named("/a"),
            TagHash::path(None, b"/a"),
            TagHash::path(Some(b""), b"/a"),
            TagHash::path(Some(b"/"), b"a"),
            TagHash::uri(None, b"/a", None),
            TagHash::uri(None, b"/a", Some(b"x=1")),
            TagHash::uri(Some(b""), b"/a", Some(b"x=1")),
            TagHash::named("/a").soft(),
        ];
        for (i, tag) in tags.iter().enumerate() {
            assert!(!tags[..i].contains(tag), "{i}");
        }
    }
}
