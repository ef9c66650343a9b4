//! Token buckets in Redis: one bucket for all processes.
//!
//! ```text
//!                    ┌ known to refuse ─► refused, without a call
//! take one bucket ───┼ leased in advance ─► granted, without a call
//!                    ├ nobody asks for it now ─► one.lua
//!                    └ somebody does ─► wait ─► batch.lua, one call for all who wait
//! take several ─────── those of one principal ─► take.lua: all or none; then those of the next principal
//! ```
//!
//! What is promised:
//!
//! - **It is exact.** The script decides and Redis has the only clock, so processes cannot differ.
//! - **A refusal takes nothing.** Of several buckets of one principal, which lie in one slot, all grant or none is
//!   touched. Those of another principal lie elsewhere: they are asked afterwards, and what was taken
//!   before a refusal is given back. Should that be lost, too little is admitted, never too much.
//! - **One trip, never a second one.** A call that timed out may still be carried out, so it is not
//!   repeated; it takes what it would have taken.
//! - **No answer is an answer**: [`Unavailable`], within the handle's deadline, at once while the breaker is
//!   open. What then holds is for the room to say.
//! - **A crowd is no outage.** Who finds a full line at one bucket is refused, while Redis is well.
//! - **It may be forgotten.** A bucket that is evicted, or lost in a failover, is a new one: its capacity, or its
//!   initial level, may pass once more. So a server for limits should not evict (`noeviction`), or only what
//!   ends soonest (`volatile-ttl`).

#[cfg(not(feature = "redis"))]
mod absent;
mod calls;
#[cfg(feature = "redis")]
mod denied;
#[cfg(feature = "redis")]
mod groups;
#[cfg(feature = "redis")]
mod handle;
#[cfg(feature = "redis")]
mod lines;
mod policy;
#[cfg(feature = "redis")]
mod prepaid;
#[cfg(feature = "redis")]
mod pump;
#[cfg(feature = "redis")]
mod scripts;
#[cfg(feature = "redis")]
mod shards;
#[cfg(all(test, feature = "redis"))]
mod tests;

use std::fmt;
use std::time::Duration;

#[cfg(not(feature = "redis"))]
pub(crate) use self::absent::SharedBuckets;
pub use self::calls::CallStats;
#[cfg(feature = "redis")]
pub(crate) use self::handle::SharedBuckets;
pub(crate) use self::policy::Policy;

/// What is asked of one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge<'a> {
    /// A hash of who asks: buckets of one principal lie in one slot of a Cluster.
    pub(crate) principal: u128,
    pub(crate) policy: &'a Policy,
    pub(crate) cost: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) granted: bool,
    /// For each charge, in how much time its bucket would be full: after the charge if all were granted.
    pub(crate) debts: Vec<Duration>,
}

/// A change of a bucket that is made whatever it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Gives tokens back, no more than makes it full.
    Refund(u64),
    /// Takes tokens that were used already, if need be up to `beyond` more than there are.
    Charge { tokens: u64, beyond: u64 },
    /// Lets nobody pass before this time is over.
    Pause(Duration),
}

/// Why Redis says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// There is no connection: not yet, or the breaker is open.
    Down,
    /// It took too long. What was asked may still be carried out.
    TimedOut,
    /// Too many calls of this process are under way already.
    Busy,
    /// The server does not take writes now.
    Full,
    /// The server answered with an error, or with what is no answer.
    Refused,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "redis is down",
            Self::TimedOut => "redis did not answer in time",
            Self::Busy => "too many ask redis already",
            Self::Full => "redis does not take writes",
            Self::Refused => "redis refused the call",
        })
    }
}

#[cfg(feature = "redis")]
impl From<crate::redis::NoAnswer> for Unavailable {
    fn from(why: crate::redis::NoAnswer) -> Self {
        use crate::redis::NoAnswer;
        match why {
            NoAnswer::Down => Self::Down,
            NoAnswer::TimedOut => Self::TimedOut,
            NoAnswer::Busy => Self::Busy,
            NoAnswer::OutOfMemory => Self::Full,
            NoAnswer::Refused(why) => {
                tracing::debug!(error = %why, "redis refused to limit");
                Self::Refused
            }
        }
    }
}
