//! The strict look-up: one question to Redis, sent along with the one for the response.
//!
//! ```text
//! before ── GET entry, GETRANGE clock ──► header ─┬─ of another epoch, or behind `before`: miss, sync
//!                                                 ├─ the mirror has reached it: the mirror decides
//!                                                 └─ ahead of the mirror: ask for these buckets ──► decide
//! ```
//!
//! The third case lasts for the milliseconds of a push. The clock is read from its master, in the
//! same pipeline after the entry, or at the same time where a Cluster keeps it elsewhere.

use super::correction::Correction;
use super::health::Doubt;
use super::view::View;
use super::wire::Header;
use super::{Strength, Validity};
use crate::policy::stored::Fence;
use crate::policy::tag::TagHash;

/// What the mirror knew before the question was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    epoch: u64,
    s: u64,
}

/// What follows from the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strict {
    Decided(Validity),
    /// The clock is ahead of the mirror: ask for its header again and for the buckets at these
    /// places, hard and soft of each tag in turn.
    Ask(Header, Vec<usize>),
    /// The clock is lost, or of another life: a miss, and the mirror must sync.
    Lost,
}

impl Before {
    /// `None` while this connection's server was not compared with the clock yet: it may be a replica
    /// that took over and lacks the latest invalidations.
    pub(crate) fn asking(view: &View) -> Option<Self> {
        let Fence { epoch, clock, .. } = view.clock.fence();
        let synced = !view.soundness.doubts(Doubt::Unsynced);
        synced.then_some(Self { epoch, s: clock })
    }

    /// Judges a response by the header that came with it.
    pub(crate) fn judge(
        self,
        view: &View,
        header: &[u8],
        fence: Fence,
        tags: &[TagHash],
    ) -> Strict {
        let Some(header) = Header::parse(header) else {
            if view.undone.is(Correction::EmptyIsMiss) {
                return Strict::Decided(view.validity(fence, tags));
            }
            return Strict::Lost;
        };
        if !view.undone.is(Correction::CompareEpochs) {
            if header.epoch != self.epoch || header.s < self.s {
                return Strict::Lost;
            }
            if fence.epoch != header.epoch {
                return Strict::Decided(Validity::Hard);
            }
        }
        // How far the mirror is comes first, its buckets after.
        if header.s <= view.clock.reached() {
            return Strict::Decided(view.validity(fence, tags));
        }
        match self.by_floors(view, &header, fence, tags) {
            Validity::Hard => Strict::Decided(Validity::Hard),
            _ => {
                let both = |tag: &TagHash| [*tag, Strength::Soft.bucket_of(*tag)];
                let places = tags.iter().flat_map(both);
                Strict::Ask(header, places.map(|tag| header.bucket_at(tag)).collect())
            }
        }
    }

    /// Judges a response by its buckets. `first` is the header that asked for them, `header` the one
    /// that came with them.
    pub(crate) fn judge_buckets(
        self,
        view: &View,
        (first, header): (&Header, &[u8]),
        buckets: &[&[u8]],
        fence: Fence,
        tags: &[TagHash],
    ) -> Strict {
        let header = match Header::parse(header) {
            Some(header) if header.epoch == first.epoch && header.s >= first.s => header,
            _ => return Strict::Lost,
        };
        if buckets.len() != 2 * tags.len() {
            return Strict::Lost;
        }
        let mut validity = self.by_floors(view, &header, fence, tags);
        for (i, bucket) in buckets.iter().enumerate() {
            let Ok(bucket) = <[u8; 8]>::try_from(*bucket) else {
                return Strict::Lost;
            };
            if u64::from_be_bytes(bucket) <= fence.clock {
                continue;
            }
            validity = match (i % 2, validity) {
                (0, _) | (_, Validity::Hard) => Validity::Hard,
                _ => Validity::Soft,
            };
        }
        Strict::Decided(validity)
    }

    /// What the mirror and the floors of a newer clock say.
    fn by_floors(self, view: &View, header: &Header, fence: Fence, tags: &[TagHash]) -> Validity {
        match view.validity(fence, tags) {
            _ if header.floor > fence.clock => Validity::Hard,
            Validity::Valid if header.soft_floor > fence.clock => Validity::Soft,
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::correction::Undone;
    use super::super::health::Bounds;
    use super::super::wire::{CLOCK_MAGIC, HEADER_LENGTH};
    use super::*;

    fn header(epoch: u64, s: u64, floor: u64) -> Vec<u8> {
        let mut bytes = [&CLOCK_MAGIC[..], &[1, 10, 1, 0]].concat();
        for number in [epoch, s, floor, 0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.resize(HEADER_LENGTH, b'0');
        bytes
    }

    #[test]
    fn a_strict_answer_is_refused_wherever_the_clock_could_have_forgotten_something() {
        let bounds = Bounds {
            limit: Duration::from_secs(1),
            grace: Duration::ZERO,
        };
        let view = View::new(10, bounds, Undone::default());
        view.clock.clear();
        view.clock.reach(41);
        view.clock.start(7);
        view.soundness.doubt(Doubt::Unsynced, false);
        let fence = view.fence(1);
        let (before, tags) = (Before::asking(&view).unwrap(), [TagHash::named("posts")]);
        let asks = |answer: &Strict| matches!(answer, Strict::Ask(..));

        let judge = |header: &[u8], fence| before.judge(&view, header, fence, &tags);
        assert_eq!(
            judge(&header(7, 41, 0), fence),
            Strict::Decided(Validity::Valid)
        );
        assert_eq!(judge(&header(7, 40, 0), fence), Strict::Lost, "rolled back");
        assert_eq!(
            judge(&header(8, 41, 0), fence),
            Strict::Lost,
            "another life"
        );
        assert_eq!(judge(b"", fence), Strict::Lost, "evicted");
        assert_eq!(
            judge(&header(7, 42, 42), fence),
            Strict::Decided(Validity::Hard)
        );
        assert!(
            asks(&judge(&header(7, 42, 0), fence)),
            "ahead of the mirror"
        );
        let other = Fence { epoch: 6, ..fence };
        assert_eq!(
            judge(&header(7, 41, 0), other),
            Strict::Decided(Validity::Hard)
        );
    }

    #[test]
    fn buckets_that_are_short_are_not_read_as_zeroes() {
        let bounds = Bounds {
            limit: Duration::from_secs(1),
            grace: Duration::ZERO,
        };
        let view = View::new(10, bounds, Undone::default());
        view.clock.clear();
        view.clock.reach(41);
        view.clock.start(7);
        view.soundness.doubt(Doubt::Unsynced, false);
        let (before, fence) = (Before::asking(&view).unwrap(), view.fence(1));
        let tags = [TagHash::named("posts")];
        let bytes = header(7, 42, 0);
        let first = Header::parse(&bytes).unwrap();
        let judge = |bytes: &[u8], buckets: &[&[u8]]| {
            before.judge_buckets(&view, (&first, bytes), buckets, fence, &tags)
        };
        let (old, new) = (40u64.to_be_bytes(), 42u64.to_be_bytes());
        assert_eq!(
            judge(&bytes, &[&old, &old]),
            Strict::Decided(Validity::Valid)
        );
        assert_eq!(
            judge(&bytes, &[&old, &new]),
            Strict::Decided(Validity::Soft)
        );
        assert_eq!(
            judge(&bytes, &[&new, &new]),
            Strict::Decided(Validity::Hard)
        );
        assert_eq!(judge(&bytes, &[&old, b""]), Strict::Lost);
        assert_eq!(judge(&bytes, &[&old]), Strict::Lost);
        assert_eq!(judge(&header(7, 41, 0), &[&old, &old]), Strict::Lost);
        assert_eq!(judge(b"", &[&old, &old]), Strict::Lost);
    }
}
