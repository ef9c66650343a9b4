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
use super::invalidate::Address;

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
    type Future = WatchFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let address = Address::of(&parts);
        WatchFuture {
            future: self.inner.call(Request::from_parts(parts, body)),
            shared: Arc::clone(&self.shared),
            address,
        }
    }
}

pin_project! {
    /// The future of [`Watch`].
    pub struct WatchFuture<F> {
        #[pin]
        future: F,
        shared: Arc<Shared>,
        address: Address,
    }
}

impl<F, B, E> Future for WatchFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let (mut parts, body) = response.into_parts();
        let settled = this.address.settle(
            this.shared,
            parts.status,
            &parts.headers,
            &mut parts.extensions,
        );
        if let Some(invalidating) = settled {
            invalidating.in_background();
        }
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }
}

impl<F> fmt::Debug for WatchFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchFuture").finish_non_exhaustive()
    }
}
