//! The body of an answer: passed, or encoded on its way.
//!
//! ```text
//!  inner body ─► piece (64 KiB at most) ─► encoder ─► out ─► client
//!      │ pending                             ▲
//!      └───────────── flush ─────────────────┘
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::coding::{Encoder, PIECE};
use crate::policy::encoding;

/// So much output is sent on before there is more.
const ENOUGH: usize = 16 << 10;

pin_project! {
    /// The body of every answer of [`Compress`](super::Compress).
    pub struct ResponseBody<B: Body> {
        #[pin]
        inner: B,
        // `None` where the inner body passes as it is.
        coded: Option<Box<Coded<B::Error>>>,
    }
}

/// An encoding under way.
struct Coded<E> {
    /// `None` once the end is written.
    encoder: Option<Encoder>,
    /// Read and not yet encoded.
    input: Bytes,
    out: Vec<u8>,
    /// What follows the last of the output.
    last: Option<Result<HeaderMap, E>>,
    /// Encoded since the task last waited for something.
    worked: usize,
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn passed(inner: B) -> Self {
        Self { inner, coded: None }
    }

    pub(super) fn coded(inner: B, encoder: Encoder) -> Self {
        let coded = Coded {
            encoder: Some(encoder),
            input: Bytes::new(),
            out: Vec::new(),
            last: None,
            worked: 0,
        };
        Self {
            inner,
            coded: Some(Box::new(coded)),
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let mut inner = this.inner;
        match this.coded {
            None => inner.poll_frame(cx).map_ok(into_bytes),
            Some(coded) => coded.poll(|cx| inner.as_mut().poll_frame(cx), cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.coded {
            None => self.inner.is_end_stream(),
            Some(coded) => coded.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.coded {
            None => self.inner.size_hint(),
            Some(coded) if coded.is_over() => SizeHint::with_exact(0),
            Some(_) => SizeHint::default(),
        }
    }
}

/// An empty body, for layers further out that answer by themselves.
impl<B: Body + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::passed(B::default())
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.coded {
            None => "ResponseBody::Passed",
            Some(_) => "ResponseBody::Coded",
        })
    }
}

/// Codecs fail on what they read, and encoders read anything.
const IN_MEMORY: &str = "encoding into memory does not fail";

impl<E> Coded<E> {
    fn poll<D: Buf>(
        &mut self,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<D>, E>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.rest());
            };
            if self.out.len() >= ENOUGH {
                return Poll::Ready(self.take_out());
            }
            if self.worked >= PIECE {
                // The inner body may have everything at hand, and other tasks their turn.
                self.worked = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.input.is_empty() {
                let piece = self.input.split_to(self.input.len().min(PIECE));
                encoder.encode(&piece, &mut self.out).expect(IN_MEMORY);
                self.worked += piece.len();
                continue;
            }
            match next(cx) {
                Poll::Pending => {
                    self.worked = 0;
                    encoder.flush(&mut self.out).expect(IN_MEMORY);
                    return match self.take_out() {
                        None => Poll::Pending,
                        some => Poll::Ready(some),
                    };
                }
                Poll::Ready(Some(Ok(frame))) => match into_bytes(frame).into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        self.finish(trailers.map(|trailers| Ok(coded_trailers(trailers))));
                    }
                },
                Poll::Ready(None) => self.finish(None),
                Poll::Ready(Some(Err(error))) => {
                    // What came before, and no end: a client must not take it for the whole.
                    encoder.flush(&mut self.out).expect(IN_MEMORY);
                    self.encoder = None;
                    self.last = Some(Err(error));
                }
            }
        }
    }

    /// Writes the end of the content.
    fn finish(&mut self, last: Option<Result<HeaderMap, E>>) {
        if let Some(mut encoder) = self.encoder.take() {
            encoder.finish(&mut self.out).expect(IN_MEMORY);
        }
        self.last = last;
    }

    /// What is left after the end.
    fn rest(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        let out = self.take_out();
        out.or_else(|| Some(self.last.take()?.map(Frame::trailers)))
    }

    fn take_out(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        if self.out.is_empty() {
            return None;
        }
        Some(Ok(Frame::data(std::mem::take(&mut self.out).into())))
    }

    fn is_over(&self) -> bool {
        self.encoder.is_none() && self.out.is_empty() && self.last.is_none()
    }
}

/// Digests in trailers are of the content without the coding, like those among the fields.
fn coded_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let untrue: Vec<_> = trailers
        .keys()
        .filter(|name| encoding::is_untrue_of_coded(name))
        .cloned()
        .collect();
    for name in untrue {
        trailers.remove(name);
    }
    trailers
}

fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
