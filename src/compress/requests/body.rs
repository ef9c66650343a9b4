//! The content of a request, decoded as it is read.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::coding::{Decoder, Step, PIECE};

/// How much content may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) size: u64,
    pub(super) ratio: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size: 8 << 20,
            ratio: 200,
        }
    }
}

impl Limits {
    /// Short content may be as repetitive as it likes.
    const FREE: u64 = 64 << 10;

    fn allow(&self, read: u64, made: u64) -> bool {
        let by_ratio = read.saturating_mul(u64::from(self.ratio));
        made <= self.size && made <= by_ratio.max(Self::FREE)
    }
}

/// What the body tells the future of the answer.
#[derive(Debug, Default)]
pub(super) struct Verdict(AtomicU8);

impl Verdict {
    const TOO_LARGE: u8 = 1;
    const MALFORMED: u8 = 2;

    /// The status that content was refused with, if it was.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self.0.load(Ordering::Acquire) {
            Self::TOO_LARGE => Some(StatusCode::PAYLOAD_TOO_LARGE),
            Self::MALFORMED => Some(StatusCode::BAD_REQUEST),
            _ => None,
        }
    }
}

/// Why the content of a request broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecompressError<E> {
    /// The client's body failed.
    Body(E),
    /// The content became more than the limits allow; the client gets 413.
    TooLarge,
    /// The content cannot be decoded, or has no end; the client gets 400.
    Malformed,
}

impl<E: fmt::Display> fmt::Display for DecompressError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::TooLarge => f.write_str("the decoded content exceeds its limit"),
            Self::Malformed => f.write_str("the content cannot be decoded"),
        }
    }
}

impl<E: Error + 'static> Error for DecompressError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Body(error) => error.source(),
            _ => None,
        }
    }
}

pin_project! {
    /// The body of a request behind [`Decompress`](super::Decompress).
    pub struct RequestBody<B> {
        #[pin]
        inner: B,
        // `None` where the content has no coding.
        coded: Option<Box<Decoding>>,
    }
}

struct Decoding {
    /// `None` once nothing more comes.
    decoder: Option<Decoder>,
    input: Bytes,
    /// There may be output without more input.
    is_full: bool,
    limits: Limits,
    read: u64,
    made: u64,
    /// Decoded since the task last waited for something.
    worked: usize,
    verdict: Arc<Verdict>,
}

impl<B> RequestBody<B> {
    pub(super) fn passed(inner: B) -> Self {
        Self { inner, coded: None }
    }

    pub(super) fn decoded(
        inner: B,
        decoder: Decoder,
        limits: Limits,
        verdict: Arc<Verdict>,
    ) -> Self {
        let coded = Decoding {
            decoder: Some(decoder),
            input: Bytes::new(),
            is_full: false,
            limits,
            read: 0,
            made: 0,
            worked: 0,
            verdict,
        };
        Self {
            inner,
            coded: Some(Box::new(coded)),
        }
    }
}

type Polled<E> = Poll<Option<Result<Frame<Bytes>, DecompressError<E>>>>;

impl<B: Body> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = DecompressError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B::Error> {
        let this = self.project();
        let mut inner = this.inner;
        let mut next = |cx: &mut Context<'_>| {
            let frame = inner.as_mut().poll_frame(cx).map_ok(into_bytes);
            frame.map_err(DecompressError::Body)
        };
        match this.coded {
            None => next(cx),
            Some(coded) => coded.poll(next, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.coded {
            None => self.inner.is_end_stream(),
            Some(coded) => coded.decoder.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.coded {
            None => self.inner.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.coded {
            None => "RequestBody::Passed",
            Some(_) => "RequestBody::Decoded",
        })
    }
}

impl Decoding {
    /// The most that is made of content in one step.
    const ROOM: usize = 16 << 10;

    fn poll<E>(
        &mut self,
        mut next: impl FnMut(&mut Context<'_>) -> Polled<E>,
        cx: &mut Context<'_>,
    ) -> Polled<E> {
        loop {
            if self.decoder.is_none() {
                return Poll::Ready(None);
            }
            if self.worked >= PIECE {
                self.worked = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_full || !self.input.is_empty() {
                match self.step() {
                    Ok(out) if out.is_empty() => continue,
                    out => return Poll::Ready(Some(out.map(Frame::data))),
                }
            }
            match next(cx) {
                Poll::Pending => {
                    self.worked = 0;
                    return Poll::Pending;
                }
                Poll::Ready(None) => return Poll::Ready(self.end().err().map(Err)),
                Poll::Ready(Some(Err(error))) => {
                    self.decoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(trailers) => return Poll::Ready(Some(self.end().map(|()| trailers))),
                },
            }
        }
    }

    /// Decodes a little more.
    fn step<E>(&mut self) -> Result<Bytes, DecompressError<E>> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(Bytes::new());
        };
        let mut out = Vec::new();
        let mut input = &self.input[..];
        let step = decoder.step(&mut input, &mut out, Self::ROOM);
        let read = self.input.len() - input.len();
        self.input.advance(read);
        self.read += read as u64;
        self.made += out.len() as u64;
        self.worked += read + out.len();
        let Ok(step) = step else {
            return Err(self.refuse(Verdict::MALFORMED));
        };
        self.is_full = step == Step::Full;
        if !self.limits.allow(self.read, self.made) {
            return Err(self.refuse(Verdict::TOO_LARGE));
        }
        Ok(out.into())
    }

    /// The client's body has ended: so must the content have.
    fn end<E>(&mut self) -> Result<(), DecompressError<E>> {
        let may_end = self.decoder.take().is_some_and(|decoder| decoder.may_end());
        match may_end || self.read == 0 {
            true => Ok(()),
            false => Err(self.refuse(Verdict::MALFORMED)),
        }
    }

    fn refuse<E>(&mut self, why: u8) -> DecompressError<E> {
        self.decoder = None;
        self.verdict.0.store(why, Ordering::Release);
        match why {
            Verdict::TOO_LARGE => DecompressError::TooLarge,
            _ => DecompressError::Malformed,
        }
    }
}

fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
