//! A small generator of numbers (SplitMix64), so that a run can be repeated by its seed.

use std::time::Duration;

#[derive(Clone)]
pub struct Seed(u64);

impl Seed {
    /// One of many generators that follow from the same number.
    pub fn of(seed: u64, which: u64) -> Self {
        let mut seed = Self(seed ^ which.wrapping_mul(0xd134_2543_de82_ef95));
        seed.below(2);
        seed
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) % limit as u64).expect("it is below the limit")
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Up to so many milliseconds, in steps of a tenth.
    pub fn up_to(&mut self, millis: usize) -> Duration {
        Duration::from_micros(self.below(millis * 10 + 1) as u64 * 100)
    }

    pub fn between(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least + self.below(most - least + 1)) as u64)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
