//! Counters that threads rarely share a cache line of.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The first threads of a process have a stripe each, the others share the rest.
const STRIPES: usize = 64;
const OWNED: usize = 48;

/// `KINDS` numbers, at most 16.
pub(crate) struct Counters<const KINDS: usize> {
    stripes: Box<[Stripe<KINDS>]>,
}

#[repr(align(128))]
struct Stripe<const KINDS: usize>([AtomicU64; KINDS]);

impl<const KINDS: usize> Default for Counters<KINDS> {
    fn default() -> Self {
        let stripe = || Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            stripes: std::iter::repeat_with(stripe).take(STRIPES).collect(),
        }
    }
}

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|mine| {
        if mine.get() == usize::MAX {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let shared = OWNED + n % (STRIPES - OWNED);
            mine.set(if n < OWNED { n } else { shared });
        }
        mine.get()
    })
}

impl<const KINDS: usize> Counters<KINDS> {
    /// Adds one to a number.
    #[inline]
    pub(crate) fn count(&self, kind: usize) {
        let mine = stripe();
        let counter = &self.stripes[mine].0[kind];
        if mine < OWNED {
            // Nobody else writes here, and a locked instruction would cost a hit a few nanoseconds.
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn total(&self, kind: usize) -> u64 {
        let of = |stripe: &Stripe<KINDS>| stripe.0[kind].load(Ordering::Relaxed);
        self.stripes.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_however_many_threads_count() {
        const THREADS: usize = 2 * STRIPES;
        let counters = Counters::<3>::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..1000).for_each(|_| counters.count(1)));
            }
        });
        let totals = [0, 1, 2].map(|kind| counters.total(kind));
        assert_eq!(totals, [0, 1000 * THREADS as u64, 0]);
    }
}
