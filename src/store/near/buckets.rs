//! Buckets in memory: a table of fixed size that forgets nothing it need not.
//!
//! ```text
//!  hash of the key ─┬─► set ┌ 8 fingerprints │ 8 times at which the bucket is full again ┐ 128 bytes
//!                   └─► set └ …                                                          ┘
//! ```
//!
//! A key may lie in either of two sets. A bucket that is full is as good as one nobody remembers, so its slot
//! is free by itself: nothing is swept, and reusing it loses nothing. When all sixteen slots are in use, the
//! one with the smallest debt makes room; its key may then take at most that debt again, and it is counted.
//!
//! **Taking** is a load and a compare-and-swap of the time. The fingerprint is looked at once more between the
//! two, and whoever gives a slot to another key first removes the fingerprint, then swaps the time for a
//! different one: so either the taker's swap fails, or the slot was still its own. **Placing** happens under the
//! locks of both sets, which is why a key never lies in two places.
//!
//! The fingerprint is all 64 bits of a hash with a secret seed; two of *n* keys share a bucket with a
//! probability of n²/2⁶⁵.

use std::cmp::Ordering;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use parking_lot::{Mutex, MutexGuard};

use crate::policy::bucket::{Bucket, Moment};

const WAYS: usize = 8;
const SLOT_BYTES: usize = 16;
const LOCKS: usize = 64;

/// What is asked of a slot when nobody has it: no hash is zero (see [`Buckets::fingerprint`]).
const NOBODY: u64 = 0;

#[repr(align(128))]
#[derive(Default)]
struct Set {
    fingerprints: [AtomicU64; WAYS],
    full_at: [AtomicU64; WAYS],
}

/// The buckets of one quota.
pub(crate) struct Buckets {
    sets: Box<[Set]>,
    locks: Box<[Mutex<()>]>,
    /// Buckets that made room for others while they were not full.
    evicted: AtomicU64,
}

impl Buckets {
    /// Room for `keys` at a load of 0.7, up to which no bucket has to make room.
    pub(crate) fn new(keys: usize) -> Self {
        let slots = keys.saturating_mul(10).div_ceil(7);
        let sets = slots.div_ceil(WAYS).clamp(2, 1 << 31);
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            locks: std::iter::repeat_with(Mutex::default).take(LOCKS).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Changes the bucket of a key and tells what `change` says of it. Where it changes nothing, nothing is
    /// written; it may be called several times before one of its results is kept. Places of buckets that were
    /// full by `forgotten`, which is now or earlier, are free.
    #[inline]
    pub(crate) fn update<T>(
        &self,
        hash: u64,
        forgotten: Moment,
        change: impl Fn(Bucket) -> (Bucket, T),
    ) -> T {
        let fingerprint = hash.max(1);
        loop {
            let found = self.find(fingerprint);
            let told = match found {
                Some((set, way)) => set.try_change(way, fingerprint, &change),
                None => self.place(fingerprint, forgotten, &change),
            };
            if let Some(told) = told {
                return told;
            }
        }
    }

    /// Live buckets, which somebody took from so lately that they are not forgotten, and all slots.
    pub(crate) fn occupancy(&self, forgotten: Moment) -> (usize, usize) {
        let times = self.sets.iter().flat_map(|set| &set.full_at);
        let live = times.filter(|time| time.load(Relaxed) > forgotten.as_units());
        (live.count(), self.sets.len() * WAYS)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// The memory it takes, from the first request to the last.
    pub(crate) fn bytes(&self) -> usize {
        self.sets.len() * WAYS * SLOT_BYTES
    }

    #[inline]
    fn first(&self, fingerprint: u64) -> usize {
        self.reduced(fingerprint)
    }

    /// Must not follow from the first.
    #[inline]
    fn second(&self, fingerprint: u64) -> usize {
        // Odd constants with well-spread bits.
        let mixed = fingerprint.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.reduced(mixed.rotate_left(32).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "less than the number of sets"
    )]
    fn reduced(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize
    }

    #[inline]
    fn find(&self, fingerprint: u64) -> Option<(&Set, usize)> {
        let set = &self.sets[self.first(fingerprint)];
        if let Some(way) = set.way_of(fingerprint) {
            return Some((set, way));
        }
        let set = &self.sets[self.second(fingerprint)];
        Some((set, set.way_of(fingerprint)?))
    }

    /// Gives a key a slot with what `change` makes of a full bucket; `None` if another thread was faster.
    #[cold]
    fn place<T>(
        &self,
        fingerprint: u64,
        now: Moment,
        change: impl Fn(Bucket) -> (Bucket, T),
    ) -> Option<T> {
        let (bucket, told) = change(Bucket::default());
        if bucket == Bucket::default() {
            return Some(told);
        }
        let places = [self.first(fingerprint), self.second(fingerprint)];
        let _locked = self.lock(places);
        if self.find(fingerprint).is_some() {
            return None;
        }
        // Fails only against takers of the slot that was chosen, who then made it a worse choice.
        while !self.replace_least(places, fingerprint, bucket, now) {}
        Some(told)
    }

    /// Puts a bucket in place of the one with the smallest debt.
    fn replace_least(
        &self,
        places: [usize; 2],
        fingerprint: u64,
        bucket: Bucket,
        now: Moment,
    ) -> bool {
        let (time, set, way) = self.least(places, now);
        let slot = &self.sets[set].fingerprints[way];
        let former = slot.swap(NOBODY, AcqRel);
        // Not the same time, or a taker that still believes the slot to be its own would not notice.
        let mut new = bucket.as_units();
        new += u64::from(new == time);
        let swapped = self.sets[set].full_at[way].compare_exchange(time, new, AcqRel, Relaxed);
        let after = if swapped.is_ok() { fingerprint } else { former };
        slot.store(after, Release);
        if swapped.is_ok() && former != NOBODY && time > now.as_units() {
            self.evicted.fetch_add(1, Relaxed);
        }
        swapped.is_ok()
    }

    /// The slot to use: one that is free, in the set that has more of them, so that both fill alike; if there
    /// is none, the one with the smallest debt.
    fn least(&self, places: [usize; 2], now: Moment) -> (u64, usize, usize) {
        let [(a, free_in_a), (b, free_in_b)] = places.map(|set| self.sets[set].least(set, now));
        match free_in_a.cmp(&free_in_b) {
            Ordering::Greater => a,
            Ordering::Less => b,
            Ordering::Equal if free_in_a > 0 => a,
            Ordering::Equal => a.min(b),
        }
    }

    /// The locks of both sets, always in the same order.
    fn lock(&self, [a, b]: [usize; 2]) -> (MutexGuard<'_, ()>, Option<MutexGuard<'_, ()>>) {
        let (a, b) = (a % LOCKS, b % LOCKS);
        let first = self.locks[a.min(b)].lock();
        let second = (a != b).then(|| self.locks[a.max(b)].lock());
        (first, second)
    }
}

impl Set {
    #[inline]
    fn way_of(&self, fingerprint: u64) -> Option<usize> {
        let is_it = |slot: &AtomicU64| slot.load(Acquire) == fingerprint;
        self.fingerprints.iter().position(is_it)
    }

    /// The slot whose bucket was or will be full first, and how many are full now.
    fn least(&self, set: usize, now: Moment) -> ((u64, usize, usize), usize) {
        let times = self.full_at.each_ref().map(|time| time.load(Acquire));
        let free = times.iter().filter(|time| **time <= now.as_units());
        let all = times.iter().enumerate();
        let least = all.map(|(way, time)| (*time, set, way)).min();
        (least.unwrap_or((u64::MAX, set, 0)), free.count())
    }

    /// `None` if the slot was given to another key meanwhile.
    #[inline]
    fn try_change<T>(
        &self,
        way: usize,
        fingerprint: u64,
        change: impl Fn(Bucket) -> (Bucket, T),
    ) -> Option<T> {
        let (slot, full_at) = (&self.fingerprints[way], &self.full_at[way]);
        let mut time = full_at.load(Acquire);
        loop {
            if slot.load(Acquire) != fingerprint {
                return None;
            }
            let (bucket, told) = change(Bucket::from_units(time));
            let new = bucket.as_units();
            if new == time {
                return Some(told);
            }
            match full_at.compare_exchange_weak(time, new, AcqRel, Acquire) {
                Ok(_) => return Some(told),
                Err(other) => time = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;
    use crate::policy::bucket::{Decision, Quota, Terms};

    const SECOND: u64 = 1_000_000_000;

    fn terms(quota: Quota) -> Terms {
        Terms::of(&quota).unwrap()
    }

    fn take(buckets: &Buckets, terms: &Terms, key: u64, cost: u64, nanos: u64) -> Decision {
        let now = terms.at(nanos);
        let take = |bucket: Bucket| bucket.take(terms, cost, now);
        buckets.update(key, terms.forgotten(now), take)
    }

    /// Well-spread numbers, the same ones each time.
    fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn a_key_has_one_bucket_and_another_key_another() {
        let buckets = Buckets::new(100);
        let terms = terms(Quota::per_second(2));
        for key in [0, 1, 2, u64::MAX] {
            let admitted = (0..5).filter(|_| take(&buckets, &terms, key, 1, SECOND).is_admitted());
            // No hash is zero: it stands for nobody, and is another key's.
            assert_eq!(admitted.count(), if key == 1 { 0 } else { 2 }, "{key}");
        }
    }

    #[test]
    fn no_bucket_makes_room_for_another_at_the_nominal_load() {
        let terms = terms(Quota::per_hour(1));
        for (keys, seeds) in [(64, 200), (1_000, 100), (20_000, 10), (300_000, 1)] {
            for seed in 0..seeds {
                let buckets = Buckets::new(keys);
                let mut next = numbers(seed);
                for _ in 0..keys {
                    assert!(take(&buckets, &terms, next(), 1, SECOND).is_admitted());
                }
                assert_eq!(buckets.evicted(), 0, "{keys} keys, seed {seed}");
                let (live, slots) = buckets.occupancy(terms.at(SECOND));
                assert_eq!(live, keys);
                assert!(buckets.bytes() <= 26 * keys + 512, "{slots} slots");
            }
        }
    }

    #[test]
    fn a_full_bucket_gives_its_place_away_and_nothing_is_lost() {
        let terms = terms(Quota::per_second(1));
        let buckets = Buckets::new(1_000);
        let mut next = numbers(7);
        // Many times more keys than places, never more at once than there is room for.
        for second in 1..100 {
            for _ in 0..500 {
                assert!(take(&buckets, &terms, next(), 1, second * 2 * SECOND).is_admitted());
            }
        }
        assert_eq!(buckets.evicted(), 0);
    }

    #[test]
    fn a_flood_of_keys_forgets_the_smallest_debts_first() {
        let terms = terms(Quota::per_hour(100));
        let buckets = Buckets::new(1_000);
        let mut next = numbers(3);
        let blocked: Vec<u64> = (0..20).map(|_| next()).collect();
        for key in &blocked {
            assert!(take(&buckets, &terms, *key, 100, SECOND).is_admitted());
        }
        for _ in 0..100_000 {
            let _ = take(&buckets, &terms, next(), 1, SECOND);
        }
        assert!(buckets.evicted() > 90_000);
        for key in blocked {
            assert!(!take(&buckets, &terms, key, 1, SECOND).is_admitted());
        }
    }

    #[test]
    fn a_refusal_writes_nothing() {
        let terms = terms(Quota::per_second(3));
        let buckets = Buckets::new(10);
        assert!(!take(&buckets, &terms, 9, 4, SECOND).is_admitted());
        assert_eq!(buckets.occupancy(terms.at(SECOND)).0, 0, "never");
        assert!(take(&buckets, &terms, 9, 0, SECOND).is_admitted());
        assert_eq!(buckets.occupancy(terms.at(SECOND)).0, 0, "nothing");
    }

    /// Against a map of plain buckets: what each key was admitted must be the same, step by step.
    #[test]
    fn the_table_does_what_a_map_of_buckets_does() {
        let terms = terms(Quota::new(7, Duration::from_millis(900)).capacity(11));
        for terms in [terms, terms.starting_with(3)] {
            compare_with_a_map(&terms);
        }
    }

    fn compare_with_a_map(terms: &Terms) {
        let steps = std::env::var("LARDER_LIMIT_STEPS").ok();
        let steps = steps
            .and_then(|steps| steps.parse().ok())
            .unwrap_or(1_000_000);
        let buckets = Buckets::new(4_000);
        let mut model: HashMap<u64, Bucket> = HashMap::new();
        let seed = RandomState::new();
        let mut next = numbers(11);
        let mut nanos = SECOND;
        for step in 0..steps {
            let random = next();
            nanos += random % 1_000_000;
            let now = terms.at(nanos);
            let key = seed.hash_one((random >> 32) % 2_000);
            let cost = (random >> 20) % 4;
            let known = model.entry(key).or_default();
            if random.is_multiple_of(13) {
                let price = terms.price(cost);
                let refund = |bucket: Bucket| (bucket.refund(price, now), ());
                buckets.update(key, terms.forgotten(now), refund);
                *known = known.refund(price, now);
                continue;
            }
            let told = take(&buckets, terms, key, cost, nanos);
            let expected;
            (*known, expected) = known.take(terms, cost, now);
            assert_eq!(told, expected, "step {step}");
        }
        assert_eq!(buckets.evicted(), 0);
    }

    #[test]
    fn threads_together_are_admitted_no_more_than_the_capacity() {
        const THREADS: usize = 8;
        const KEYS: u64 = 50;
        let terms = terms(Quota::per_hour(100));
        let buckets = Buckets::new(200);
        let keys: Vec<u64> = (0..KEYS).map(|n| RandomState::new().hash_one(n)).collect();
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (terms, buckets, keys, admitted) = (&terms, &buckets, &keys, &admitted);
                scope.spawn(move || {
                    for n in 0..20_000 {
                        let key = keys[(n * (thread + 1)) % keys.len()];
                        if take(buckets, terms, key, 1, SECOND).is_admitted() {
                            admitted.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100 * KEYS as usize);
    }

    #[test]
    fn no_charge_of_two_threads_on_one_key_is_lost() {
        const CAPACITY: u64 = 500_000;
        let terms = terms(Quota::per_hour(1_000).capacity(CAPACITY));
        let buckets = Buckets::new(8);
        let start = std::sync::Barrier::new(2);
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..CAPACITY {
                        if take(&buckets, &terms, 7, 1, SECOND).is_admitted() {
                            admitted.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), CAPACITY as usize);
    }

    /// Places change hands all the time here: every key is placed again and again while others are taken from.
    #[test]
    fn a_place_that_changes_hands_never_charges_the_wrong_key_into_admitting_more() {
        const THREADS: u64 = 4;
        let terms = terms(Quota::per_second(1));
        let buckets = Buckets::new(8);
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (terms, buckets, admitted) = (&terms, &buckets, &admitted);
                scope.spawn(move || {
                    // Each second all threads race for the token of one key.
                    for second in 1..5_000 {
                        let key = RandomState::new().hash_one((thread, second));
                        let _ = take(buckets, terms, key, 1, second * 2 * SECOND);
                        if take(buckets, terms, 0xFACE, 1, 20_000 * SECOND).is_admitted() {
                            admitted.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1, "its debt is the largest there is");
    }
}
