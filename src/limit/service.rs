//! [`Limit`]: the decision, before the inner service is touched.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::admit::{Admission, Admitting};
use super::body::ResponseBody;
use super::future::ResponseFuture;
use super::key::Head;
use super::route::Route;

/// The service of a [`LimitLayer`](super::LimitLayer).
///
/// What is refused never reaches the inner service, which stays as ready as it was. The error type is the inner
/// service's.
#[derive(Clone)]
pub struct Limit<S> {
    inner: S,
    route: Arc<Route>,
}

impl<S> Limit<S> {
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Limit<S>
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

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let admitting = if self.route.needs_parts {
            let (parts, body) = request.into_parts();
            let admitting = self.route.admit_whole(&parts);
            request = Request::from_parts(parts, body);
            admitting
        } else {
            self.route.admit(Head::of(&request))
        };
        match admitting {
            Admitting::Now(Admission::Passes(passes)) => {
                self.route.tell_handlers(request.extensions_mut(), &passes);
                let future = self.inner.call(request);
                ResponseFuture::calling(future, passes, &self.route)
            }
            Admitting::Now(Admission::Refused(response)) => ResponseFuture::refused(response),
            Admitting::Later(asked) => {
                let held = (self.take_inner(), request);
                ResponseFuture::asking(asked, held, Arc::clone(&self.route))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Limit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("inner", &self.inner)
            .field("route", &self.route)
            .finish()
    }
}
