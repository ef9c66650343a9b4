//! The body of an answer: passed through, read from store, or copied on its way.
//!
//! A response that may be stored streams to its client without delay while a bounded copy is kept.
//! The copy is published when the body has ended cleanly and at its declared length, *before* the
//! client sees the last byte; a body that errs, is cut short, carries trailers or outgrows the limit
//! is not stored, and the client gets every byte all the same.
//!
//! ```text
//!                      ┌──────────── Fill ────────────┐
//!  inner body ──poll──►│ copy: chunks up to the limit │──► store, followers
//!      ▲               │ ahead: frames not yet taken  │──► the leader's client
//!      │               └──────────────────────────────┘
//!   the client polls; once a follower waits, the pump does, and the client reads what is ahead
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec;

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use pin_project_lite::pin_project;

use super::coded::Making;
use super::publish::{Publication, Published};
use crate::policy::decision::Reason;
use crate::policy::stored::StoredResponse;

pin_project! {
    /// The body of every answer of [`CacheService`](super::CacheService).
    pub struct ResponseBody<B: Body> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B: Body> {
        Passed { #[pin] body: B },
        Stored { response: Option<Arc<StoredResponse>> },
        // A form of a stored response, read while it is made.
        Made { making: Arc<Making>, next: usize },
        Whole { body: Bytes },
        Pieces { pieces: vec::IntoIter<Bytes> },
        Withheld,
        Copied { fill: Arc<Mutex<Fill<B>>> },
    }
}

/// What a call of the service comes to.
pub(crate) type Answer<R, E> = Result<Response<ResponseBody<R>>, E>;

impl<B: Body> ResponseBody<B> {
    pub(crate) fn passed(body: B) -> Self {
        Self {
            kind: Kind::Passed { body },
        }
    }

    /// The content of a stored response.
    pub(crate) fn stored(response: Arc<StoredResponse>) -> Self {
        Self {
            kind: Kind::Stored {
                response: Some(response),
            },
        }
    }

    /// The content of a form that is being made.
    pub(crate) fn made(making: Arc<Making>) -> Self {
        Self {
            kind: Kind::Made { making, next: 0 },
        }
    }

    /// Content that is there in one piece.
    pub(crate) fn whole(body: Bytes) -> Self {
        Self {
            kind: Kind::Whole { body },
        }
    }

    /// No content, where there would be some: of a 304. It says no length, since servers would take
    /// that for the length of the whole (RFC 9110 §8.6).
    pub(crate) fn withheld() -> Self {
        let kind = Kind::Withheld;
        Self { kind }
    }

    /// Content that is there in pieces.
    pub(crate) fn pieces(pieces: Vec<Bytes>) -> Self {
        let pieces = pieces.into_iter();
        Self {
            kind: Kind::Pieces { pieces },
        }
    }
}

/// An empty body, for layers further out that answer by themselves, as tower-http's `Timeout` does.
impl<B: Body> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::whole(Bytes::new())
    }
}

impl<B> ResponseBody<B>
where
    B: Body + Send + 'static,
    B::Error: Send,
{
    /// Streams `body` while copying it for `publication`. Whatever is there already is taken at
    /// once, so that a body which needs no waiting is stored before its head is answered; the second
    /// value says whether it was, where that is known by now.
    pub(crate) fn copied(
        body: B,
        publication: Publication,
        cx: &mut Context<'_>,
    ) -> (Self, Option<Published>) {
        let mut fill = Fill::new(body, publication);
        while fill.copy.is_some() && fill.pull(cx).is_ready() {}
        let published = fill.published.take();
        if let Some(body) = fill.take_whole() {
            return (Self::whole(body), published);
        }
        let fill = Arc::new(Mutex::new(fill));
        Fill::offer_pump(&fill);
        (
            Self {
                kind: Kind::Copied { fill },
            },
            published,
        )
    }

    /// Reads a body to the end of its copy for nobody but the store.
    pub(crate) async fn complete_copy(self) {
        let Kind::Copied { fill } = self.kind else {
            return;
        };
        std::future::poll_fn(|cx| {
            let mut fill = fill.lock();
            while fill.copy.is_some() && !fill.ended {
                fill.ahead.clear();
                if fill.pumped || fill.pull(cx).is_pending() {
                    fill.wait(cx);
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
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
            KindProjection::Stored { response } => {
                let body = response.take().map(|response| response.body());
                Poll::Ready(body.and_then(only_frame))
            }
            KindProjection::Made { making, next } => {
                let chunk = making.poll_chunk(next, cx);
                chunk.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
            KindProjection::Whole { body } => Poll::Ready(only_frame(std::mem::take(body))),
            KindProjection::Pieces { pieces } => {
                let piece = pieces.next();
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            KindProjection::Withheld => Poll::Ready(None),
            KindProjection::Copied { fill } => fill.lock().poll_client(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Whole { body } => body.is_empty(),
            Kind::Stored { response } => remaining(response) == 0,
            Kind::Made { making, next } => making.is_over(*next),
            Kind::Pieces { pieces } => pieces.len() == 0,
            Kind::Withheld => true,
            Kind::Copied { fill } => fill.lock().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Whole { body } => SizeHint::with_exact(body.len() as u64),
            Kind::Stored { response } => SizeHint::with_exact(remaining(response)),
            Kind::Made { .. } => SizeHint::default(),
            Kind::Pieces { pieces } => {
                let pieces = pieces.as_slice().iter();
                SizeHint::with_exact(pieces.map(|piece| piece.len() as u64).sum())
            }
            Kind::Withheld => SizeHint::default(),
            Kind::Copied { fill } => fill.lock().size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Passed { .. } => "ResponseBody::Passed",
            Kind::Whole { .. } => "ResponseBody::Whole",
            Kind::Pieces { .. } => "ResponseBody::Pieces",
            Kind::Withheld => "ResponseBody::Withheld",
            Kind::Stored { .. } => "ResponseBody::Stored",
            Kind::Made { .. } => "ResponseBody::Made",
            Kind::Copied { .. } => "ResponseBody::Copied",
        })
    }
}

/// The one frame of content that is there already, if it has any bytes.
fn only_frame<E>(body: Bytes) -> Option<Result<Frame<Bytes>, E>> {
    (!body.is_empty()).then(|| Ok(Frame::data(body)))
}

fn is_content<E>(frame: &Result<Frame<Bytes>, E>) -> bool {
    frame.as_ref().is_ok_and(Frame::is_data)
}

fn remaining(response: &Option<Arc<StoredResponse>>) -> u64 {
    response
        .as_ref()
        .map_or(0, |response| response.body_length())
}

/// The inner body with the copy that is made of it, shared by the client's body and the pump.
struct Fill<B: Body> {
    /// `None` once it has ended, failed or panicked: it is not polled again.
    body: Option<Pin<Box<B>>>,
    /// Read from the body and not yet taken by the client.
    ahead: VecDeque<Result<Frame<Bytes>, B::Error>>,
    ahead_bytes: u64,
    ended: bool,
    /// `None` once the response is published, or will not be.
    copy: Option<Copy>,
    published: Option<Published>,
    /// Whether the pump polls the body; the client then only reads what is ahead.
    pumped: bool,
    /// Who waits for more; the pump may begin, or give up, while the client waits.
    client: Option<Waker>,
}

struct Copy {
    chunks: Vec<Bytes>,
    length: u64,
    declared: Option<u64>,
    limit: u64,
    /// Whether what comes behind the content is to be waited for.
    trailers: bool,
    publication: Publication,
}

impl<B: Body> Fill<B> {
    fn new(body: B, publication: Publication) -> Self {
        let declared = publication.declared_length().or(body.size_hint().exact());
        let copy = Copy {
            chunks: Vec::new(),
            length: 0,
            declared,
            limit: publication.body_limit(),
            trailers: publication.announces_trailers(),
            publication,
        };
        let mut fill = Self {
            body: Some(Box::pin(body)),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            ended: false,
            copy: Some(copy),
            published: None,
            pumped: false,
            client: None,
        };
        if fill.body.as_ref().is_some_and(|body| body.is_end_stream()) {
            fill.end();
        }
        fill
    }

    /// What the client gets next.
    fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if let Some(frame) = self.ahead.pop_front() {
                self.ahead_bytes -= data_length(&frame);
                return Poll::Ready(Some(frame));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            assert!(self.body.is_some(), "{PANICKED}");
            if self.pumped || self.pull(cx).is_pending() {
                self.wait(cx);
                return Poll::Pending;
            }
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.client {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.client = Some(cx.waker().clone()),
        }
    }

    /// Reads one frame of the inner body into `ahead` and into the copy. When the declared length is
    /// reached it reads on, since a client may take the last declared byte for the end.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pulled = Poll::Pending;
        if self.body.is_none() && !self.ended {
            self.abandon(None); // it panicked before, and nothing more will come of it
            return Poll::Ready(());
        }
        // Out of `self` while it is polled, so that one that panics is not polled again.
        while let Some(mut body) = self.body.take() {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    self.body = Some(body);
                    let is_all = |copy: &Copy| copy.is_complete() && !copy.trailers;
                    if self.copy.as_ref().is_some_and(is_all) && pulled.is_ready() {
                        self.publish();
                    }
                    return pulled;
                }
                Poll::Ready(None) => self.end(),
                Poll::Ready(Some(Err(error))) => self.fail(error),
                Poll::Ready(Some(Ok(frame))) => {
                    let at_end = body.is_end_stream();
                    self.take(into_bytes(frame));
                    if at_end {
                        self.end();
                    } else {
                        self.body = Some(body);
                    }
                }
            }
            pulled = Poll::Ready(());
            if !self.copy.as_ref().is_some_and(Copy::is_complete) {
                break;
            }
        }
        pulled
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) => {
                let data = data.clone();
                self.copy_chunk(data);
            }
            None => self.abandon(Some(Reason::Trailers)),
        }
        let frame = Ok(frame);
        self.ahead_bytes += data_length(&frame);
        self.ahead.push_back(frame);
    }

    /// The body broke off: its client hears of it after what came before.
    fn fail(&mut self, error: B::Error) {
        self.abandon(None);
        self.ended = true;
        self.ahead.push_back(Err(error));
    }

    fn copy_chunk(&mut self, data: Bytes) {
        let Some(copy) = self.copy.as_mut() else {
            return;
        };
        copy.length += data.len() as u64;
        if copy.length > copy.limit {
            self.abandon(Some(Reason::BodyTooLarge));
        } else if copy.declared.is_some_and(|declared| copy.length > declared) {
            self.abandon(None);
        } else if !data.is_empty() {
            copy.chunks.push(data);
        }
    }

    /// The body ended cleanly: publish, if the copy has the declared length.
    fn end(&mut self) {
        self.body = None;
        self.ended = true;
        match &self.copy {
            Some(copy)
                if copy
                    .declared
                    .is_some_and(|declared| declared != copy.length) =>
            {
                self.abandon(None);
            }
            Some(_) => self.publish(),
            None => {}
        }
    }

    fn publish(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.published = Some(copy.publication.publish(&copy.chunks));
        }
    }

    fn abandon(&mut self, reason: Option<Reason>) {
        if let Some(copy) = self.copy.take() {
            copy.publication.abandon(reason);
            self.published = Some(Err(reason));
        }
    }

    /// The whole body in one piece, when it has ended and nothing but data is ahead.
    fn take_whole(&mut self) -> Option<Bytes> {
        if !self.ended {
            return None;
        }
        match self.ahead.len() {
            0 => Some(Bytes::new()),
            1 => {
                let data = self.ahead.front()?.as_ref().ok()?.data_ref()?.clone();
                self.ahead.clear();
                Some(data)
            }
            _ => None,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = match &self.body {
            Some(body) => body.size_hint(),
            None if self.ahead.iter().all(is_content) => SizeHint::with_exact(0),
            // What is there is not all there was to be, or trailers follow: it must not look whole.
            None => SizeHint::default(),
        };
        let ahead = self.ahead_bytes;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint.set_lower(hint.lower().saturating_add(ahead));
        hint
    }
}

impl<B> Fill<B>
where
    B: Body + Send + 'static,
    B::Error: Send,
{
    /// Lets the first follower start the pump.
    fn offer_pump(fill: &Arc<Mutex<Self>>) {
        let shared = Arc::downgrade(fill);
        let guard = fill.lock();
        let Some(copy) = &guard.copy else { return };
        let Some(offer) = copy.publication.pump_offer() else {
            return;
        };
        drop(guard);
        offer.offer(move || {
            // Without a runtime the client goes on driving, and followers have their deadline.
            let (Some(fill), Ok(runtime)) =
                (shared.upgrade(), tokio::runtime::Handle::try_current())
            else {
                return;
            };
            runtime.spawn(Self::pump(fill));
        });
    }

    /// Reads the body ahead of its client, for as long as there is a copy to complete.
    async fn pump(fill: Arc<Mutex<Self>>) {
        let pumping = Pumping(fill);
        std::future::poll_fn(|cx| {
            let mut fill = pumping.0.lock();
            fill.pumped = true;
            while fill.copy.is_some() && !fill.ended {
                if fill.pull(cx).is_pending() {
                    let client = fill.client.take();
                    drop(fill);
                    client.into_iter().for_each(Waker::wake);
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// The pump at work. When it ends, for whatever reason, the client drives again.
struct Pumping<B: Body>(Arc<Mutex<Fill<B>>>);

impl<B: Body> Drop for Pumping<B> {
    fn drop(&mut self) {
        let mut fill = self.0.lock();
        fill.pumped = false;
        if fill.body.is_none() && !fill.ended {
            fill.abandon(None); // it panicked: its client will too, and nobody else waits for it
        }
        let client = fill.client.take();
        drop(fill);
        client.into_iter().for_each(Waker::wake);
    }
}

impl Copy {
    fn is_complete(&self) -> bool {
        self.declared == Some(self.length)
    }
}

/// What a client sees of a body that panicked in the pump: the connection breaks off, as it would
/// have without a cache.
const PANICKED: &str = "the inner body panicked while it was read ahead of its client";

fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

fn data_length<E>(frame: &Result<Frame<Bytes>, E>) -> u64 {
    let data = frame.as_ref().ok().and_then(Frame::data_ref);
    data.map_or(0, |data| data.len() as u64)
}
