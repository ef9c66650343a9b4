//! Moving futures by hand: one poll at a time, or until nothing moves any more.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::cache::ResponseBody;
use larder::CacheLayer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{Layer, ServiceExt};

use super::support::{read, Answer, Answering, Broken, Origin, Step, TestBody};

pub type Reply = Response<ResponseBody<TestBody>>;

/// Polls once, with the waker of the running task.
pub async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls `future` up to `times` times and drops it; whether it completed before that.
pub async fn poll_and_drop<F: Future + ?Sized>(mut future: Pin<Box<F>>, times: usize) -> bool {
    for _ in 0..times {
        if poll_once(&mut future).await.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Gives every other task its turns, until all that can run have run.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// The head of an answer; its body is still to be read.
pub async fn head(layer: &CacheLayer, origin: &Origin, request: Request<Full<Bytes>>) -> Reply {
    let service = layer.layer(origin.clone());
    service.oneshot(request).await.expect("origins do not fail")
}

/// Sends a request from a task of its own, which reads the answer to its end.
pub fn spawn(
    layer: &CacheLayer,
    origin: &Origin,
    request: Request<Full<Bytes>>,
) -> JoinHandle<Answer> {
    let (layer, origin) = (layer.clone(), origin.clone());
    tokio::spawn(async move { read(head(&layer, &origin, request).await).await })
}

/// The data of the next frame; `None` at the end.
pub async fn next_data(body: &mut ResponseBody<TestBody>) -> Option<Result<Bytes, Broken>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().expect("no trailers here")))
}

/// A step that waits, and what ends the wait.
pub fn gate() -> (oneshot::Sender<()>, Step) {
    let (open, wait) = oneshot::channel();
    (open, Step::Wait(wait))
}

/// An answer that is made after a few turns of other tasks.
pub fn after_turns(
    turns: usize,
    response: impl FnOnce() -> Response<TestBody> + Send + 'static,
) -> Answering {
    Box::pin(async move {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        response()
    })
}
