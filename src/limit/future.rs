//! The future of an answer.
//!
//! ```text
//!  a key to ask for, or Redis ─► Asking ─┬─ refused ────► the refusal
//!                                        ▼                    ▲
//!  all in this process, decided ─────► Calling ─► settled   Refused ◄── decided in `call`
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::admit::{Asked, Taken};
use super::body::ResponseBody;
use super::few::Few;
use super::route::Route;

pin_project! {
    /// The future of [`Limit`](super::Limit).
    pub struct ResponseFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        #[pin]
        stage: Stage<S, S::Future, ReqBody>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, F, ReqBody> {
        Asking {
            asked: Asked,
            // The service that was made ready, and what it is called with if the limits grant it.
            held: Option<(S, Request<ReqBody>)>,
            route: Arc<Route>,
        },
        Calling { #[pin] future: F, passed: Option<Passed> },
        Refused { response: Option<Response<Bytes>> },
    }
}

/// What is to be told, and perhaps settled, when the answer is there.
pub(super) struct Passed {
    route: Arc<Route>,
    taken: Few<Taken>,
}

impl Passed {
    #[inline]
    pub(super) const fn new(route: Arc<Route>, taken: Few<Taken>) -> Self {
        Self { route, taken }
    }
}

impl<S, ReqBody, ResBody> ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    #[inline]
    pub(super) fn calling(future: S::Future, passed: Option<Passed>) -> Self {
        Self {
            stage: Stage::Calling { future, passed },
        }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        let response = Some(response);
        Self {
            stage: Stage::Refused { response },
        }
    }

    pub(super) fn asking(asked: Asked, held: (S, Request<ReqBody>), route: Arc<Route>) -> Self {
        let held = Some(held);
        Self {
            stage: Stage::Asking { asked, held, route },
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProjection::Asking { asked, held, route } => {
                    let admission = ready!(asked.as_mut().poll(cx));
                    match admission.refusal {
                        Some(refusal) => {
                            let response = Some(route.refuse(&refusal, &admission.taken));
                            Stage::Refused { response }
                        }
                        None => {
                            let held = held.take();
                            let (mut inner, mut request) = held.expect("a decision is made once");
                            route.tell_handlers(request.extensions_mut(), &admission.taken);
                            let passed = Passed::new(Arc::clone(route), admission.taken);
                            Stage::Calling {
                                future: inner.call(request),
                                passed: Some(passed),
                            }
                        }
                    }
                }
                StageProjection::Calling { future, passed } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(Passed { route, mut taken }) = passed.take() {
                        response = route.settle(response, &mut taken);
                        route.tell(response.headers_mut(), &taken, None);
                    }
                    return Poll::Ready(Ok(response.map(ResponseBody::passed)));
                }
                StageProjection::Refused { response } => {
                    let response = response.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(response.map(ResponseBody::whole)));
                }
            };
            this.stage.set(next);
        }
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.stage {
            Stage::Asking { .. } => "ResponseFuture::Asking",
            Stage::Calling { .. } => "ResponseFuture::Calling",
            Stage::Refused { .. } => "ResponseFuture::Refused",
        })
    }
}
