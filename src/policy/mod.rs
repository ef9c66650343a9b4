//! The rules: plain values and functions. Nothing here waits, does I/O or asks the time.
//!
//! Each module is one section of RFC 9111 (or a neighbour) and returns a value with a reason, never
//! a bare `bool`: [`decision`] holds the reasons, which feed `Cache-Status`, `tracing`, the counters
//! and the tests alike.

pub(crate) mod decision;
pub(crate) mod freshness;
pub(crate) mod invalidation;
pub(crate) mod key;
pub(crate) mod precondition;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod reuse;
pub(crate) mod stored;
pub(crate) mod storing;
pub(crate) mod tag;
