//! The rules: plain values and functions. Nothing here waits, does I/O or asks the time.
//!
//! Each module is one section of RFC 9111 (or a neighbour) and returns a value with a reason, never
//! a bare `bool`: [`decision`] holds the reasons, which feed `Cache-Status`, `tracing`, the counters
//! and the tests alike.

pub(crate) mod bucket;
pub(crate) mod client_address;
pub(crate) mod decision;
#[cfg(feature = "compress")]
pub(crate) mod encoding;
pub(crate) mod freshness;
pub(crate) mod groups;
pub(crate) mod invalidation;
pub(crate) mod key;
#[cfg(feature = "compress")]
pub(crate) mod negotiation;
pub(crate) mod part;
pub(crate) mod precondition;
pub(crate) mod profile;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod reuse;
pub(crate) mod search;
pub(crate) mod stored;
pub(crate) mod storing;
pub(crate) mod tag;
pub(crate) mod validation;
