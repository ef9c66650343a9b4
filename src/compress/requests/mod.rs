//! Content that clients send with a coding, decoded within limits before the handler reads it.

mod body;
mod layer;

pub use body::{DecompressError, RequestBody};
pub use layer::{Decompress, DecompressFuture, DecompressLayer, RefusalBody};
