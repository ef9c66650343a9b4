//! The future of an answer: once it has come, whether it is encoded.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use http::{header, response, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::config::Config;
use crate::coding::{Coding, Encoder, Uncoded};
use crate::policy::encoding;
use crate::policy::negotiation::Wanted;

pin_project! {
    /// The future of [`Compress`](super::Compress).
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        plan: Option<Plan>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, plan: Option<Plan>) -> Self {
        Self { inner, plan }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut parts, body) = ready!(this.inner.poll(cx))?.into_parts();
        let body = match this.plan {
            Some(plan) => plan.apply(&mut parts, body),
            None => ResponseBody::passed(body),
        };
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// What is known before the answer.
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    pub(super) wanted: Wanted,
    pub(super) refuses_identity: bool,
    pub(super) head_request: bool,
}

impl Plan {
    /// The answer's body as it leaves, with its fields mended.
    fn apply<B: Body>(&self, parts: &mut response::Parts, body: B) -> ResponseBody<B> {
        let rules = &self.config.rules;
        if parts.status == StatusCode::NOT_MODIFIED && !rules.offered.is_empty() {
            encoding::confirm(&mut parts.headers, matches!(self.wanted, Wanted::Coded(_)));
        }
        if parts.extensions.get::<Uncoded>().is_some() || !rules.suit(parts.status, &parts.headers)
        {
            return ResponseBody::passed(body);
        }
        let size = self.size(parts, &body);
        let is_short = size.is_some_and(|size| size < rules.least);
        if is_short && (!self.refuses_identity || size == Some(0)) {
            return ResponseBody::passed(body);
        }
        encoding::tell_vary(&mut parts.headers);
        let Wanted::Coded(coding) = self.wanted else {
            return ResponseBody::passed(body);
        };
        self.encode(parts, body, coding, size)
    }

    fn encode<B: Body>(
        &self,
        parts: &mut response::Parts,
        body: B,
        coding: Coding,
        size: Option<u64>,
    ) -> ResponseBody<B> {
        if self.head_request {
            encoding::describe(&mut parts.headers, coding);
            return ResponseBody::passed(body);
        }
        let Some(encoder) = Encoder::new(coding, &self.config.levels, size) else {
            return ResponseBody::passed(body);
        };
        encoding::describe(&mut parts.headers, coding);
        ResponseBody::coded(body, encoder)
    }

    /// The length of the content that `GET` has, where it is known. The body of an answer to `HEAD` is
    /// empty and says nothing of it.
    fn size<B: Body>(&self, parts: &response::Parts, body: &B) -> Option<u64> {
        let field = parts.headers.get(header::CONTENT_LENGTH);
        let said = field.and_then(|value| value.to_str().ok()?.parse().ok());
        match self.head_request {
            true => said,
            false => body.size_hint().exact().or(said),
        }
    }
}
