//! What the calls that decide cost, counted.

use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Unavailable;
use crate::clock::Clock;

/// The calls to Redis that decided, since the program started, of all limiters and pacers that share its handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStats {
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were not, for whatever reason: those that were never sent, too, because Redis was known to be away.
    pub failed: u64,
    /// Charges that the answered calls carried, with what they took in advance. Over `answered`, it is the size of a
    /// batch.
    pub charges: u64,
    /// The time that the answered calls took together. Over `answered`, it is the latency of one.
    pub time: Duration,
    /// The time that the slowest of them took.
    pub slowest: Duration,
}

/// The numbers of [`CallStats`]; times in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Calls {
    answered: AtomicU64,
    failed: AtomicU64,
    charges: AtomicU64,
    time: AtomicU64,
    slowest: AtomicU64,
}

impl Calls {
    /// Makes a call for so many charges, and counts it. One that is dropped before its answer is not counted.
    pub(super) async fn counted<T>(
        &self,
        charges: u64,
        call: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        // Redis has a time of its own, which no hand moves.
        let clock = Clock::system();
        let started = clock.nanos();
        let answer = call.await;
        if answer.is_err() {
            self.failed.fetch_add(1, Relaxed);
            return answer;
        }
        let took = clock.nanos().saturating_sub(started);
        self.answered.fetch_add(1, Relaxed);
        self.charges.fetch_add(charges, Relaxed);
        self.time.fetch_add(took, Relaxed);
        self.slowest.fetch_max(took, Relaxed);
        answer
    }

    pub(super) fn snapshot(&self) -> CallStats {
        CallStats {
            answered: self.answered.load(Relaxed),
            failed: self.failed.load(Relaxed),
            charges: self.charges.load(Relaxed),
            time: Duration::from_nanos(self.time.load(Relaxed)),
            slowest: Duration::from_nanos(self.slowest.load(Relaxed)),
        }
    }
}
