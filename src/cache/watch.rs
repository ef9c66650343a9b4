//! [`WatchLayer`]: invalidation for a whole router.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::core::Shared;
use super::invalidate::{Address, Heard, Invalidating};

/// A [`Layer`] for a whole router, made by [`Cache::watch`](crate::Cache::watch).
///
/// It carries out the [`Invalidate`](crate::Invalidate) of any handler, and invalidates the path of
/// an unsafe request that succeeded, with the same-origin paths of its `Location` and
/// `Content-Location` (RFC 9111 §4.4), before the answer leaves. It caches nothing itself and does not
/// touch bodies. Routes with a [`CacheLayer`](crate::CacheLayer) do the same for themselves.
#[derive(Clone)]
#[must_use]
pub struct WatchLayer {
    shared: Arc<Shared>,
}

impl WatchLayer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl<S> Layer<S> for WatchLayer {
    type Service = Watch<S>;

    fn layer(&self, inner: S) -> Watch<S> {
        Watch {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl fmt::Debug for WatchLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchLayer").finish_non_exhaustive()
    }
}

/// The service of a [`WatchLayer`].
#[derive(Clone)]
pub struct Watch<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: fmt::Debug> fmt::Debug for Watch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Watch<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = WatchFuture<S::Future, Response<ResBody>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let address = Address::of(&parts);
        WatchFuture {
            stage: Stage::Asking {
                future: self.inner.call(Request::from_parts(parts, body)),
                shared: Arc::clone(&self.shared),
                address,
            },
        }
    }
}

pin_project! {
    /// The future of [`Watch`].
    pub struct WatchFuture<F, R> {
        #[pin]
        stage: Stage<F, R>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F, R> {
        Asking { #[pin] future: F, shared: Arc<Shared>, address: Address },
        // The answer waits until Redis has heard what it invalidates.
        Telling { heard: Heard, answer: Option<R> },
    }
}

impl<F, B, E> Future for WatchFuture<F, Response<B>>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let (heard, answer) = match stage.as_mut().project() {
                StageProjection::Telling { heard, answer } => {
                    ready!(Pin::new(heard).poll(cx));
                    let answer = answer.take();
                    let answer = answer.expect("a future is not polled after it was ready");
                    return Poll::Ready(Ok(answer));
                }
                StageProjection::Asking {
                    future,
                    shared,
                    address,
                } => {
                    let (mut parts, body) = ready!(future.poll(cx))?.into_parts();
                    let settled =
                        address.settle(shared, parts.status, &parts.headers, &mut parts.extensions);
                    let answer = Response::from_parts(parts, body);
                    match settled.and_then(Invalidating::in_background) {
                        None => return Poll::Ready(Ok(answer)),
                        Some(heard) => (heard, Some(answer)),
                    }
                }
            };
            stage.set(Stage::Telling { heard, answer });
        }
    }
}

impl<F, R> fmt::Debug for WatchFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchFuture").finish_non_exhaustive()
    }
}
