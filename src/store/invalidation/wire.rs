//! What the clock and its messages look like on the wire. All numbers are big endian.
//!
//! ```text
//! clock    │ magic 4 │ layout │ k │ hash │ 0 │ epoch │ s │ floor │ soft floor │ run id 40 │ bucket × 2^k │
//! message  │ magic 4 │ layout │ k │ hash │ flags │ epoch │ previous s │ n │ floor │ soft floor │ tag × … │
//! ```
//!
//! A message carries whole tag hashes rather than bucket numbers, so a process with another number
//! of buckets reads it too. Whatever is short, long or unknown is no clock and no message: a layout
//! that we do not know is never guessed at.

use std::ops::Range;

use crate::policy::tag::TagHash;

pub(crate) const CLOCK_MAGIC: [u8; 4] = *b"lrck";
pub(crate) const MESSAGE_MAGIC: [u8; 4] = *b"lrms";
const LAYOUT: u8 = 1;
/// The first eight bytes of SHA-256, as `policy::tag` makes them.
const HASH: u8 = 1;
/// The bytes of a clock before its buckets.
pub(crate) const HEADER_LENGTH: usize = 80;
const MESSAGE_LENGTH: usize = 48;
const BITS: Range<u8> = 10..21;

/// The front of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// It has 2^`bits` buckets.
    pub(crate) bits: u8,
    pub(crate) epoch: u64,
    /// The number of the latest invalidation.
    pub(crate) s: u64,
    pub(crate) floor: u64,
    pub(crate) soft_floor: u64,
}

/// One invalidation, as it is published and as the script replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) epoch: u64,
    /// The number of the invalidation before this one.
    pub(crate) previous: u64,
    pub(crate) n: u64,
    pub(crate) floor: u64,
    pub(crate) soft_floor: u64,
    pub(crate) tags: Vec<TagHash>,
}

impl Header {
    /// Reads the front of a clock.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (bits, [flags], numbers) = front(bytes, CLOCK_MAGIC)?;
        if flags != 0 || bytes.len() < HEADER_LENGTH {
            return None;
        }
        let [epoch, s, floor, soft_floor] = words(numbers)?;
        let header = Self {
            bits,
            epoch,
            s,
            floor,
            soft_floor,
        };
        header.makes_sense().then_some(header)
    }

    /// Reads a whole clock: its front and its buckets.
    pub(crate) fn parse_clock(bytes: &[u8]) -> Option<(Self, Vec<u64>)> {
        let header = Self::parse(bytes)?;
        let buckets = bytes.get(HEADER_LENGTH..)?;
        if buckets.len() != 8 << header.bits {
            return None;
        }
        let buckets = buckets.chunks_exact(8).map(|bucket| {
            let bucket = bucket.first_chunk().expect("a chunk of eight has eight");
            u64::from_be_bytes(*bucket)
        });
        Some((header, buckets.collect()))
    }

    fn makes_sense(&self) -> bool {
        is_epoch(self.epoch) && self.s > 0 && self.floor <= self.s && self.soft_floor <= self.s
    }

    /// Where the bucket of a tag lies in the clock's bytes.
    pub(crate) fn bucket_at(&self, tag: TagHash) -> usize {
        let index = tag.0 >> (u64::BITS - u32::from(self.bits));
        HEADER_LENGTH + 8 * usize::try_from(index).expect("at most 20 bits are left")
    }
}

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (_, [flags], numbers) = front(bytes, MESSAGE_MAGIC)?;
        let [epoch, previous, n, floor, soft_floor] = words(numbers)?;
        let tags = bytes.get(MESSAGE_LENGTH..)?;
        let sound = flags == 0
            && tags.len() % 8 == 0
            && is_epoch(epoch)
            && previous < n
            && floor <= n
            && soft_floor <= n;
        let tags = tags.chunks_exact(8).map(|tag| {
            let tag = tag.first_chunk().expect("a chunk of eight has eight");
            TagHash(u64::from_be_bytes(*tag))
        });
        sound.then(|| Self {
            epoch,
            previous,
            n,
            floor,
            soft_floor,
            tags: tags.collect(),
        })
    }
}

/// 0 is for memory alone, the greatest for a clock between two lives.
fn is_epoch(epoch: u64) -> bool {
    epoch != 0 && epoch != u64::MAX
}

/// The number of bucket bits, the flags, and what follows.
fn front(bytes: &[u8], magic: [u8; 4]) -> Option<(u8, [u8; 1], &[u8])> {
    let ([m0, m1, m2, m3, layout, bits, hash, flags], rest) = bytes.split_first_chunk::<8>()?;
    let known =
        [*m0, *m1, *m2, *m3] == magic && *layout == LAYOUT && *hash == HASH && BITS.contains(bits);
    known.then_some((*bits, [*flags], rest))
}

fn words<const N: usize>(mut bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        let (first, rest) = bytes.split_first_chunk()?;
        *word = u64::from_be_bytes(*first);
        bytes = rest;
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(bits: u8) -> Vec<u8> {
        let mut bytes = [&CLOCK_MAGIC[..], &[LAYOUT, bits, HASH, 0]].concat();
        for number in [7u64, 41, 12, 0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&[b'a'; 40]);
        bytes.resize(HEADER_LENGTH + (8 << bits), 0);
        bytes
    }

    #[test]
    fn a_clock_is_read_whole_or_not_at_all() {
        let bytes = clock(10);
        let (header, buckets) = Header::parse_clock(&bytes).unwrap();
        assert_eq!((header.epoch, header.s, header.floor), (7, 41, 12));
        assert_eq!(buckets.len(), 1024);
        assert!(Header::parse_clock(&bytes[..bytes.len() - 1]).is_none());
        assert!(Header::parse_clock(&[&bytes[..], b"\0"].concat()).is_none());
        for length in 0..HEADER_LENGTH {
            assert!(Header::parse(&bytes[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn an_unknown_layout_hash_or_size_is_not_guessed_at() {
        for (at, value) in [(0, b'x'), (4, 2), (5, 9), (5, 21), (6, 2), (7, 1)] {
            let mut bytes = clock(10);
            bytes[at] = value;
            assert_eq!(Header::parse(&bytes), None, "byte {at}");
        }
    }
}
