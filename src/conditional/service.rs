//! [`Conditional`]: what a request is asked before its handler, and what its answer is asked for.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::ResponseBody;
use super::future::{Examining, ResponseFuture};
use super::route::Route;
use crate::policy::precondition::{is_guarded, preconditions};

/// The service of a [`ConditionalLayer`](super::ConditionalLayer).
///
/// The inner service gets every request as it came, except those that are refused with 412 before it.
/// The error type is the inner service's.
#[derive(Clone)]
pub struct Conditional<S> {
    inner: S,
    route: Arc<Route>,
}

impl<S> Conditional<S> {
    pub(super) fn new(inner: S, route: Arc<Route>) -> Self {
        Self { inner, route }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service that was made ready; a clone of it stays behind (see tower-service, "Be
    /// careful when cloning inner services").
    fn take_inner(&mut self) -> S
    where
        S: Clone,
    {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Conditional<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let examining = Examining::new(&self.route, request.method(), request.headers());
            return ResponseFuture::calling(self.inner.call(request), Some(examining));
        }
        let lookup = self.route.current.as_ref();
        let lookup = lookup.filter(|_| is_guarded(request.method()));
        if let Some(lookup) = lookup {
            if let Some(conditions) = preconditions(request.method(), request.headers()) {
                let (parts, body) = request.into_parts();
                let looking = lookup(&parts);
                let request = Request::from_parts(parts, body);
                let now = self.route.clock.now();
                return ResponseFuture::looking(
                    looking,
                    conditions,
                    now,
                    self.take_inner(),
                    request,
                );
            }
        }
        ResponseFuture::calling(self.inner.call(request), None)
    }
}

impl<S: fmt::Debug> fmt::Debug for Conditional<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conditional")
            .field("inner", &self.inner)
            .field("route", &self.route)
            .finish()
    }
}
