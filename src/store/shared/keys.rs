//! The names of things in Redis.
//!
//! ```text
//! prefix:c                              the invalidation clock     of every version alike
//! prefix:inv:<db>                       its channel                of every version alike
//! prefix:done:<db>                      where the end of a lease is told
//! prefix:e:<format>:<version>:{digest}  a response
//! prefix:l:<format>:<version>:{digest}  the lease to make it       in the same slot
//! prefix:i:<format>:<version>:{tag}     which responses carry it
//! ```
//!
//! Only responses carry versions: an invalidation by an old process of a rolling deploy must reach
//! the responses of new ones, and the reverse. Channels are shared by all databases of a server.

use sha2::{Digest, Sha256};

use crate::policy::stored::VaryField;
use crate::policy::tag::TagHash;

/// Changes with what a response's *key* is made of; its bytes have a version of their own.
const FORMAT: u8 = 1;

/// 128 bits that stand for a key and the selecting values of a response.
pub(crate) type EntryDigest = [u8; 16];

/// The names under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    clock: Vec<u8>,
    channel: String,
    done: String,
    /// Up to the digest.
    entry: String,
    lease: String,
    index: String,
}

impl Keys {
    /// `version` is that of the application, for answers that differ from release to release.
    ///
    /// Neither may contain a `:`, which separates, or a brace, which decides the slot in a Cluster.
    /// `None` otherwise.
    pub(crate) fn new(prefix: &str, version: &str, database: i64) -> Option<Self> {
        let is_plain = |name: &str| !name.contains([':', '{', '}']);
        if prefix.is_empty() || !is_plain(prefix) || !is_plain(version) {
            return None;
        }
        Some(Self {
            clock: format!("{prefix}:c").into_bytes(),
            channel: format!("{prefix}:inv:{database}"),
            done: format!("{prefix}:done:{database}"),
            entry: format!("{prefix}:e:{FORMAT}:{version}:"),
            lease: format!("{prefix}:l:{FORMAT}:{version}:"),
            index: format!("{prefix}:i:{FORMAT}:{version}:"),
        })
    }

    pub(crate) fn clock(&self) -> &[u8] {
        &self.clock
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// The channel of leases. The mirror of the clock is not to hear what it does not know.
    pub(crate) fn done(&self) -> &str {
        &self.done
    }

    /// Where the response for a key and these selecting values lies.
    pub(crate) fn entry(&self, key: &[u8], vary: &[VaryField]) -> Vec<u8> {
        self.of(digest(key, vary))
    }

    /// Where the response with this digest lies.
    pub(crate) fn of(&self, digest: EntryDigest) -> Vec<u8> {
        in_braces(&self.entry, &digest)
    }

    /// The lease to make the response for a key and these selecting values.
    pub(crate) fn lease(&self, key: &[u8], vary: &[VaryField]) -> Vec<u8> {
        in_braces(&self.lease, &digest(key, vary))
    }

    /// The digests of the responses that carry a tag.
    pub(crate) fn index(&self, tag: TagHash) -> Vec<u8> {
        in_braces(&self.index, &tag.0.to_be_bytes())
    }
}

/// In hexadecimal, in the braces that put names with the same bytes into one slot.
pub(super) fn in_braces(before: &str, bytes: &[u8]) -> Vec<u8> {
    let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    let mut name = Vec::with_capacity(before.len() + 2 * bytes.len() + 2);
    name.extend(before.as_bytes());
    name.push(b'{');
    for byte in bytes {
        name.extend([hex(byte >> 4), hex(byte & 15)]);
    }
    name.push(b'}');
    name
}

pub(crate) fn digest(key: &[u8], vary: &[VaryField]) -> EntryDigest {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    part(key);
    for field in vary {
        part(field.name.as_str().as_bytes());
        part(&[u8::from(field.value.is_some())]);
        part(field.value.as_deref().unwrap_or_default());
    }
    let digest = hasher.finalize();
    let (first, _) = digest
        .split_first_chunk()
        .expect("a SHA-256 digest has 32 bytes");
    *first
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT;

    #[test]
    fn versions_separate_responses_and_share_the_clock() {
        let (old, new) = (
            Keys::new("shop", "1", 0).unwrap(),
            Keys::new("shop", "2", 0).unwrap(),
        );
        assert_eq!(old.clock(), new.clock());
        assert_eq!(old.channel(), new.channel());
        assert_ne!(old.entry(b"k", &[]), new.entry(b"k", &[]));
        assert_ne!(old.channel(), Keys::new("shop", "1", 3).unwrap().channel());
        let text = String::from_utf8(old.entry(b"k", &[])).unwrap();
        assert!(
            text.starts_with("shop:e:1:1:{") && text.len() == 12 + 33,
            "{text}"
        );
    }

    #[test]
    fn variants_lie_apart_and_a_missing_value_is_not_an_empty_one() {
        let keys = Keys::new("shop", "", 0).unwrap();
        let field = |value: Option<&[u8]>| VaryField {
            name: ACCEPT,
            value: value.map(Into::into),
        };
        let names = [
            keys.entry(b"k", &[]),
            keys.entry(b"k", &[field(None)]),
            keys.entry(b"k", &[field(Some(b""))]),
            keys.entry(b"k", &[field(Some(b"a"))]),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name), "{i}");
        }
    }

    #[test]
    fn separators_are_refused_in_names() {
        for (prefix, version) in [("", ""), ("a:b", ""), ("a", "1:2"), ("{a}", "")] {
            assert!(Keys::new(prefix, version, 0).is_none());
        }
    }
}
