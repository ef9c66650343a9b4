//! The invalidation clock: how a purge reaches every copy at once, and those still in the making.
//!
//! Tags are not sets of keys. A clock counts invalidations, and a small array of buckets remembers
//! for each tag (by hash) the last count at which it was invalidated:
//!
//! ```text
//!                 now ──► 41      floor ──► 12      (everything older than the floor is gone)
//!  tag "posts" ─ hash ─►  bucket[…]  =  40
//!  tag "post:7" ─ hash ─► bucket[…]  =  17
//!
//!  a response carries the clock as it stood BEFORE its handler was called (its fence), say 39:
//!      bucket["posts"] = 40 > 39   →  invalid: the handler may have read what the purge replaced
//! ```
//!
//! So an invalidation costs one store per tag however many responses carry it, needs no list of
//! them, and reaches a response that was being made while it happened and is stored only later. Two
//! tags that share a bucket are invalidated together: a miss too many, never a purged answer.
//!
//! *Soft* invalidation is the same array under a second hash of the tag: a newer soft bucket means
//! stale, usable where stale responses are; a hard one always wins.
//!
//! # With Redis
//!
//! The array lies in Redis under one key, and every process mirrors it, so that a hit asks nobody:
//!
//! ```text
//!   process A                         Redis                            process B
//!   ─────────                         ─────                            ─────────
//!   invalidate("posts")
//!   ├─ overlay: invalid here, now
//!   └─ clock.lua ───────────────────► s: 40 → 41, bucket = 41
//!                                     PUBLISH (40 → 41, "posts") ────► s was 40: apply, s = 41
//!   reply 41: bucket = 41  ◄───────── (epoch, 40 → 41)                 s was 39: a gap → load all
//!   └─ out of the overlay, answer                                      another epoch → sync
//!
//!   sync.lua, every few 100 ms ─────► run id, epoch, s as expected?
//!   reached that s: sound until   ◄── header                           lost, rolled back, replaced:
//!   (when it was sent + limit)                                         a new epoch, nothing is valid
//! ```
//!
//! **What it promises.** Once an invalidation has returned and was not deferred, a *strict* look-up
//! that begins afterwards, in any process, never gets a response that was begun before it: whatever
//! becomes of connections, messages, memory or the server, what cannot be shown to be newer is a
//! miss. A *relaxed* look-up in the same process never does either, and in another one does so for
//! the time of one push, at most for the health limit where pushes are lost, and at most for the
//! grace where Redis cannot be reached. A *deferred* invalidation holds in its own process at once,
//! and everywhere when Redis is back.
//!
//! Outside the promise, and ended by the ttl: a former master that is cut off together with a process,
//! which that process cannot tell from a sound one; one that is master again and meets a process that
//! has just begun, until it meets one that knows what it missed; and a process that dies with a
//! deferred invalidation.
//!
//! [`protocol`] is the whole of one process's part as plain values; it does no I/O and is told the
//! time. `clock.lua` and `sync.lua` are the server's part.

mod clock;
#[cfg(feature = "redis")]
mod correction;
#[cfg(feature = "redis")]
mod health;
#[cfg(feature = "redis")]
mod journal;
#[cfg(all(test, feature = "redis"))]
mod model;
#[cfg(feature = "redis")]
mod overlay;
#[cfg(feature = "redis")]
mod protocol;
#[cfg(feature = "redis")]
mod scripts;
#[cfg(feature = "redis")]
mod strict;
#[cfg(feature = "redis")]
mod view;
#[cfg(feature = "redis")]
mod wire;

pub(crate) use clock::InvalidationClock;
#[cfg(feature = "redis")]
pub(crate) use {
    correction::Undone,
    health::{Bounds, Doubt, Health},
    journal::Ticket,
    protocol::{Asked, Mirror, Next},
    scripts::{arguments, invalidation, new_epoch, CLOCK, SYNC},
    strict::{Before, Strict},
    view::{Unsound, View},
    wire::HEADER_LENGTH,
};

use crate::policy::tag::TagHash;

/// What the clock says of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Valid,
    /// Marked stale.
    Soft,
    /// Purged: never again a source of anything.
    Hard,
}

/// Whether invalidated responses may still be used as stale ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Strength {
    #[default]
    Hard,
    Soft,
}

/// What one invalidation reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// These buckets; a soft tag is named by its [`TagHash::soft`].
    Tags(Vec<TagHash>),
    Everything(Strength),
}

impl Reach {
    /// Every response that carries one of these tags.
    pub(crate) fn tags(tags: &[TagHash], strength: Strength) -> Self {
        Self::Tags(tags.iter().map(|tag| strength.bucket_of(*tag)).collect())
    }
}

impl Strength {
    /// The bucket that an invalidation of this strength raises.
    pub(crate) const fn bucket_of(self, tag: TagHash) -> TagHash {
        match self {
            Self::Hard => tag,
            Self::Soft => tag.soft(),
        }
    }
}
