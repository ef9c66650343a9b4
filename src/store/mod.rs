//! The shelves on which responses are kept, and the clock that says which of them still hold.
//!
//! There is one tier today: [`near`], the memory of this process, synchronous and bounded in bytes.
//! A shared tier will stand behind it, asked once when the near one has nothing.
//!
//! What a tier promises, and what it may forget:
//!
//! - **It may forget anything at any time.** A forgotten response is a miss.
//! - **It never decides.** Whether what it holds may answer is for [`invalidation`] (has a purge
//!   overtaken it?) and `policy` (is it fresh, is it for this request?) to say, on every use.
//! - **It compares keys.** A hash finds the place; the bytes of the key decide.
//! - **It owns what it keeps.** Exact-size copies, so that its weight is the memory it pins.

#[cfg(feature = "redis")]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the cache does not use the shared tier yet")
)]
pub(crate) mod envelope;
pub(crate) mod interned;
#[cfg_attr(
    all(feature = "redis", not(test)),
    allow(dead_code, reason = "the cache does not use the shared tier yet")
)]
pub(crate) mod invalidation;
pub(crate) mod near;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "the cache does not use the shared tier yet")]
pub(crate) mod shared;
