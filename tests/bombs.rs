//! Ten gigabytes in a few kilobytes, as dense as each coding allows, against a handler that reads all
//! it gets.
//!
//! A program of its own with one test, since it looks at what the whole process has used.

#[path = "support/codings.rs"]
mod codings;
mod support;

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use larder::compress::{DecompressLayer, RequestBody};
use tower::{service_fn, Layer, ServiceExt};

use codings::decoded;
use support::read;

const GIGABYTES: u64 = 10 << 30;
const PIECE: usize = 16 << 20;
const MIB: u64 = 1 << 20;

/// Content that decodes to zeros: what it begins with, and what may follow as often as one likes.
struct Bomb {
    start: Bytes,
    repeated: Bytes,
    /// What one repetition decodes to.
    makes: u64,
    end: Bytes,
}

impl Bomb {
    fn of(coding: &str) -> Self {
        match coding {
            "gzip" => Self::gzip(),
            "br" => Self::br(),
            _ => Self::zstd(),
        }
    }

    /// Members behind each other (RFC 1952 §2.2), of zeros that become a thousandth.
    fn gzip() -> Self {
        let level = flate2::Compression::best();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        for _ in 0..PIECE >> 12 {
            encoder.write_all(&[0; 1 << 12]).unwrap();
        }
        Self {
            start: Bytes::new(),
            repeated: encoder.finish().unwrap().into(),
            makes: PIECE as u64,
            end: Bytes::new(),
        }
    }

    /// Blocks of four bytes that repeat one byte 128 KiB times (RFC 8878 §3.1.1.2), in a window of 8 MiB.
    fn zstd() -> Self {
        const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
        const WINDOW: u8 = (23 - 10) << 3;
        const LENGTH: u32 = 128 << 10;
        let block = |last: u32| {
            let [a, b, c, _] = (last | 1 << 1 | LENGTH << 3).to_le_bytes();
            Bytes::from(vec![a, b, c, 0])
        };
        Self {
            start: [&MAGIC[..], &[0, WINDOW]].concat().into(),
            repeated: block(0).repeat(128).into(),
            makes: 128 * u64::from(LENGTH),
            end: block(1),
        }
    }

    /// What an encoder writes for zeros, and for more zeros behind them, each time flushed to a whole
    /// byte: one copy of 16 MiB in fourteen bytes (RFC 7932 §5, §9.2). Written down here, since an
    /// encoder's window would be seen in what this process has used.
    fn br() -> Self {
        const START: [u8; 14] = *b"\xcf\xff\xff\x7f\x00\x24\x00\xe2\xb1\x40\x72\xef\xff\x0d";
        const MORE: [u8; 14] = *b"\xfc\xff\xff\x07\x40\x02\x20\x0e\x0b\x40\xf7\xfe\xdf\x00";
        Self {
            start: Bytes::from_static(&START),
            repeated: Bytes::from_static(&MORE),
            makes: PIECE as u64,
            end: Bytes::from_static(b"\x03"),
        }
    }

    fn of_repetitions(&self, count: usize) -> Vec<u8> {
        [&self.start[..], &self.repeated.repeat(count), &self.end].concat()
    }

    /// Ten gigabytes of it, made as they are read.
    fn body(&self, read: &Arc<AtomicU64>) -> Fuse {
        let repetitions = usize::try_from(GIGABYTES / self.makes).unwrap();
        let repeated = std::iter::repeat_n(self.repeated.clone(), repetitions);
        let parts = [self.start.clone()].into_iter().chain(repeated);
        Fuse {
            parts: Box::new(parts.chain([self.end.clone()])),
            read: Arc::clone(read),
        }
    }
}

/// The body of a bomb, which counts how much of it was asked for.
struct Fuse {
    parts: Box<dyn Iterator<Item = Bytes> + Send>,
    read: Arc<AtomicU64>,
}

impl Body for Fuse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.next();
        if let Some(part) = &part {
            self.read.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }
}

/// What became of a bomb: what its handler saw, the most of that at once, and what was read of it.
#[derive(Debug)]
struct Seen {
    status: u16,
    decoded: u64,
    at_once: usize,
    read: u64,
}

async fn light(bomb: &Bomb, coding: &str, layer: DecompressLayer) -> Seen {
    let decoded = Arc::new(AtomicU64::new(0));
    let at_once = Arc::new(AtomicU64::new(0));
    let read_of_it = Arc::new(AtomicU64::new(0));
    let (noted, largest) = (Arc::clone(&decoded), Arc::clone(&at_once));
    let handler = service_fn(move |request: Request<RequestBody<Fuse>>| {
        let (noted, largest) = (Arc::clone(&noted), Arc::clone(&largest));
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.into_data().unwrap().len() as u64;
                noted.fetch_add(length, Ordering::SeqCst);
                largest.fetch_max(length, Ordering::SeqCst);
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"thank you"))))
        }
    });
    let request = Request::post("/").header("content-encoding", coding);
    let request = request.body(bomb.body(&read_of_it)).unwrap();
    let answer = read(layer.layer(handler).oneshot(request).await.unwrap()).await;
    assert!(answer.body.is_empty() && answer.headers.is_empty());
    Seen {
        status: answer.status,
        decoded: decoded.load(Ordering::SeqCst),
        at_once: usize::try_from(at_once.load(Ordering::SeqCst)).unwrap(),
        read: read_of_it.load(Ordering::SeqCst),
    }
}

/// The most memory that this process has had, in bytes. Linux alone says so.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().unwrap();
    Some(kilobytes << 10)
}

#[tokio::test]
async fn ten_gigabytes_end_at_the_limit_in_bounded_memory() {
    const FREE: u64 = 64 << 10;
    let bombs = ["br", "zstd", "gzip"].map(|coding| (coding, Bomb::of(coding)));
    let before = peak();
    for (coding, bomb) in &bombs {
        let length = bomb.repeated.len() as u64;
        let (no_size, no_ratio) = (u64::MAX, u32::MAX);
        for (size, ratio) in [(64 * MIB, no_ratio), (no_size, 50), (8 * MIB, 200)] {
            let layer = DecompressLayer::new().max_size(size).max_ratio(ratio);
            let seen = light(bomb, coding, layer).await;
            let grown = peak().zip(before).map(|(peak, before)| peak - before);
            let what = format!("{coding}, {size} bytes, ratio {ratio}: {seen:?}, {grown:?}");
            assert_eq!(seen.status, 413, "{what}");
            let by_ratio = seen.read.saturating_mul(ratio.into());
            assert!(seen.decoded <= size.min(by_ratio.max(FREE)), "{what}");
            assert!(seen.at_once <= 16 << 10, "{what}");
            // Behind the limit nothing is read.
            let needed = (seen.decoded / bomb.makes + 2) * length + bomb.start.len() as u64;
            assert!(seen.read <= needed, "{what}");
            // A window of 16 MiB, and what the coding keeps beside it.
            assert!(grown.is_none_or(|grown| grown < 24 * MIB), "{what}");
        }
    }
    // They do go off, and no bomb of their coding is much denser. Last, since that takes memory.
    for ((coding, bomb), densest) in bombs.iter().zip([1_000_000, 32_000, 1_000]) {
        let [once, twice] = [1, 2].map(|count| decoded(coding, &bomb.of_repetitions(count)).len());
        assert_eq!((twice - once) as u64, bomb.makes, "{coding}");
        let length = bomb.repeated.len() as u64;
        assert!(bomb.makes / length >= densest, "{coding}: {length}");
    }
}
