//! The body of an answer: passed through, or read for its tag and then sent as it was.
//!
//! Only a body that says how long it is, and keeps to it, gets a tag. Whatever else happens while it is
//! read (an error, an early end, more than was declared, trailers) reaches the client just as it
//! would have without this layer, behind the frames that came before.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};

pin_project! {
    /// The body of every answer of [`Conditional`](super::Conditional).
    pub struct ResponseBody<B: Body> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B: Body> {
        Passed { #[pin] body: B },
        Read { read: Read<B> },
        Empty,
        Withheld,
    }
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn passed(body: B) -> Self {
        Self {
            kind: Kind::Passed { body },
        }
    }

    pub(super) const fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// No content, where there would be some: of a 304. It says no length, since servers would take
    /// that for the length of the whole (RFC 9110 §8.6).
    pub(super) const fn withheld() -> Self {
        let kind = Kind::Withheld;
        Self { kind }
    }
}

/// An empty body, for layers further out that answer by themselves, as tower-http's `Timeout` does.
impl<B: Body> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Passed { body } => body.poll_frame(cx).map_ok(into_bytes),
            KindProjection::Read { read } => read.poll_frame(cx),
            KindProjection::Empty | KindProjection::Withheld => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Read { read } => read.is_end_stream(),
            Kind::Empty | Kind::Withheld => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Read { read } => read.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Withheld => SizeHint::default(),
        }
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Passed { .. } => "ResponseBody::Passed",
            Kind::Read { .. } => "ResponseBody::Read",
            Kind::Empty => "ResponseBody::Empty",
            Kind::Withheld => "ResponseBody::Withheld",
        })
    }
}

/// What was read of a body, and what may follow.
struct Read<B: Body> {
    frames: vec::IntoIter<Bytes>,
    /// How much the frames and what the body declared beyond them come to. A body that ended early
    /// still says what is missing, so that its client learns of it.
    left: u64,
    /// What ended the reading, if it was not the end.
    then: Option<Result<Frame<Bytes>, B::Error>>,
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body> Read<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(data) = self.frames.next() {
            self.left = self.left.saturating_sub(data.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(frame) = self.then.take() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_frame(cx).map_ok(into_bytes),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref();
        self.frames.len() == 0
            && self.then.is_none()
            && self.left == 0
            && rest.is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(rest) = &self.rest else {
            return SizeHint::with_exact(self.left);
        };
        let mut hint = rest.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(self.left));
        }
        hint.set_lower(hint.lower().saturating_add(self.left));
        hint
    }
}

/// A body that is read, and hashed, before its head is answered.
pub(super) struct Reading<B: Body> {
    /// Boxed, since what is left of a body that does not keep its word moves on into the answer.
    body: Option<Pin<Box<B>>>,
    frames: Vec<Bytes>,
    length: u64,
    declared: u64,
    hasher: Sha256,
}

impl<B: Body> Reading<B> {
    pub(super) fn new(body: B, declared: u64) -> Self {
        Self {
            body: Some(Box::pin(body)),
            frames: Vec::new(),
            length: 0,
            declared,
            hasher: Sha256::new(),
        }
    }

    /// The body to answer with, and the digest of its content if it came whole.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(ResponseBody<B>, Option<[u8; 32]>)> {
        loop {
            let body = self.body.as_mut();
            let body = body.expect("a body is not read on after its end");
            let is_whole = self.length == self.declared;
            if is_whole && body.is_end_stream() {
                return Poll::Ready(self.whole(false));
            }
            match body.as_mut().poll_frame(cx) {
                // Of a body that has reached its length no more is awaited.
                Poll::Pending if is_whole => return Poll::Ready(self.whole(true)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if is_whole => return Poll::Ready(self.whole(false)),
                Poll::Ready(None) => return Poll::Ready(self.as_it_came(None, false)),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(self.as_it_came(Some(Err(error)), false));
                }
                Poll::Ready(Some(Ok(frame))) => match into_bytes(frame).into_data() {
                    Ok(data) => {
                        self.length += data.len() as u64;
                        if self.length > self.declared {
                            self.frames.push(data);
                            return Poll::Ready(self.as_it_came(None, true));
                        }
                        self.hasher.update(&data);
                        self.frames.push(data);
                    }
                    Err(trailers) => {
                        return Poll::Ready(self.as_it_came(Some(Ok(trailers)), true));
                    }
                },
            }
        }
    }

    /// All of the content is there; whether the body may still say something is `open`.
    fn whole(&mut self, open: bool) -> (ResponseBody<B>, Option<[u8; 32]>) {
        let digest = self.hasher.finalize_reset().into();
        (self.as_it_came(None, open).0, Some(digest))
    }

    fn as_it_came(
        &mut self,
        then: Option<Result<Frame<Bytes>, B::Error>>,
        open: bool,
    ) -> (ResponseBody<B>, Option<[u8; 32]>) {
        let rest = self.body.take().filter(|_| open);
        let read = Read {
            frames: std::mem::take(&mut self.frames).into_iter(),
            left: self.length.max(self.declared),
            then,
            rest,
        };
        let kind = Kind::Read { read };
        (ResponseBody { kind }, None)
    }
}

/// The frame with its data in one piece, which copies nothing where it is `Bytes` already.
fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
