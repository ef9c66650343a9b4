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
//! [`Driver`] keeps the mirror of the invalidation clock; [`Responses`] reads and stores;
//! [`lease`] lets one process of many make a response.

mod driver;
mod keys;
pub(crate) mod lease;
mod responses;
#[cfg(test)]
mod tests;

#[allow(unused_imports, reason = "the cache uses them next")]
pub(crate) use {
    driver::{Deferral, Driver, Settings},
    keys::Keys,
    responses::{Found, Miss, Query, Responses},
};
