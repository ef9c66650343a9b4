//! What the cache did, counted.

use crate::counters;
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
    #[cfg_attr(
        not(feature = "compress"),
        allow(dead_code, reason = "nothing is encoded")
    )]
    Encoding,
}

/// What is counted.
#[derive(Default)]
pub(crate) struct Counters(counters::Counters<9>);

impl Counters {
    #[inline]
    pub(crate) fn count(&self, what: Counted) {
        self.0.count(what as usize);
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
        self.0.total(what as usize)
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
