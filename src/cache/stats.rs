//! What the cache did, counted.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::policy::decision::{Decision, Reason};
#[cfg(feature = "redis")]
pub use crate::store::shared::SharedStats;

/// What a cache did since it was built, and what it holds now.
///
/// Each request that a [`CacheLayer`](crate::CacheLayer) saw is counted in exactly one of `hits`,
/// `stale`, `collapsed`, `misses` and `bypassed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered by a fresh stored response.
    pub hits: u64,
    /// Requests answered by a stale stored response.
    pub stale: u64,
    /// Requests answered by the call of another request.
    pub collapsed: u64,
    /// Requests that were looked up, and for which nothing usable was stored.
    pub misses: u64,
    /// Requests that were not looked up.
    pub bypassed: u64,
    /// Responses stored.
    pub stored: u64,
    /// Invalidations carried out.
    pub invalidations: u64,
    /// Refreshes run in the background.
    pub refreshes: u64,
    /// Times that a stored response was put into a content coding.
    pub encoded: u64,
    /// Stored responses that made room for others.
    pub evicted: u64,
    /// Stored responses now.
    pub entries: u64,
    /// The memory they weigh now, in bytes.
    pub bytes: u64,
    /// The tier that processes share, where there is one.
    #[cfg(feature = "redis")]
    pub shared: Option<SharedStats>,
}

/// One thing that is counted.
#[derive(Clone, Copy)]
pub(crate) enum Counted {
    Hit,
    Stale,
    Collapsed,
    Miss,
    Bypassed,
    Stored,
    Invalidation,
    Refresh,
    #[cfg_attr(not(feature = "compress"), allow(dead_code))]
    Encoding,
}

const KINDS: usize = 9;
/// The first threads of a process have a stripe each, the others share the rest.
const STRIPES: usize = 64;
const OWNED: usize = 48;

/// Counters that threads rarely share a cache line of.
pub(crate) struct Counters {
    stripes: Box<[Stripe]>,
}

impl Default for Counters {
    fn default() -> Self {
        let stripes = std::iter::repeat_with(Stripe::default).take(STRIPES);
        Self {
            stripes: stripes.collect(),
        }
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; KINDS]);

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

impl Counters {
    #[inline]
    pub(crate) fn count(&self, what: Counted) {
        let mine = stripe();
        let counter = &self.stripes[mine].0[what as usize];
        if mine < OWNED {
            // Nobody else writes here, and a locked instruction would cost a hit a few nanoseconds.
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn decided(&self, decision: &Decision) {
        self.count(match decision {
            Decision::Hit { ttl, .. } if *ttl < 0 => Counted::Stale,
            Decision::Hit { .. } => Counted::Hit,
            Decision::Forward {
                detail: Some(Reason::StaleIfError),
                ..
            } => Counted::Stale,
            Decision::Forward {
                collapsed: true, ..
            } => Counted::Collapsed,
            Decision::Forward { why, .. } if why.was_looked_up() => Counted::Miss,
            Decision::Refused {
                detail: Reason::OnlyIfCached,
            } => Counted::Miss,
            Decision::Forward { .. } | Decision::Refused { .. } => Counted::Bypassed,
        });
    }

    pub(crate) fn total(&self, what: Counted) -> u64 {
        let of = |stripe: &Stripe| stripe.0[what as usize].load(Ordering::Relaxed);
        self.stripes.iter().map(of).sum()
    }

    /// The counts so far, and nothing of what is held.
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            hits: self.total(Counted::Hit),
            stale: self.total(Counted::Stale),
            collapsed: self.total(Counted::Collapsed),
            misses: self.total(Counted::Miss),
            bypassed: self.total(Counted::Bypassed),
            stored: self.total(Counted::Stored),
            invalidations: self.total(Counted::Invalidation),
            refreshes: self.total(Counted::Refresh),
            encoded: self.total(Counted::Encoding),
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_however_many_threads_count() {
        const THREADS: usize = 2 * STRIPES;
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..1000).for_each(|_| counters.count(Counted::Hit)));
            }
        });
        assert_eq!(counters.total(Counted::Hit), 1000 * THREADS as u64);
    }
}
