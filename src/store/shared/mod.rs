//! The shared tier: Redis, asked once when the near tier has nothing.
//!
//! ```text
//!  relaxed ── GET entry ──────────────────────► decode ─► key, epoch, tags: checked here ─► answer
//!  strict ─── GET entry, GETRANGE clock ──────► the same, by the header that came along
//! ```
//!
//! Both are one round trip. A response that varies lies under a name that its selecting values are
//! part of; under the plain name lies a record of the fields it varies on. Whoever knows them asks
//! once, whoever does not asks twice.
//!
//! What this tier promises is what [`store`](super) says of any. Besides:
//!
//! - **Nothing waits for a store.** It is sent in the background, and dropped when that is full.
//! - **A late write is harmless.** A response carries its fence, so one that arrives after its
//!   invalidation is invalid where it lies.
//! - **It believes nothing it reads.** What is foreign, cut short, of another key or of a future time
//!   is a miss with a reason.
//!
//! `driver` keeps the mirror of the invalidation clock, `responses` reads and stores, `lease` lets one
//! process of many make a response, `index`, where it is wanted, counts what an invalidation reached.
//! The room sees [`Tier`] alone; without the feature `redis` there is none.

#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "there is no tier to ask")
)]

#[cfg(not(feature = "redis"))]
mod absent;
pub(crate) mod buckets;
#[cfg(feature = "redis")]
mod driver;
#[cfg(feature = "redis")]
mod index;
#[cfg(feature = "redis")]
mod keys;
#[cfg(feature = "redis")]
mod lease;
#[cfg(feature = "redis")]
mod responses;
#[cfg(all(test, feature = "redis"))]
mod tests;
#[cfg(feature = "redis")]
mod tier;
#[cfg(feature = "redis")]
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use tokio::time::Instant;

#[cfg(not(feature = "redis"))]
pub(crate) use absent::{Deferral, Lease, Taken, Tier};
#[cfg(feature = "redis")]
pub use tier::SharedStats;
#[cfg(feature = "redis")]
pub(crate) use {
    driver::{Deferral, Settings},
    keys::Keys,
    lease::{Lease, Taken},
    tier::Tier,
};

use crate::clock::Timestamp;
use crate::policy::stored::StoredResponse;
use crate::store::invalidation::Validity;

/// One look-up.
pub(crate) struct Question<'a> {
    /// The hash of the key in this process.
    pub(crate) place: u64,
    pub(crate) key: &'a [u8],
    pub(crate) request: &'a HeaderMap,
    /// What the responses of this key are known to vary on, from one that is here.
    pub(crate) vary: Option<Arc<[HeaderName]>>,
    pub(crate) now: Timestamp,
    pub(crate) strict: bool,
    pub(crate) budget: &'a Budget,
}

/// What came of it.
pub(crate) enum Asked {
    /// Never a response that is hard-invalid.
    Found(Arc<StoredResponse>, Validity),
    Nothing,
    /// Redis did not answer, or nobody vouches for what it would.
    Silence,
}

/// The time that one request may spend on Redis, whatever it asks.
pub(crate) struct Budget {
    since: Instant,
    limit: Duration,
}

impl Budget {
    pub(crate) fn of(limit: Duration) -> Self {
        Self {
            since: Instant::now(),
            limit,
        }
    }

    /// What is left of it; `None` when it is spent.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.limit.saturating_sub(self.since.elapsed());
        (!left.is_zero()).then_some(left)
    }
}
