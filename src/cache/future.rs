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
use super::invalidate::{Address, CachedMethod, Heard, Invalidating};
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
        marks: Marks,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F, B: Body, E> {
        Stored { hit: Option<Hit> },
        Forwarded { #[pin] future: F, after: After },
        // The answer waits until Redis has heard what it invalidates.
        Telling { heard: Heard, answer: Option<Response<ResponseBody<B>>> },
        Awaited { future: Boxed<B, E> },
    }
}

impl<F, B: Body, E> ResponseFuture<F, B, E> {
    pub(crate) fn stored(hit: Hit, marks: Marks) -> Self {
        Self {
            stage: Stage::Stored { hit: Some(hit) },
            marks,
        }
    }

    pub(crate) fn forward(future: F, after: After, marks: Marks) -> Self {
        Self {
            stage: Stage::Forwarded { future, after },
            marks,
        }
    }

    pub(crate) fn boxed(
        future: impl Future<Output = Result<Response<ResponseBody<B>>, E>> + Send + 'static,
        marks: Marks,
    ) -> Self {
        Self {
            stage: Stage::Awaited {
                future: Box::pin(future),
            },
            marks,
        }
    }
}

/// What an answer tells the layers it passes on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// Whether another layer of the same cache waits for this answer. It must not store it: it does
    /// not know the tags and the fence of what this one keeps.
    enclosed: bool,
    /// Whether the answer may hold a secret of its user's, whose length a coding would tell.
    uncoded: bool,
}

impl Marks {
    pub(crate) fn of(core: &Core, request: &request::Parts) -> Self {
        Self {
            enclosed: EnclosedBy::is_in(request, &core.shared),
            uncoded: core.route.user.is_some() && !core.codings.are_on(),
        }
    }

    fn is_empty(self) -> bool {
        !self.enclosed && !self.uncoded
    }

    fn put_into(self, extensions: &mut http::Extensions) {
        if self.enclosed {
            extensions.insert(NoStore);
        }
        if self.uncoded {
            #[cfg(feature = "compress")]
            extensions.insert(crate::coding::Uncoded);
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

    fn is_in(request: &request::Parts, shared: &Arc<Shared>) -> bool {
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
        const POLLED_AGAIN: &str = "a future is not polled after it was ready";
        let mut this = self.project();
        let mut response = loop {
            let (heard, answer) = match this.stage.as_mut().project() {
                StageProjection::Stored { hit } => {
                    let hit = hit.take().expect(POLLED_AGAIN);
                    if this.marks.is_empty() {
                        // Written where it is returned: a response is large to move.
                        return Poll::Ready(Ok(hit.into_response()));
                    }
                    break hit.into_response();
                }
                StageProjection::Forwarded { future, after } => {
                    match after.apply(ready!(future.poll(cx))?) {
                        (answer, None) => break answer,
                        (answer, Some(heard)) => (heard, Some(answer)),
                    }
                }
                StageProjection::Telling { heard, answer } => {
                    ready!(Pin::new(heard).poll(cx));
                    break answer.take().expect(POLLED_AGAIN);
                }
                StageProjection::Awaited { future } => break ready!(future.as_mut().poll(cx))?,
            };
            this.stage.set(Stage::Telling { heard, answer });
        };
        this.marks.put_into(response.extensions_mut());
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

    /// The answer as it leaves, and what it waits for before, if so.
    pub(crate) fn apply<B: Body>(
        &self,
        response: Response<B>,
    ) -> (Response<ResponseBody<B>>, Option<Heard>) {
        let (mut parts, body) = response.into_parts();
        if let Some(cached_method) = &self.cached_method {
            parts.extensions.insert(CachedMethod::clone(cached_method));
        }
        let heard = carry_out(&self.core, self.address.as_ref(), &mut parts);
        parts.extensions.remove::<Tags>();
        parts.extensions.remove::<CacheFor>();
        parts.extensions.remove::<NoStore>();
        if self.decision.was_ours_to_look_up() {
            answer::tell_vary(&self.core, &mut parts.headers);
        }
        if self.core.route.user.is_some() || self.decision.was_ours_to_look_up() {
            answer::tell_downstream(&self.core, &mut parts.headers);
        }
        answer::settle(&self.core, &mut parts.headers, &self.decision, None);
        let answer = Response::from_parts(parts, ResponseBody::passed(body));
        (answer, heard)
    }
}

/// Carries out what an answer asks to be invalidated. It leaves when what is returned is done.
pub(crate) fn carry_out(
    core: &Core,
    address: Option<&Address>,
    parts: &mut http::response::Parts,
) -> Option<Heard> {
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
    invalidating.and_then(Invalidating::in_background)
}
