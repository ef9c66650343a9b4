//! The array of buckets in this process.
//!
//! In memory alone it is the clock itself: [`InvalidationClock::invalidate`] ticks. With Redis it
//! mirrors the shared one: [`protocol`](super::protocol) raises it, and starts it anew when the
//! shared clock begins another life.
//!
//! Within one life nothing in it ever sinks, so a reader that finds every bucket old enough has
//! seen a moment at which the response was valid, however the loads interleave with a writer.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Reach, Strength, Validity};
use crate::policy::stored::Fence;
use crate::policy::tag::TagHash;

/// No response has this epoch: nothing is valid while a new life of the clock is loaded.
const BETWEEN_LIVES: u64 = u64::MAX;

/// The clock of one cache, in this process.
pub(crate) struct InvalidationClock {
    /// Of which life of the shared clock this is; 0 in memory alone.
    epoch: AtomicU64,
    /// Every invalidation up to here is known: what a fence is taken from.
    reached: AtomicU64,
    /// The newest invalidation in the array. With Redis, this process's own ones are known before
    /// their neighbours are, so it may be ahead of `reached`.
    latest: AtomicU64,
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
        let zeroes = |n| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            epoch: AtomicU64::new(0),
            reached: AtomicU64::new(1),
            latest: AtomicU64::new(1),
            floor: AtomicU64::new(0),
            soft_floor: AtomicU64::new(0),
            buckets: zeroes(buckets),
            shift: u64::BITS - bits,
            begun: zeroes(buckets.div_ceil(64)),
        }
    }

    /// The clock as it stands. Whoever makes a response takes it before reading what the response
    /// is made of.
    pub(crate) fn fence(&self) -> Fence {
        // The epoch first: an old epoch with a newer clock is dead, the reverse would be too young.
        let epoch = self.epoch.load(Ordering::SeqCst);
        Fence {
            epoch,
            clock: self.reached.load(Ordering::SeqCst),
            begun: 0,
        }
    }

    /// Invalidates what an invalidation reaches and was begun before now.
    pub(crate) fn invalidate(&self, reach: &Reach) {
        // The clock moves first: a fence taken from here on belongs to a reader that starts after
        // the caller's change, and must not be caught.
        let n = self.tick();
        let raise = |cell: &AtomicU64| cell.fetch_max(n, Ordering::SeqCst);
        match reach {
            Reach::Tags(buckets) => buckets.iter().for_each(|tag| {
                raise(self.bucket(*tag));
            }),
            Reach::Everything(Strength::Hard) => {
                raise(&self.floor);
            }
            Reach::Everything(Strength::Soft) => {
                raise(&self.soft_floor);
            }
        }
    }

    /// Whether a response begun at `fence` with these tags still holds.
    #[inline]
    pub(crate) fn validity(&self, fence: Fence, tags: &[TagHash]) -> Validity {
        let epoch = self.epoch.load(Ordering::SeqCst);
        if epoch != fence.epoch || epoch == BETWEEN_LIVES {
            return Validity::Hard;
        }
        let verdict = if self.latest.load(Ordering::SeqCst) <= fence.clock {
            Validity::Valid // nothing at all was invalidated since
        } else {
            self.compare(fence.clock, tags)
        };
        // What was read belongs to one life of the clock, or counts for nothing.
        if self.epoch.load(Ordering::SeqCst) == epoch {
            verdict
        } else {
            Validity::Hard
        }
    }

    fn compare(&self, fence: u64, tags: &[TagHash]) -> Validity {
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
        let n = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        self.reached.fetch_max(n, Ordering::SeqCst);
        n
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

/// The mirror's side: called under the protocol's lock, by one writer.
#[cfg(feature = "redis")]
impl InvalidationClock {
    /// The number of its buckets.
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }

    /// Every invalidation up to `s` is in the array.
    pub(crate) fn reach(&self, s: u64) {
        self.reached.fetch_max(s, Ordering::SeqCst);
    }

    /// Raises these buckets to `n`. A soft tag is named by its [`TagHash::soft`].
    pub(crate) fn raise(&self, buckets: &[TagHash], n: u64) {
        self.latest.fetch_max(n, Ordering::SeqCst);
        for tag in buckets {
            self.bucket(*tag).fetch_max(n, Ordering::SeqCst);
        }
    }

    pub(crate) fn raise_floors(&self, hard: u64, soft: u64) {
        self.latest.fetch_max(hard.max(soft), Ordering::SeqCst);
        self.floor.fetch_max(hard, Ordering::SeqCst);
        self.soft_floor.fetch_max(soft, Ordering::SeqCst);
    }

    /// Raises the array to another one, whose number of buckets is a power of two too. Where it has
    /// more, several of its buckets fold into one of ours; where it has fewer, one spreads over
    /// several. Both may invalidate too much, never too little.
    pub(crate) fn merge(&self, buckets: &[u64]) {
        let newest = buckets.iter().copied().max().unwrap_or(0);
        self.latest.fetch_max(newest, Ordering::SeqCst);
        let (mine, theirs) = (self.buckets.len(), buckets.len());
        for i in 0..mine.max(theirs) {
            let (to, from) = (i * mine / mine.max(theirs), i * theirs / mine.max(theirs));
            self.buckets[to].fetch_max(buckets[from], Ordering::SeqCst);
        }
    }

    /// Ends this life of the clock: nothing is valid until the next one has begun.
    pub(crate) fn stop(&self) {
        self.epoch.store(BETWEEN_LIVES, Ordering::SeqCst);
    }

    /// Clears the array for a new life. Fill it, then call [`start`](Self::start).
    pub(crate) fn clear(&self) {
        self.stop();
        // Released: whoever sees one of these zeroes sees the epoch above gone as well.
        let cells = [&self.reached, &self.latest, &self.floor, &self.soft_floor];
        for cell in cells.into_iter().chain(&self.buckets) {
            cell.store(0, Ordering::Release);
        }
    }

    /// Begins a life of the clock, with what is in the array.
    pub(crate) fn start(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "redis")]
    #[test]
    fn arrays_of_other_sizes_invalidate_too_much_rather_than_too_little() {
        for (mine, theirs) in [(10, 10), (10, 12), (12, 10)] {
            let clock = InvalidationClock::new(mine);
            clock.raise_floors(1, 0);
            let before = clock.fence();
            let tag = TagHash::named("posts");
            let mut buckets = vec![0; 1 << theirs];
            buckets[usize::try_from(tag.0 >> (64 - theirs)).unwrap()] = 9;
            clock.merge(&buckets);
            assert_eq!(
                clock.validity(before, &[tag]),
                Validity::Hard,
                "{mine} {theirs}"
            );
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn nothing_is_valid_between_two_lives_of_the_clock_nor_across_them() {
        let clock = InvalidationClock::new(10);
        clock.start(7);
        let old = clock.fence();
        assert_eq!(clock.validity(old, &[]), Validity::Valid);
        clock.clear();
        let between = clock.fence();
        assert_eq!(clock.validity(old, &[]), Validity::Hard);
        assert_eq!(clock.validity(between, &[]), Validity::Hard);
        clock.start(8);
        assert_eq!(clock.validity(old, &[]), Validity::Hard);
        assert_eq!(clock.validity(between, &[]), Validity::Hard);
        assert_eq!(clock.validity(clock.fence(), &[]), Validity::Valid);
    }

    fn tags(names: &[&str]) -> Vec<TagHash> {
        names.iter().map(|name| TagHash::named(name)).collect()
    }

    #[test]
    fn an_invalidation_reaches_what_was_begun_before_it_and_nothing_after() {
        let clock = InvalidationClock::new(16);
        let (posts, users) = (tags(&["posts", "all"]), tags(&["users", "all"]));
        let before = clock.fence();
        clock.invalidate(&Reach::tags(&tags(&["posts"]), Strength::Hard));
        assert_eq!(clock.validity(before, &posts), Validity::Hard);
        assert_eq!(clock.validity(before, &users), Validity::Valid);
        assert_eq!(clock.validity(clock.fence(), &posts), Validity::Valid);
    }

    #[test]
    fn a_hard_invalidation_is_not_softened_by_a_later_soft_one() {
        let clock = InvalidationClock::new(16);
        let posts = tags(&["posts"]);
        let first = clock.fence();
        clock.invalidate(&Reach::tags(&posts, Strength::Soft));
        assert_eq!(clock.validity(first, &posts), Validity::Soft);
        clock.invalidate(&Reach::tags(&posts, Strength::Hard));
        clock.invalidate(&Reach::tags(&posts, Strength::Soft));
        assert_eq!(clock.validity(first, &posts), Validity::Hard);
    }

    #[test]
    fn invalidating_everything_raises_the_floor() {
        let clock = InvalidationClock::new(10);
        let before = clock.fence();
        clock.invalidate(&Reach::Everything(Strength::Soft));
        assert_eq!(clock.validity(before, &[]), Validity::Soft);
        clock.invalidate(&Reach::Everything(Strength::Hard));
        assert_eq!(clock.validity(before, &[]), Validity::Hard);
        assert_eq!(clock.validity(clock.fence(), &[]), Validity::Valid);
    }

    #[test]
    fn tags_that_share_a_bucket_die_together_and_never_survive_alone() {
        let clock = InvalidationClock::new(10);
        let before = clock.fence();
        let names: Vec<String> = (0..20_000).map(|i| format!("tag-{i}")).collect();
        for name in names.iter().take(100) {
            clock.invalidate(&Reach::tags(&[TagHash::named(name)], Strength::Hard));
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
