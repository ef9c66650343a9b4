//! What a limiter did, counted.

use crate::counters;
use crate::store::shared::buckets::CallStats;

/// What a limiter decided since it was made, and how full its table is.
///
/// Every decision is in exactly one of `admitted`, `refused` and `never`; those of shadow limits, which refuse
/// nobody, are in `shadow_admitted` and `shadow_refused` instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStats {
    /// Requests for which there were enough tokens.
    pub admitted: u64,
    /// Requests for which there were too few.
    pub refused: u64,
    /// Requests that cost more than a full bucket holds.
    pub never: u64,
    /// What a limit in shadow would have admitted.
    pub shadow_admitted: u64,
    /// What a limit in shadow would have refused.
    pub shadow_refused: u64,
    /// Requests that passed unseen: skipped, or on the allow list.
    pub skipped: u64,
    /// Requests refused because their key is on the deny list.
    pub denied: u64,
    /// Requests without a key, whatever became of them.
    pub keyless: u64,
    /// Decisions made by this process alone, because Redis did not answer.
    pub alone: u64,
    /// Requests admitted unseen, because Redis did not answer and the limiter then opens.
    pub opened: u64,
    /// Requests refused, because Redis did not answer and the limiter then closes.
    pub closed: u64,
    /// Buckets that are remembered: those that are not full now.
    pub live: usize,
    /// Places for buckets. Sized for a load of 0.7.
    pub slots: usize,
    /// The memory of the table, in bytes, from the first request to the last.
    pub bytes: usize,
    /// Buckets that made room for others before they were full: each admitted at most its debt again.
    pub evicted: u64,
    /// The calls to Redis, of all limiters that share its handle. `None` without it.
    pub redis: Option<CallStats>,
}

/// One thing that is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    Admitted,
    Refused,
    Never,
    ShadowAdmitted,
    ShadowRefused,
    Skipped,
    Denied,
    Keyless,
    Alone,
    Opened,
    Closed,
}

/// What is counted.
#[derive(Default)]
pub(super) struct Counters(counters::Counters<11>);

impl Counters {
    #[inline]
    pub(super) fn count(&self, what: Counted) {
        self.0.count(what as usize);
    }

    /// The counts so far, and nothing of the table.
    pub(super) fn snapshot(&self) -> LimitStats {
        let total = |what: Counted| self.0.total(what as usize);
        LimitStats {
            admitted: total(Counted::Admitted),
            refused: total(Counted::Refused),
            never: total(Counted::Never),
            shadow_admitted: total(Counted::ShadowAdmitted),
            shadow_refused: total(Counted::ShadowRefused),
            skipped: total(Counted::Skipped),
            denied: total(Counted::Denied),
            keyless: total(Counted::Keyless),
            alone: total(Counted::Alone),
            opened: total(Counted::Opened),
            closed: total(Counted::Closed),
            ..LimitStats::default()
        }
    }
}
