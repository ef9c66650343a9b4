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

use super::admit::{Admission, Asked};
use super::body::ResponseBody;
use super::route::Route;
use super::taken::Passes;
use super::tell::Telling;

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
            // The service that was made ready, and what it is called with if the limits grant it. Boxed, so
            // that those who need not ask do not carry its size.
            held: Option<Box<(S, Request<ReqBody>)>>,
            route: Arc<Route>,
        },
        Calling { #[pin] future: F, telling: Telling },
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<S, ReqBody, ResBody> ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    #[inline]
    pub(super) fn calling(future: S::Future, passes: Passes, route: &Arc<Route>) -> Self {
        let telling = Telling::of(passes, route);
        Self {
            stage: Stage::Calling { future, telling },
        }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        let response = Some(response);
        Self {
            stage: Stage::Refused { response },
        }
    }

    pub(super) fn asking(asked: Asked, held: (S, Request<ReqBody>), route: Arc<Route>) -> Self {
        let held = Some(Box::new(held));
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
                    match ready!(asked.as_mut().poll(cx)) {
                        Admission::Refused(response) => Stage::Refused {
                            response: Some(response),
                        },
                        Admission::Passes(passes) => {
                            let held = held.take().expect("a decision is made once");
                            let (mut inner, mut request) = *held;
                            route.tell_handlers(request.extensions_mut(), &passes);
                            Stage::Calling {
                                future: inner.call(request),
                                telling: Telling::of(passes, route),
                            }
                        }
                    }
                }
                StageProjection::Calling { future, telling } => {
                    let response = telling.finish(ready!(future.poll(cx))?);
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
