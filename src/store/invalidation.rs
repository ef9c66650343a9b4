//! The invalidation clock: how a purge reaches every copy at once, and those still in the making.
//!
//! Tags are not sets of keys. A clock counts invalidations, and a small array of buckets remembers
//! for each tag (by hash) the last count at which it was invalidated:
//!
//! ```text
//!                 now ──► 41      floor ──► 12      (everything older than the floor is gone)
//!  tag "posts" ─ hash ─►  bucket[…]  =  40
//!  tag "post:7" ─ hash ─► bucket[…]  =  17
//!
//!  a response carries the clock as it stood BEFORE its handler was called (its fence), say 39:
//!      bucket["posts"] = 40 > 39   →  invalid: the handler may have read what the purge replaced
//! ```
//!
//! So an invalidation costs one store per tag however many responses carry it, needs no list of
//! them, and reaches a response that was being made while it happened and is stored only later. Two
//! tags that share a bucket are invalidated together: a miss too many, never a purged answer.
//!
//! *Soft* invalidation is the same array under a second hash of the tag: a newer soft bucket means
//! stale, usable where stale responses are; a hard one always wins.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::stored::Fence;
use crate::policy::tag::TagHash;

/// What the clock says of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Valid,
    /// Marked stale.
    Soft,
    /// Purged: never again a source of anything.
    Hard,
}

/// Whether invalidated responses may still be used as stale ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Strength {
    #[default]
    Hard,
    Soft,
}

/// The clock of one cache, in this process.
pub(crate) struct InvalidationClock {
    now: AtomicU64,
    floor: AtomicU64,
    soft_floor: AtomicU64,
    buckets: Box<[AtomicU64]>,
    shift: u32,
    /// One bit per bucket: whether a response with a path tag of that bucket was ever begun.
    begun: Box<[AtomicU64]>,
}

impl InvalidationClock {
    /// A clock with 2^`bits` buckets.
    pub(crate) fn new(bits: u32) -> Self {
        let buckets = 1usize << bits;
        Self {
            now: AtomicU64::new(1),
            floor: AtomicU64::new(0),
            soft_floor: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
            shift: u64::BITS - bits,
            begun: (0..buckets.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
        }
    }

    /// The clock as it stands. Whoever makes a response takes it before reading what the response
    /// is made of.
    pub(crate) fn fence(&self) -> Fence {
        Fence(self.now.load(Ordering::SeqCst))
    }

    /// Invalidates every response that carries one of the tags and was begun before now.
    pub(crate) fn invalidate(&self, tags: &[TagHash], strength: Strength) {
        // The clock moves first: a fence taken from here on belongs to a reader that starts after
        // the caller's change, and must not be caught.
        let n = self.tick();
        for tag in tags {
            self.bucket(strength.bucket_of(*tag))
                .fetch_max(n, Ordering::SeqCst);
        }
    }

    /// Invalidates everything that was begun before now.
    pub(crate) fn invalidate_all(&self, strength: Strength) {
        let n = self.tick();
        let floor = match strength {
            Strength::Hard => &self.floor,
            Strength::Soft => &self.soft_floor,
        };
        floor.fetch_max(n, Ordering::SeqCst);
    }

    /// Whether a response begun at `fence` with these tags still holds.
    pub(crate) fn validity(&self, fence: Fence, tags: &[TagHash]) -> Validity {
        let Fence(fence) = fence;
        if self.now.load(Ordering::SeqCst) == fence {
            return Validity::Valid; // nothing at all was invalidated since
        }
        let newer = |clock: &AtomicU64| clock.load(Ordering::SeqCst) > fence;
        if newer(&self.floor) || tags.iter().any(|tag| newer(self.bucket(*tag))) {
            Validity::Hard
        } else if newer(&self.soft_floor) || tags.iter().any(|tag| newer(self.bucket(tag.soft()))) {
            Validity::Soft
        } else {
            Validity::Valid
        }
    }

    /// Notes that a response for this path is about to be made. Call it before taking the fence.
    pub(crate) fn begin(&self, path: TagHash) {
        let (word, bit) = self.begun_bit(path);
        if word.load(Ordering::SeqCst) & bit == 0 {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Whether a response for this path may exist. Unsafe requests to paths that are never cached
    /// would only wear the buckets out.
    pub(crate) fn was_begun(&self, path: TagHash) -> bool {
        let (word, bit) = self.begun_bit(path);
        word.load(Ordering::SeqCst) & bit != 0
    }

    fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn index(&self, tag: TagHash) -> usize {
        usize::try_from(tag.0 >> self.shift).expect("at most 20 bits are left")
    }

    fn bucket(&self, tag: TagHash) -> &AtomicU64 {
        &self.buckets[self.index(tag)]
    }

    fn begun_bit(&self, path: TagHash) -> (&AtomicU64, u64) {
        let index = self.index(path);
        (&self.begun[index / 64], 1 << (index % 64))
    }
}

impl Strength {
    const fn bucket_of(self, tag: TagHash) -> TagHash {
        match self {
            Self::Hard => tag,
            Self::Soft => tag.soft(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<TagHash> {
        names.iter().map(|name| TagHash::named(name)).collect()
    }

    #[test]
    fn an_invalidation_reaches_what_was_begun_before_it_and_nothing_after() {
        let clock = InvalidationClock::new(16);
        let (posts, users) = (tags(&["posts", "all"]), tags(&["users", "all"]));
        let before = clock.fence();
        clock.invalidate(&tags(&["posts"]), Strength::Hard);
        assert_eq!(clock.validity(before, &posts), Validity::Hard);
        assert_eq!(clock.validity(before, &users), Validity::Valid);
        assert_eq!(clock.validity(clock.fence(), &posts), Validity::Valid);
    }

    #[test]
    fn a_hard_invalidation_is_not_softened_by_a_later_soft_one() {
        let clock = InvalidationClock::new(16);
        let posts = tags(&["posts"]);
        let first = clock.fence();
        clock.invalidate(&posts, Strength::Soft);
        assert_eq!(clock.validity(first, &posts), Validity::Soft);
        clock.invalidate(&posts, Strength::Hard);
        clock.invalidate(&posts, Strength::Soft);
        assert_eq!(clock.validity(first, &posts), Validity::Hard);
    }

    #[test]
    fn invalidating_everything_raises_the_floor() {
        let clock = InvalidationClock::new(10);
        let before = clock.fence();
        clock.invalidate_all(Strength::Soft);
        assert_eq!(clock.validity(before, &[]), Validity::Soft);
        clock.invalidate_all(Strength::Hard);
        assert_eq!(clock.validity(before, &[]), Validity::Hard);
        assert_eq!(clock.validity(clock.fence(), &[]), Validity::Valid);
    }

    #[test]
    fn tags_that_share_a_bucket_die_together_and_never_survive_alone() {
        let clock = InvalidationClock::new(10);
        let before = clock.fence();
        let names: Vec<String> = (0..20_000).map(|i| format!("tag-{i}")).collect();
        for name in names.iter().take(100) {
            clock.invalidate(&[TagHash::named(name)], Strength::Hard);
        }
        for name in names.iter().take(100) {
            assert_eq!(
                clock.validity(before, &[TagHash::named(name)]),
                Validity::Hard
            );
        }
    }

    #[test]
    fn a_path_that_was_never_begun_is_known_not_to_be_stored() {
        let clock = InvalidationClock::new(16);
        let path = TagHash::path(None, b"/posts");
        assert!(!clock.was_begun(path));
        clock.begin(path);
        assert!(clock.was_begun(path));
    }
}
