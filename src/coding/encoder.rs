//! Encoding: a piece, a flush, the end.

use std::io;

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::EncodeV2;

use super::Coding;

/// How hard each coding tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    pub(crate) gzip: i32,
    pub(crate) brotli: i32,
    pub(crate) zstd: i32,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            gzip: 6,
            brotli: 4,
            zstd: 3,
        }
    }
}

impl Levels {
    pub(crate) fn set(&mut self, coding: Coding, level: i32) {
        match coding {
            Coding::Gzip => self.gzip = level.clamp(1, 9),
            Coding::Brotli => self.brotli = level.clamp(0, 11),
            Coding::Zstd => self.zstd = level.clamp(1, 22),
        }
    }
}

/// One encoding under way.
pub(crate) struct Encoder {
    codec: Box<dyn EncodeV2 + Send>,
    /// Whether anything was encoded since the last flush.
    dirty: bool,
}

/// By how much the output grows at a time.
const STEP: usize = 8 << 10;

impl Encoder {
    /// Begins an encoding of content of this size, where it is known; `None` where the coding's
    /// feature is off.
    pub(crate) fn new(coding: Coding, levels: &Levels, size: Option<u64>) -> Option<Self> {
        Some(Self {
            codec: codec(coding, levels, size)?,
            dirty: false,
        })
    }

    /// Takes all of `input`; what is ready is appended to `out`.
    pub(crate) fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = PartialBuffer::new(input);
        while !input.unwritten().is_empty() {
            self.dirty = true;
            grow(out, |room| self.codec.encode(&mut input, room))?;
        }
        Ok(())
    }

    /// Appends whatever a decoder needs to make all of the input so far.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        // Another flush would only add empty blocks.
        if std::mem::take(&mut self.dirty) {
            while !grow(out, |room| self.codec.flush(room))? {}
        }
        Ok(())
    }

    /// Appends the end.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while !grow(out, |room| self.codec.finish(room))? {}
        Ok(())
    }
}

fn grow<T>(
    out: &mut Vec<u8>,
    work: impl FnOnce(&mut WriteBuffer<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let before = out.len();
    out.resize(before + STEP, 0);
    let mut room = WriteBuffer::new_initialized(&mut out[before..]);
    let done = work(&mut room);
    let written = room.written_len();
    out.truncate(before + written);
    done
}

/// The window that content of this size can use, as a power of two.
#[cfg(any(feature = "br", feature = "zstd"))]
fn window(size: Option<u64>) -> u32 {
    const SMALLEST: u32 = 16;
    const LARGEST: u32 = 20;
    let needed = |size: u64| u64::BITS - size.leading_zeros();
    size.map_or(LARGEST, |size| needed(size).clamp(SMALLEST, LARGEST))
}

#[allow(
    unused_variables,
    clippy::unnecessary_wraps,
    reason = "it depends on the features"
)]
fn codec(coding: Coding, levels: &Levels, size: Option<u64>) -> Option<Box<dyn EncodeV2 + Send>> {
    #[allow(unused_imports, reason = "it depends on the features")]
    use compression_codecs as codecs;
    match coding {
        #[cfg(feature = "gzip")]
        Coding::Gzip => {
            let level = flate2::Compression::new(levels.gzip.unsigned_abs());
            Some(Box::new(codecs::GzipEncoder::new(level.into())))
        }
        #[cfg(feature = "br")]
        Coding::Brotli => {
            let params = codecs::brotli::params::EncoderParams::default()
                .quality(codecs::core::Level::Precise(levels.brotli))
                .window_size(window(size).cast_signed())
                .size_hint(usize::try_from(size.unwrap_or(0)).unwrap_or(0));
            Some(Box::new(codecs::BrotliEncoder::new(params)))
        }
        #[cfg(feature = "zstd")]
        Coding::Zstd => {
            let window = codecs::zstd::params::CParameter::window_log(window(size));
            let encoder = codecs::ZstdEncoder::new_with_params(levels.zstd, &[window]);
            Some(Box::new(encoder))
        }
        #[allow(unreachable_patterns, reason = "with all features on")]
        _ => None,
    }
}
