//! When interim answers are written, step by step: over sockets it takes a client that reads slowly, and luck.

use std::future::{pending, poll_fn, ready, Future};
use std::io;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use hyper::{HeaderMap, StatusCode};
use tokio::io::AsyncWrite;

use crate::informational::{Informing, Interim};

const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

/// A connection that takes as many bytes as there is room.
struct Narrow<'a> {
    taken: &'a mut Vec<u8>,
    room: &'a AtomicUsize,
}

impl AsyncWrite for Narrow<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = bytes.len().min(this.room.load(Ordering::Relaxed));
        if written == 0 {
            return Poll::Pending;
        }
        this.room.fetch_sub(written, Ordering::Relaxed);
        this.taken.extend_from_slice(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn narrow<'a>(
    taken: &'a mut Vec<u8>,
    room: &'a AtomicUsize,
    interim: &Interim,
) -> Informing<Narrow<'a>> {
    Informing::new(Narrow { taken, room }, interim.clone())
}

/// Hints come from the origin, for the request that is being answered.
fn hint(interim: &Interim) {
    let sender = interim.sender();
    sender.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
}

#[test]
fn an_answer_that_was_begun_is_written_to_its_end_first() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut taken, room) = (Vec::new(), AtomicUsize::new(3));
    let interim = Interim::default();
    let mut connection = narrow(&mut taken, &room, &interim);
    let mut connection = Pin::new(&mut connection);
    assert!(matches!(
        connection.as_mut().poll_write(cx, b"answer"),
        Poll::Ready(Ok(3))
    ));
    // The next request was read meanwhile, and its hints are there.
    hint(&interim);
    assert!(pin!(interim.before(pending::<()>())).poll(cx).is_pending());
    room.store(100, Ordering::Relaxed);
    assert!(matches!(
        connection.as_mut().poll_write(cx, b"wer"),
        Poll::Ready(Ok(3))
    ));
    assert!(connection.as_mut().poll_flush(cx).is_ready());
    assert_eq!(taken, [b"answer", HINTS].concat());
}

#[test]
fn hints_that_were_begun_are_written_to_their_end_before_the_answer() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut taken, room) = (Vec::new(), AtomicUsize::new(5));
    let interim = Interim::default();
    let mut connection = narrow(&mut taken, &room, &interim);
    let mut connection = Pin::new(&mut connection);
    hint(&interim);
    assert!(pin!(interim.before(pending::<()>())).poll(cx).is_pending());
    assert!(connection.as_mut().poll_flush(cx).is_pending());
    assert!(connection.as_mut().poll_write(cx, b"answer").is_pending());
    room.store(100, Ordering::Relaxed);
    assert!(connection.as_mut().poll_write(cx, b"answer").is_ready());
    assert_eq!(taken, [HINTS, b"answer"].concat());
}

#[test]
fn the_answer_is_not_given_to_hyper_before_its_hints_are_written() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let cx = &mut Context::from_waker(&waker);
    let (mut taken, room) = (Vec::new(), AtomicUsize::new(5));
    let interim = Interim::default();
    let mut connection = narrow(&mut taken, &room, &interim);
    let mut connection = Pin::new(&mut connection);
    hint(&interim);
    let mut answer = pin!(interim.before(ready(200)));
    assert!(answer.as_mut().poll(cx).is_pending());
    assert!(connection.as_mut().poll_flush(cx).is_pending());
    assert!(
        answer.as_mut().poll(cx).is_pending(),
        "a part of them is not enough"
    );
    room.store(100, Ordering::Relaxed);
    assert!(connection.as_mut().poll_flush(cx).is_ready());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(answer.as_mut().poll(cx), Poll::Ready(200));
    assert_eq!(taken, HINTS);
}

/// Others may wait for the same answer: a client that does not read its hints holds up none of them.
#[test]
fn the_answer_is_worked_on_although_its_hints_cannot_be_written() {
    let cx = &mut Context::from_waker(Waker::noop());
    let polled = AtomicUsize::new(0);
    let work = poll_fn(|_| {
        polled.fetch_add(1, Ordering::Relaxed);
        Poll::<()>::Pending
    });
    let interim = Interim::default();
    hint(&interim);
    let mut answer = pin!(interim.before(work));
    for _ in 0..3 {
        assert!(answer.as_mut().poll(cx).is_pending());
    }
    assert_eq!(polled.load(Ordering::Relaxed), 3);
}

#[test]
fn hints_that_nobody_reads_are_bounded() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut taken, room) = (Vec::new(), AtomicUsize::new(0));
    let interim = Interim::default();
    let mut connection = narrow(&mut taken, &room, &interim);
    let mut connection = Pin::new(&mut connection);
    let mut answer = pin!(interim.before(pending::<()>()));
    let mut turn = || {
        assert!(answer.as_mut().poll(cx).is_pending());
        let _ = connection.as_mut().poll_flush(cx);
    };
    for _ in 0..1000 {
        hint(&interim);
        turn();
    }
    room.store(usize::MAX, Ordering::Relaxed);
    for _ in 0..1000 {
        turn();
    }
    assert_eq!(taken.len() / HINTS.len(), 16);
}

/// A request that was answered from store may have the origin asked still, to refresh what is stored.
#[test]
fn hints_for_a_request_that_was_answered_are_nobodys() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut taken, room) = (Vec::new(), AtomicUsize::new(100));
    let interim = Interim::default();
    let mut connection = narrow(&mut taken, &room, &interim);
    let late = interim.sender();
    assert!(pin!(interim.before(ready(()))).poll(cx).is_ready());
    late.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
    assert!(Pin::new(&mut connection).poll_flush(cx).is_ready());
    assert_eq!(taken, b"");
}

/// Hints arrive while the connection waits: whoever answers is woken, and has it written to.
#[test]
fn hints_wake_the_connection() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let cx = &mut Context::from_waker(&waker);
    let interim = Interim::default();
    let sender = interim.sender();
    assert!(pin!(interim.before(pending::<()>())).poll(cx).is_pending());
    sender.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}
