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
    /// written; it may be called several times before one of its results is kept.
    #[inline]
    pub(crate) fn update<T>(
        &self,
        hash: u64,
        now: Moment,
        change: impl Fn(Bucket) -> (Bucket, T),
    ) -> T {
        let fingerprint = hash.max(1);
        let places = self.places(fingerprint);
        loop {
            let Some((set, way)) = self.find(places, fingerprint) else {
                if let Some(told) = self.place(places, fingerprint, now, &change) {
                    return told;
                }
                continue;
            };
            if let Some(told) = self.sets[set].try_change(way, fingerprint, &change) {
                return told;
            }
        }
    }

    /// Live buckets, which somebody took from so lately that they are not full again, and all slots.
    pub(crate) fn occupancy(&self, now: Moment) -> (usize, usize) {
        let times = self.sets.iter().flat_map(|set| &set.full_at);
        let live = times.filter(|time| time.load(Relaxed) > now.as_units());
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
    fn places(&self, fingerprint: u64) -> [usize; 2] {
        let reduce = |hash: u64| {
            let place = (u128::from(hash) * self.sets.len() as u128) >> 64;
            usize::try_from(place).unwrap_or(0)
        };
        // Any odd constant with well-spread bits: the second place must not follow from the first.
        let mixed = fingerprint
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32);
        let first = reduce(fingerprint);
        let second = reduce(mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        [first, second]
    }

    #[inline]
    fn find(&self, places: [usize; 2], fingerprint: u64) -> Option<(usize, usize)> {
        places
            .into_iter()
            .find_map(|set| Some((set, self.sets[set].way_of(fingerprint)?)))
    }

    /// Gives a key a slot with what `change` makes of a full bucket; `None` if another thread was faster.
    #[cold]
    fn place<T>(
        &self,
        places: [usize; 2],
        fingerprint: u64,
        now: Moment,
        change: impl Fn(Bucket) -> (Bucket, T),
    ) -> Option<T> {
        let (bucket, told) = change(Bucket::default());
        if bucket == Bucket::default() {
            return Some(told);
        }
        let _locked = self.lock(places);
        if self.find(places, fingerprint).is_some() {
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
        // All eight, without a branch for each: they lie in one cache line.
        let mut found = 0_u32;
        for (way, slot) in self.fingerprints.iter().enumerate() {
            let same = slot.load(Acquire) == fingerprint;
            found |= u32::from(same) << way;
        }
        (found != 0).then(|| found.trailing_zeros() as usize)
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
