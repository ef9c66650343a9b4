//! Codings by other hands than the crate's own, and content that is worth one.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::io::{Read, Write};

pub const ALL: [&str; 3] = ["br", "zstd", "gzip"];

/// Undoes a coding; without one, the bytes as they are. Panics if they cannot be read, or do not end.
pub fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let read = match coding {
        "" => return bytes.to_vec(),
        "gzip" => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut content),
        "zstd" => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut content),
        other => panic!("{other} was not on offer"),
    };
    read.unwrap();
    content
}

/// What a decoder makes of the beginning of a content: all that was flushed.
pub fn decoded_so_far(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut buffer = [0; 512];
    let mut reader: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        other => panic!("{other} was not on offer"),
    };
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        content.extend_from_slice(&buffer[..read]);
    }
    content
}

pub fn encoded(coding: &str, content: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 22);
            encoder.write_all(content).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::stream::encode_all(content, 3).unwrap(),
        other => panic!("{other} is unknown"),
    }
}

/// Text of this length that no two lengths or seeds have in common, and that becomes smaller.
pub fn text_of(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = Vec::with_capacity(length + 64);
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(
            format!("{{\"id\":{},\"title\":\"post\"}},", state % 10_000).as_bytes(),
        );
    }
    text.truncate(length);
    text
}
