//! The shelves on which responses are kept, and the clock that says which of them still hold.
//!
//! There are two tiers: [`near`], the memory of this process, synchronous and bounded in bytes; and
//! [`shared`] behind it, Redis, asked once when the near one has nothing.
//!
//! What a tier promises, and what it may forget:
//!
//! - **It may forget anything at any time.** A forgotten response is a miss.
//! - **It never decides.** Whether what it holds may answer is for [`invalidation`] (has a purge
//!   overtaken it?) and `policy` (is it fresh, is it for this request?) to say, on every use.
//! - **It compares keys.** A hash finds the place; the bytes of the key decide.
//! - **It owns what it keeps.** Exact-size copies, so that its weight is the memory it pins.

#[cfg(feature = "redis")]
pub(crate) mod envelope;
pub(crate) mod interned;
pub(crate) mod invalidation;
pub(crate) mod near;
pub(crate) mod shared;
