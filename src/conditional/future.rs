//! The future of an answer.
//!
//! ```text
//!  unsafe, with conditions and a look-up ─► Looking ─┬─ unmet ─► 412
//!                                                    ▼
//!  everything else ────────────────────────────► Calling ─┬─ to be tagged ─► Reading ─┐
//!                                                         ▼                           ▼
//!                                                  as it came, or 304, or 412, for GET and HEAD
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use http::header::{self, HeaderMap, HeaderValue};
use http::{response, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::{Reading, ResponseBody};
use super::route::{Looking, Route};
use super::{order, tag};
use crate::clock::Timestamp;
use crate::policy::precondition::{
    judge_at_origin, preconditions, strip_for_not_modified, Validators, Verdict,
};
use crate::policy::storing::is_stream;

pin_project! {
    /// The future of [`Conditional`](super::Conditional).
    pub struct ResponseFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        ResBody: Body,
    {
        #[pin]
        stage: Stage<S, S::Future, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, F, ReqBody, ResBody: Body> {
        Looking {
            looking: Looking,
            conditions: HeaderMap,
            now: Timestamp,
            // The service that was made ready, and what it is called with if the conditions hold.
            held: Option<(S, Request<ReqBody>)>,
        },
        Calling { #[pin] future: F, examining: Option<Examining> },
        Reading { reading: Reading<ResBody>, head: Option<(response::Parts, Examining)> },
    }
}

impl<S, ReqBody, ResBody> ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    pub(super) fn calling(future: S::Future, examining: Option<Examining>) -> Self {
        Self {
            stage: Stage::Calling { future, examining },
        }
    }

    pub(super) fn looking(
        looking: Looking,
        conditions: HeaderMap,
        now: Timestamp,
        inner: S,
        request: Request<ReqBody>,
    ) -> Self {
        let held = Some((inner, request));
        Self {
            stage: Stage::Looking {
                looking,
                conditions,
                now,
                held,
            },
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let next = match stage.as_mut().project() {
                StageProjection::Looking {
                    looking,
                    conditions,
                    now,
                    held,
                } => {
                    let current = ready!(looking.as_mut().poll(cx));
                    let (mut inner, request) = held.take().expect(POLLED_AGAIN);
                    let validators = current.as_ref().map(tag::Validator::validators);
                    let now = now.as_secs().cast_signed();
                    match judge_at_origin(request.method(), conditions, validators.as_ref(), now) {
                        Verdict::Proceed => Stage::Calling {
                            future: inner.call(request),
                            examining: None,
                        },
                        _ => return Poll::Ready(Ok(refused(current))),
                    }
                }
                StageProjection::Calling { future, examining } => {
                    let (parts, body) = ready!(future.poll(cx))?.into_parts();
                    let examining = examining.take().filter(|_| is_examined(&parts));
                    let Some(examining) = examining else {
                        let body = ResponseBody::passed(body);
                        return Poll::Ready(Ok(Response::from_parts(parts, body)));
                    };
                    let Some(declared) = examining.length_to_read(&parts, &body) else {
                        order::look_at_untagged(&parts.headers, &body);
                        let answer = examining.answer(parts, ResponseBody::passed(body));
                        return Poll::Ready(Ok(answer));
                    };
                    order::look_at_hashed(&parts.headers);
                    Stage::Reading {
                        reading: Reading::new(body, declared),
                        head: Some((parts, examining)),
                    }
                }
                StageProjection::Reading { reading, head } => {
                    let (body, digest) = ready!(reading.poll(cx));
                    let (mut parts, examining) = head.take().expect(POLLED_AGAIN);
                    let Some(digest) = digest else {
                        return Poll::Ready(Ok(Response::from_parts(parts, body)));
                    };
                    let etag = tag::of_digest(&digest, examining.route.weak);
                    parts.headers.insert(header::ETAG, etag);
                    return Poll::Ready(Ok(examining.answer(parts, body)));
                }
            };
            stage.set(next);
        }
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Whether an answer to `GET` or `HEAD` is one that conditions apply to (RFC 9110 §13.2.1).
fn is_examined(parts: &response::Parts) -> bool {
    parts.status.is_success() && !is_stream(&parts.headers)
}

/// What is asked of the answer to a `GET` or `HEAD`.
pub(super) struct Examining {
    route: Arc<Route>,
    head_request: bool,
    conditions: Option<HeaderMap>,
}

impl Examining {
    pub(super) fn new(route: &Arc<Route>, method: &Method, headers: &HeaderMap) -> Self {
        Self {
            route: Arc::clone(route),
            head_request: *method == Method::HEAD,
            conditions: preconditions(method, headers),
        }
    }

    /// The length of a body that is to be read for its tag; `None` for all that has one already, or
    /// gets none.
    fn length_to_read<B: Body>(&self, parts: &response::Parts, body: &B) -> Option<u64> {
        let fields = &parts.headers;
        // A part must not get the name of the whole.
        let is_whole = matches!(
            parts.status,
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION
        ) && !fields.contains_key(header::CONTENT_RANGE);
        if !is_whole || fields.contains_key(header::ETAG) || fields.contains_key(header::TRAILER) {
            return None;
        }
        let length = body.size_hint().exact()?;
        let said = fields.get(header::CONTENT_LENGTH).map(HeaderValue::to_str);
        let agrees = said.is_none_or(|said| said.is_ok_and(|said| said.parse() == Ok(length)));
        // The answer to HEAD seldom has the content whose name it should tell.
        let has_content = !self.head_request || length > 0;
        (agrees && has_content && length <= self.route.body_limit).then_some(length)
    }

    /// The answer, or what takes its place for a client that named a condition.
    fn answer<B: Body>(
        self,
        mut parts: response::Parts,
        body: ResponseBody<B>,
    ) -> Response<ResponseBody<B>> {
        let Some(conditions) = self.conditions else {
            return Response::from_parts(parts, body);
        };
        let now = self.route.clock.now().as_secs().cast_signed();
        let current = Validators::read(&parts.headers, now);
        let method = if self.head_request {
            Method::HEAD
        } else {
            Method::GET
        };
        match judge_at_origin(&method, &conditions, Some(&current), now) {
            Verdict::Proceed => return Response::from_parts(parts, body),
            Verdict::NotModified => {
                parts.status = StatusCode::NOT_MODIFIED;
                strip_for_not_modified(&mut parts.headers);
                return Response::from_parts(parts, ResponseBody::withheld());
            }
            Verdict::PreconditionFailed => {
                parts.status = StatusCode::PRECONDITION_FAILED;
                let said = std::mem::take(&mut parts.headers);
                let validators = [header::ETAG, header::LAST_MODIFIED];
                for name in validators {
                    if let Some(value) = said.get(&name) {
                        parts.headers.insert(name, value.clone());
                    }
                }
                keep_from_caches(&mut parts.headers);
            }
        }
        Response::from_parts(parts, ResponseBody::empty())
    }
}

/// The answer to an unsafe request whose conditions do not hold; its handler was not called.
fn refused<B: Body>(current: Option<tag::Validator>) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    if let Some(current) = current {
        current.write(response.headers_mut());
    }
    keep_from_caches(response.headers_mut());
    response
}

/// A 412 is about one request's condition. A cache that stored it, as the freshness of the answer it
/// replaces would allow, would show it to clients who named none.
fn keep_from_caches(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
