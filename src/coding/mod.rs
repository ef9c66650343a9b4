//! Content codings: gzip, br and zstd, one encoder and one decoder for all of them.
//!
//! Both are synchronous and take their input in pieces; what they keep is a window of at most 1 MiB
//! to encode and 16 MiB to decode (RFC 7932; RFC 9659 for zstd) and their tables. They know nothing of bodies: the
//! rooms that use them decide how much is done at a time, and where.
//!
//! A coding without its feature is not [available](available): it is never on offer.

mod decoder;
mod encoder;

pub use crate::header::accept_encoding::Coding;
pub(crate) use decoder::{Decoder, Step};
pub(crate) use encoder::{Encoder, Levels};

use crate::policy::negotiation::PREFERENCE;

/// How much is encoded at a time, in bytes, before other tasks have their turn: about a millisecond.
pub(crate) const PIECE: usize = 64 << 10;

/// In an answer that no layer further out encodes: its route is per user, and did not say that it may
/// be compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncoded;

/// Whether a coding's feature is on.
pub(crate) fn is_available(coding: Coding) -> bool {
    match coding {
        Coding::Brotli => cfg!(feature = "br"),
        Coding::Zstd => cfg!(feature = "zstd"),
        Coding::Gzip => cfg!(feature = "gzip"),
    }
}

/// The codings whose features are on, the most wanted first.
pub(crate) fn available() -> Vec<Coding> {
    let on = |coding: &Coding| is_available(*coding);
    PREFERENCE.into_iter().filter(on).collect()
}

#[cfg(test)]
mod tests;
