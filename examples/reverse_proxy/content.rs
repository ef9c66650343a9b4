//! Content on its way: up to the origin, and down to the client.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::informational::Sender;

/// What a client sends, with what whoever asks the origin must know of the exchange.
pub(crate) struct Upload {
    incoming: Incoming,
    informed: Option<Sender>,
    moves: Option<Arc<AtomicBool>>,
}

impl Upload {
    /// `informed`: where interim answers go, if anywhere.
    pub(crate) fn new(incoming: Incoming, informed: Option<Sender>) -> Self {
        Self {
            incoming,
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

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if let Some(moves) = &self.moves {
            moves.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
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
