//! What a limiter does while Redis does not answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::{Charge, Core};
use super::fallback::Fallback;
use super::stats::Counted;
use crate::policy::bucket::Decision;

/// How often it is told that Redis does not answer, in nanoseconds.
const WARN_EVERY: u64 = 10_000_000_000;

impl Core {
    /// Once in a while, that there is no Redis.
    fn warn(&self, fallback: Fallback) {
        let Some(shared) = &self.shared else {
            return;
        };
        let now = self.clock.nanos().max(1);
        let before = shared.warned.load(Ordering::Relaxed);
        if before > 0 && now.saturating_sub(before) < WARN_EVERY {
            return;
        }
        let warned = &shared.warned;
        let first = warned.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            tracing::warn!(
                policy = &*self.name,
                ?fallback,
                "redis does not answer: limiting without it"
            );
        }
    }

    /// What happens to a charge that Redis does not answer.
    pub(super) fn take_alone(&self, charge: &Charge<'_>, fallback: Fallback) -> Decision {
        self.warn(fallback);
        match fallback {
            Fallback::Open => {
                self.counters.count(Counted::Opened);
                Decision::Admitted {
                    left: self.quota.tokens(),
                    full_in: Duration::ZERO,
                }
            }
            Fallback::Closed => {
                self.counters.count(Counted::Closed);
                Decision::Unavailable
            }
            Fallback::Local { .. } => {
                self.counters.count(Counted::Alone);
                self.alone(self.take_here(charge.principal, charge.cost))
            }
        }
    }

    /// What a decision of the buckets here means, where they are a share.
    pub(super) fn alone(&self, decision: Decision) -> Decision {
        match decision {
            // More than a share holds is no more than the quota does.
            Decision::Never => Decision::Refused {
                wait: self.quota.refill_time(),
            },
            decision => decision,
        }
    }
}
