//! How long ago the mirror was last known to be complete.
//!
//! Times are milliseconds of one clock of this process that never runs backwards and that counts the
//! time the machine slept ([`Elapsed`](crate::clock::Elapsed)): after a night in a bag nothing is
//! sound, although the process noticed no time pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::millis;

/// Whether near answers need no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The mirror was complete at most the limit ago.
    Sound,
    /// It was not, and only what is young enough may answer.
    Unsound,
}

/// Bounds on how old an answer may be that nobody vouches for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// At least three heartbeats.
    pub(crate) limit: Duration,
    /// How long the near tier goes on while Redis cannot be reached.
    pub(crate) grace: Duration,
}

/// The latest moment at which the mirror held every invalidation there was.
pub(crate) struct Soundness {
    bounds: Bounds,
    /// The *send* time of the newest heartbeat whose clock the mirror has since reached. A reply may
    /// sit in a buffer for long; what it says was true when it was asked for.
    complete_at: AtomicU64,
    /// Reasons not to be sound at all, one bit each.
    doubts: AtomicU64,
}

/// Why a mirror that hears its heartbeats is not sound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Doubt {
    /// The server's identity and epoch were not compared since it was connected.
    Unsynced = 1,
    /// Invalidations wait to be replayed.
    Deferred = 2,
}

impl Soundness {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            complete_at: AtomicU64::new(0),
            doubts: AtomicU64::new(Doubt::Unsynced as u64),
        }
    }

    pub(crate) fn confirm(&self, sent_at: u64) {
        self.complete_at.fetch_max(sent_at, Ordering::SeqCst);
    }

    pub(crate) fn doubt(&self, doubt: Doubt, holds: bool) {
        let bit = doubt as u64;
        if holds {
            self.doubts.fetch_or(bit, Ordering::SeqCst);
        } else {
            self.doubts.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    pub(crate) fn doubts(&self, doubt: Doubt) -> bool {
        self.doubts.load(Ordering::SeqCst) & doubt as u64 != 0
    }

    pub(crate) fn health(&self, now: u64) -> Health {
        let complete_at = self.complete_at.load(Ordering::SeqCst);
        let young = complete_at > 0 && now.saturating_sub(complete_at) <= millis(self.bounds.limit);
        if young && self.doubts.load(Ordering::SeqCst) == 0 {
            Health::Sound
        } else {
            Health::Unsound
        }
    }

    /// Whether a response may answer that this process itself began to make at `begun` (0: another
    /// process did), although nobody vouches for the mirror.
    pub(crate) fn within_grace(&self, begun: u64, now: u64) -> bool {
        let known_at = self.complete_at.load(Ordering::SeqCst).max(begun);
        known_at > 0 && now.saturating_sub(known_at) <= millis(self.bounds.grace)
    }
}
