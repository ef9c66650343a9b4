//! [`Compress`]: what a request wants, before it is called.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::ResponseBody;
use super::config::Config;
use super::future::{Plan, ResponseFuture};
use crate::header::accept_encoding::AcceptEncoding;
use crate::policy::negotiation::negotiate;

/// The service of a [`CompressLayer`](crate::CompressLayer).
///
/// Requests reach the inner service as they came, and its error type stays.
#[derive(Clone)]
pub struct Compress<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Compress<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: fmt::Debug> fmt::Debug for Compress<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compress")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Compress<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let skipped = self.config.skip_if.iter().any(|skip| skip(&parts));
        let plan = (!skipped && parts.method != Method::CONNECT).then(|| {
            let accepted = AcceptEncoding::parse(&parts.headers);
            Plan {
                config: Arc::clone(&self.config),
                wanted: negotiate(&accepted, &self.config.rules.offered),
                refuses_identity: accepted.identity() == 0,
                head_request: parts.method == Method::HEAD,
            }
        });
        let future = self.inner.call(Request::from_parts(parts, body));
        ResponseFuture::new(future, plan)
    }
}
