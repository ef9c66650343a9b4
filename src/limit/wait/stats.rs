//! What a pacer did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Refusal;
use super::Priority;

/// What a pacer did since it was made, and who waits now; arrays are by [`Priority`], the most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitStats {
    /// Calls that were let pass.
    pub granted: [u64; 3],
    /// Calls that wait now.
    pub waiting: [usize; 3],
    /// Calls whose turn did not come in time.
    pub too_late: u64,
    /// Calls for which there was no room, or that made room for more urgent ones.
    pub shed: u64,
    /// Calls that were refused because Redis did not answer.
    pub closed: u64,
    /// Pauses that an upstream asked for.
    pub pauses: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    granted: [AtomicU64; 3],
    too_late: AtomicU64,
    shed: AtomicU64,
    closed: AtomicU64,
    pauses: AtomicU64,
}

impl Counters {
    /// A call is made.
    pub(super) fn granted(&self, priority: Priority) {
        self.granted[priority.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// What somebody was told who wanted to call.
    pub(super) fn refused(&self, why: Refusal) {
        let counter = match why {
            Refusal::TooLate(_) => &self.too_late,
            Refusal::Full => &self.shed,
            Refusal::Unavailable => &self.closed,
            Refusal::TooExpensive => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn paused(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, waiting: [usize; 3]) -> WaitStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WaitStats {
            granted: [0, 1, 2].map(|place| read(&self.granted[place])),
            waiting,
            too_late: read(&self.too_late),
            shed: read(&self.shed),
            closed: read(&self.closed),
            pauses: read(&self.pauses),
        }
    }
}
