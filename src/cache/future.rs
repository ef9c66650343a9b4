//! The future of an answer: ready at once, forwarded, or awaited in stages.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use http::{request, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::answer::{self, Hit};
use super::body::ResponseBody;
use super::core::Core;
use super::core::Shared;
use super::invalidate::{Address, CachedMethod};
use super::signals::{CacheFor, Invalidations, NoStore, Tags};
use crate::policy::decision::Decision;

type Boxed<B, E> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody<B>>, E>> + Send>>;

pin_project! {
    /// The future of [`CacheService`](super::CacheService).
    ///
    /// A hit is decided when it is made, and written when it is polled; a bypassed request waits for the inner future alone; only a
    /// miss is boxed.
    pub struct ResponseFuture<F, B: Body, E> {
        #[pin]
        stage: Stage<F, B, E>,
        // Whether another layer of the same cache waits for this answer. It must not store it: it
        // does not know the tags and the fence of what this one keeps.
        enclosed: bool,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F, B: Body, E> {
        Stored { hit: Option<Hit> },
        Forwarded { #[pin] future: F, after: After },
        Awaited { future: Boxed<B, E> },
    }
}

impl<F, B: Body, E> ResponseFuture<F, B, E> {
    pub(crate) fn stored(hit: Hit, enclosed: bool) -> Self {
        Self {
            stage: Stage::Stored { hit: Some(hit) },
            enclosed,
        }
    }

    pub(crate) fn forward(future: F, after: After, enclosed: bool) -> Self {
        Self {
            stage: Stage::Forwarded { future, after },
            enclosed,
        }
    }

    pub(crate) fn boxed(
        future: impl Future<Output = Result<Response<ResponseBody<B>>, E>> + Send + 'static,
        enclosed: bool,
    ) -> Self {
        Self {
            stage: Stage::Awaited {
                future: Box::pin(future),
            },
            enclosed,
        }
    }
}

/// In a request that a layer sends on to make a response for its cache.
#[derive(Clone)]
pub(crate) struct EnclosedBy(Arc<Shared>);

impl EnclosedBy {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    pub(crate) fn is_in(request: &request::Parts, shared: &Arc<Shared>) -> bool {
        let outer = request.extensions.get::<Self>();
        outer.is_some_and(|outer| Arc::ptr_eq(&outer.0, shared))
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.stage.project() {
            StageProjection::Stored { hit } => {
                let hit = hit.take();
                let hit = hit.expect("a future is not polled after it was ready");
                if !*this.enclosed {
                    // Written where it is returned: a response is large to move.
                    return Poll::Ready(Ok(hit.into_response()));
                }
                hit.into_response()
            }
            StageProjection::Forwarded { future, after } => after.apply(ready!(future.poll(cx))?),
            StageProjection::Awaited { future } => ready!(future.as_mut().poll(cx))?,
        };
        if *this.enclosed {
            response.extensions_mut().insert(NoStore);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F, B: Body, E> fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// What is done with an answer that was not looked up.
pub(crate) struct After {
    core: Arc<Core>,
    decision: Decision,
    /// Where an unsafe request went.
    address: Option<Address>,
    /// What tells layers further out that the route caches this unsafe method, which then spoils
    /// nothing.
    cached_method: Option<Box<CachedMethod>>,
}

impl After {
    pub(crate) fn new(core: Arc<Core>, decision: Decision, address: Option<Address>) -> Self {
        Self {
            core,
            decision,
            address,
            cached_method: None,
        }
    }

    /// The same for a method that the route caches, although not this time.
    pub(crate) fn cached_method(
        core: Arc<Core>,
        decision: Decision,
        request: &request::Parts,
    ) -> Self {
        Self {
            core,
            decision,
            address: None,
            cached_method: Some(Box::new(CachedMethod::of(request))),
        }
    }

    pub(crate) fn apply<B: Body>(&self, response: Response<B>) -> Response<ResponseBody<B>> {
        let (mut parts, body) = response.into_parts();
        if let Some(cached_method) = &self.cached_method {
            parts.extensions.insert(CachedMethod::clone(cached_method));
        }
        carry_out(&self.core, self.address.as_ref(), &mut parts);
        parts.extensions.remove::<Tags>();
        parts.extensions.remove::<CacheFor>();
        parts.extensions.remove::<NoStore>();
        if self.decision.was_ours_to_look_up() {
            answer::tell_vary(&self.core, &mut parts.headers);
        }
        if self.core.route.user.is_some() || self.decision.was_ours_to_look_up() {
            answer::tell_downstream(&self.core, &mut parts.headers);
        }
        answer::settle(&self.core, &mut parts.headers, &self.decision);
        Response::from_parts(parts, ResponseBody::passed(body))
    }
}

/// Carries out what an answer asks to be invalidated, before it leaves.
pub(crate) fn carry_out(core: &Core, address: Option<&Address>, parts: &mut http::response::Parts) {
    let invalidating = match address {
        Some(address) => address.settle(
            &core.shared,
            parts.status,
            &parts.headers,
            &mut parts.extensions,
        ),
        None => {
            let what = Invalidations::take_from(&mut parts.extensions);
            (!what.is_empty()).then(|| super::invalidate::start(&core.shared, what))
        }
    };
    if let Some(invalidating) = invalidating {
        invalidating.in_background();
    }
}
