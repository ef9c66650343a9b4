//! The near tier: the memory of this process, synchronous and bounded in bytes.
//!
//! [`Responses`] keeps stored responses under a 64-bit seeded hash of their key, several variants
//! in one place, so that a hit is one look-up whatever it varies on. [`TagIndex`] remembers which
//! places carry which tag: it gives an invalidation its count and its memory back. It is never
//! asked whether a response is valid; the clock says that.

mod buckets;
mod index;
mod responses;

pub(crate) use buckets::Buckets;
pub(crate) use index::TagIndex;
pub(crate) use responses::{largest_slot, Found, Insertion, Responses, Settings, Worth};
