//! Decoding, a bounded step at a time: a few bytes may stand for gigabytes.

use std::io;

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::DecodeV2;

use super::Coding;

/// One decoding under way.
pub(crate) struct Decoder {
    codec: Box<dyn DecodeV2 + Send>,
    coding: Coding,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read of this member.
    Fresh,
    Within,
    /// A whole member was read, and perhaps another one follows.
    Ended,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more output without more input.
    Full,
    /// All input is read, and all that it stands for is written.
    Hungry,
}

impl Decoder {
    /// `None` where the coding's feature is off.
    pub(crate) fn new(coding: Coding) -> Option<Self> {
        Some(Self {
            codec: codec(coding)?,
            coding,
            state: State::Fresh,
        })
    }

    /// Reads from `input` and appends at most `room` bytes to `out`.
    pub(crate) fn step(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        room: usize,
    ) -> io::Result<Step> {
        if input.is_empty() && self.state != State::Within {
            return Ok(Step::Hungry);
        }
        if self.state == State::Ended {
            // Both codings may be a sequence of members (RFC 1952 §2.2, RFC 8878 §3); br may not.
            if self.coding == Coding::Brotli {
                return Err(io::Error::other("bytes behind the end of the content"));
            }
            self.codec.reinit()?;
        }
        self.state = State::Within;
        let before = out.len();
        out.resize(before + room, 0);
        let mut from = PartialBuffer::new(*input);
        let mut to = WriteBuffer::new_initialized(&mut out[before..]);
        let ended = self.codec.decode(&mut from, &mut to);
        let (read, written) = (from.written_len(), to.written_len());
        out.truncate(before + written);
        let had_input = !input.is_empty();
        *input = &input[read..];
        if matches!(ended, Ok(true)) {
            self.state = State::Ended;
        } else if !had_input && written == 0 {
            // Asked for what may be left, and there is nothing; some codecs call that an error.
            return Ok(Step::Hungry);
        } else if let Err(error) = ended {
            return Err(error);
        } else if read == 0 && written == 0 && !input.is_empty() {
            return Err(io::Error::other("content that cannot be read on"));
        }
        match written == room || !input.is_empty() {
            true => Ok(Step::Full),
            false => Ok(Step::Hungry),
        }
    }

    /// Whether the content may end here.
    pub(crate) fn may_end(&self) -> bool {
        self.state == State::Ended
    }
}

fn codec(coding: Coding) -> Option<Box<dyn DecodeV2 + Send>> {
    #[allow(unused_imports, reason = "it depends on the features")]
    use compression_codecs as codecs;
    match coding {
        #[cfg(feature = "gzip")]
        Coding::Gzip => Some(Box::new(codecs::GzipDecoder::new())),
        #[cfg(feature = "br")]
        Coding::Brotli => Some(Box::new(codecs::BrotliDecoder::new())),
        #[cfg(feature = "zstd")]
        Coding::Zstd => {
            // A window of 8 MiB is what the coding allows (RFC 9659); the library would take 128.
            let window = codecs::zstd::params::DParameter::window_log_max(23);
            Some(Box::new(codecs::ZstdDecoder::new_with_params(&[window])))
        }
        #[allow(unreachable_patterns, reason = "with all features on")]
        _ => None,
    }
}
