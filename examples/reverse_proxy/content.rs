//! Content on its way: up to the origin, and down to the client.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::informational::Sender;

/// What a client sends, with what whoever asks the origin must know of the exchange.
pub(crate) struct Upload {
    content: Either<Incoming, Full<Bytes>>,
    informed: Option<Sender>,
    moves: Option<Arc<AtomicBool>>,
}

impl Upload {
    /// `informed`: where interim answers go, if anywhere.
    pub(crate) fn new(incoming: Incoming, informed: Option<Sender>) -> Self {
        Self {
            content: Either::Left(incoming),
            informed,
            moves: None,
        }
    }

    pub(crate) fn take_informed(&mut self) -> Option<Sender> {
        self.informed.take()
    }

    /// Becomes true whenever a part of the content goes out.
    pub(crate) fn watch(&mut self) -> Arc<AtomicBool> {
        Arc::clone(self.moves.insert(Arc::default()))
    }
}

/// Content that was read, as it is part of the key (QUERY). Interim answers are not for it.
impl From<Bytes> for Upload {
    fn from(content: Bytes) -> Self {
        Self {
            content: Either::Right(content.into()),
            informed: None,
            moves: None,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
        if let Some(moves) = &self.moves {
            moves.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// What a client gets. Where it breaks off, the client still gets what came before.
pub(crate) struct Download<B: Body> {
    content: B,
    failure: Option<B::Error>,
}

impl<B: Body> Download<B> {
    pub(crate) const fn new(content: B) -> Self {
        Self {
            content,
            failure: None,
        }
    }
}

impl<B: Body<Error: Unpin> + Unpin> Body for Download<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match ready!(Pin::new(&mut self.content).poll_frame(cx)) {
            // A failure makes hyper drop what it has not written, the head too. It writes when it has to wait.
            Some(Err(failure)) => {
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
