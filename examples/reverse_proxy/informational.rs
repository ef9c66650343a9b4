//! Interim answers (1xx), sent on as they arrive.
//!
//! hyper's client reports them, but its HTTP/1 server has no way to send them. So they are written
//! below it, into the connection itself, when hyper has nothing unflushed:
//!
//! ```text
//!  origin ─► hyper's client ─► Sender ─► Interim ─► Informing<TcpStream> ─► client
//!                └──── final answer ────► cache ────► hyper's server ───────┘
//! ```
//!
//! The final answer waits until those before it are written, so that they can never come after it,
//! where a client would take them for part of the next answer.

use std::future::{poll_fn, Future};
use std::io;
use std::mem;
use std::pin::{pin, Pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{ready, Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use hyper::header::CONTENT_LENGTH;
use hyper::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hop_by_hop;

/// How many may wait for a client that does not read; further ones are lost, as all of them may be.
const WAITING: usize = 16;

/// Takes the interim answers to one request, from wherever the cache has it answered.
#[derive(Clone)]
pub(crate) struct Sender {
    interim: Interim,
    exchange: u64,
}

impl Sender {
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        // hyper's server sends its own, once the content is wanted.
        if status == StatusCode::CONTINUE {
            return;
        }
        let mut headers = headers.clone();
        hop_by_hop::remove(&mut headers);
        // It has no content (RFC 9110 §8.6): who believed this would take the next answer for it.
        headers.remove(CONTENT_LENGTH);
        let reason = status.canonical_reason().unwrap_or_default();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        for (name, value) in &headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        self.interim.with(|unwritten| {
            // Whose request was answered meanwhile, as from store while that is refreshed, gets none.
            if unwritten.exchange == self.exchange && unwritten.heads < WAITING {
                unwritten.bytes.extend_from_slice(&head);
                unwritten.heads += 1;
                unwritten.wake();
            }
        });
    }
}

/// What is to be written to a connection between the answers of hyper.
#[derive(Clone, Default)]
pub(crate) struct Interim(Arc<Mutex<Unwritten>>);

#[derive(Default)]
struct Unwritten {
    bytes: BytesMut,
    /// Of how many answers those bytes are.
    heads: usize,
    /// Counts the requests on this connection: which of them is being answered.
    exchange: u64,
    /// Who answers it, and has the connection written to when woken.
    answering: Option<Waker>,
}

impl Unwritten {
    fn wake(&mut self) {
        if let Some(waker) = self.answering.take() {
            waker.wake();
        }
    }
}

impl Interim {
    /// For the next request on this connection, which the answer that is awaited then belongs to.
    pub(crate) fn sender(&self) -> Sender {
        Sender {
            exchange: self.with(|unwritten| unwritten.exchange),
            interim: self.clone(),
        }
    }

    /// Awaits `answer`, and until what was sent before it is written.
    pub(crate) async fn before<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        let mut answered = None;
        poll_fn(|cx| {
            if answered.is_none() {
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    answered = Some(answer);
                }
            }
            // After the answer was looked for, since they were sent before it.
            self.with(|unwritten| {
                if answered.is_none() || !unwritten.bytes.is_empty() {
                    unwritten.answering = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                unwritten.exchange += 1;
                answered.take().map_or(Poll::Pending, Poll::Ready)
            })
        })
        .await
    }

    fn with<T>(&self, f: impl FnOnce(&mut Unwritten) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that [`Interim`] is written to.
pub(crate) struct Informing<I> {
    io: I,
    interim: Interim,
    /// Whether hyper may have bytes that belong right after those it has written.
    in_answer: bool,
}

impl<I: AsyncWrite + Unpin> Informing<I> {
    pub(crate) fn new(io: I, interim: Interim) -> Self {
        Self {
            io,
            interim,
            in_answer: false,
        }
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.in_answer {
            return Poll::Ready(Ok(()));
        }
        let io = &mut self.io;
        self.interim.with(|unwritten| {
            while !unwritten.bytes.is_empty() {
                let written = ready!(Pin::new(&mut *io).poll_write(cx, &unwritten.bytes))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                unwritten.bytes.advance(written);
            }
            if mem::take(&mut unwritten.heads) > 0 {
                unwritten.wake();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Informing<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.in_answer = true;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.in_answer = true;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes whenever it is polled, and the connection only once its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_answer = false;
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Informing<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}
