//! Stored bytes: how a response looks in Redis.
//!
//! ```text
//! plain    │ magic 4 │ version │ flags │ 0 │ 0 │ crc32 4 │ content …                        │
//! sealed   │ magic 4 │ version │ flags │ key id │ 0 │ nonce 12 │ content, encrypted … │ tag 16 │
//!
//! content  │ epoch │ clock │ response time │ born │ fresh until │ windows ×2 │ status │ counts │
//!          │ tags 8 each │ vary fields │ field lines, in order, with repeats │ key │ body │
//! ```
//!
//! All numbers are big endian. The checksum covers everything but itself. Field values, key and body
//! share the buffer that was received, so reading copies nothing.
//!
//! A value that cannot be read, for whatever reason, is a miss: [`Odd`] says which, for a counter,
//! and never becomes an error. So a foreign value under our key, a value cut short and a value of a
//! newer version of this crate cost one call of the inner service. The whole key is compared, which
//! closes collisions of the digest that names the place.
//!
//! The version changes whenever a reader of the old one would read the new one wrongly; older
//! versions stay readable, and `samples` keeps bytes of each.

mod content;
#[cfg(feature = "encryption")]
mod seal;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::policy::stored::StoredResponse;

#[cfg(feature = "encryption")]
pub(crate) use seal::Sealing;

const MAGIC: [u8; 4] = *b"lrdr";
const VERSION: u8 = 1;
const SEALED: u8 = 1;
/// Magic, version, flags, key id, reserved.
const HEADER: usize = 8;
const CHECKSUM: usize = 4;

/// Why stored bytes are a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Not ours.
    Foreign,
    /// Of a version that this crate does not know yet.
    Version,
    /// Sealed where nothing opens it, or plain where only sealed values are trusted.
    Sealing,
    /// The checksum or the seal is broken.
    Corrupt,
    /// A length or a field makes no sense.
    Malformed,
    /// A response for another key.
    OtherKey,
}

/// How this cache's responses are written and read.
#[derive(Default)]
pub(crate) struct Envelope {
    #[cfg(feature = "encryption")]
    pub(crate) sealing: Option<Sealing>,
}

impl Envelope {
    /// The bytes to store at `place`, which a seal is bound to. `None` for what no envelope holds: a
    /// response of 4 GiB, or no randomness to seal with.
    #[cfg_attr(
        not(feature = "encryption"),
        allow(unused_variables, reason = "a seal alone is bound to the place")
    )]
    pub(crate) fn wrap(&self, place: &[u8], stored: &StoredResponse) -> Option<Vec<u8>> {
        #[cfg(feature = "encryption")]
        if let Some(sealing) = &self.sealing {
            return sealing.seal(place, stored);
        }
        let mut bytes = Vec::with_capacity(HEADER + CHECKSUM + content::length(stored));
        bytes.extend_from_slice(&header(0, 0));
        bytes.extend_from_slice(&[0; CHECKSUM]);
        content::write(stored, &mut bytes)?;
        let checksum = checksum(&bytes);
        bytes[HEADER..HEADER + CHECKSUM].copy_from_slice(&checksum);
        Some(bytes)
    }

    /// The response for `key` in what was found at `place`.
    #[cfg_attr(
        not(feature = "encryption"),
        allow(unused_variables, reason = "a seal alone is bound to the place")
    )]
    pub(crate) fn open(
        &self,
        place: &[u8],
        key: &[u8],
        bytes: Bytes,
    ) -> Result<StoredResponse, Odd> {
        let header = bytes.first_chunk::<HEADER>().ok_or(Odd::Foreign)?;
        let [m0, m1, m2, m3, version, flags, key_id, reserved] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(Odd::Foreign);
        }
        if version != VERSION || flags & !SEALED != 0 || reserved != 0 {
            return Err(Odd::Version);
        }
        let is_sealed = flags & SEALED != 0;
        #[cfg(feature = "encryption")]
        if let Some(sealing) = &self.sealing {
            // A plain value is not trusted here: anybody with access to Redis could have written it.
            if !is_sealed {
                return Err(Odd::Sealing);
            }
            let content = sealing.unseal(place, *header, bytes)?;
            return content::read(content, 0, key);
        }
        if is_sealed || key_id != 0 {
            return Err(Odd::Sealing);
        }
        if bytes.get(HEADER..HEADER + CHECKSUM) != Some(&checksum(&bytes)) {
            return Err(Odd::Corrupt);
        }
        content::read(bytes, HEADER + CHECKSUM, key)
    }
}

fn header(flags: u8, key_id: u8) -> [u8; HEADER] {
    let [m0, m1, m2, m3] = MAGIC;
    [m0, m1, m2, m3, VERSION, flags, key_id, 0]
}

/// Over everything but itself.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..HEADER).unwrap_or_default());
    hasher.update(bytes.get(HEADER + CHECKSUM..).unwrap_or_default());
    hasher.finalize().to_be_bytes()
}
