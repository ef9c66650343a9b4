//! [`CacheService`]: decides, in one synchronous step where it can, who answers a request.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{request, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::answer::Hit;
use super::body::ResponseBody;
use super::content;
use super::core::Core;
use super::exchange::{Begun, Exchange};
use super::future::{After, Marks, ResponseFuture};
use super::invalidate::Address;
use super::keyed::{self, HeadKeyed, KeyedBy};
use super::lookup::{consult, Consulted, Lookup, Plan};
use super::posted;
use super::selected::Conditions;
use crate::policy::decision::{Decision, Forward};
use crate::policy::key::Class;
use crate::policy::request::{is_safe, RequestFields};

/// The service of a [`CacheLayer`](crate::CacheLayer).
///
/// A hit is answered without calling the inner service; everything else reaches it once, with the
/// request as it came. The error type is the inner service's.
pub struct CacheService<S, K = HeadKeyed> {
    inner: S,
    core: Arc<Core>,
    keyed: PhantomData<fn() -> K>,
}

impl<S, K> CacheService<S, K> {
    pub(crate) fn new(inner: S, core: Arc<Core>) -> Self {
        Self {
            inner,
            core,
            keyed: PhantomData,
        }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: Clone, K> Clone for CacheService<S, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.core))
    }
}

impl<S: fmt::Debug, K> fmt::Debug for CacheService<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("inner", &self.inner)
            .field("route", &self.core.route)
            .finish()
    }
}

impl<S, K, ReqBody, ResBody> Service<Request<ReqBody>> for CacheService<S, K>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    K: KeyedBy<ReqBody> + 'static,
    ReqBody: Body + Send + 'static,
    ReqBody::Data: Send,
    ReqBody::Error: Send,
    ResBody: Body + Send + 'static,
    ResBody::Error: Send,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let marks = Marks::of(&self.core, &parts);
        // A hit is found out from references: moving a head costs as much as reading it.
        match self.decide(&parts, &body) {
            Decided::Fresh(hit) => ResponseFuture::stored(hit, marks),
            otherwise => self.go_on(otherwise, parts, body, marks),
        }
    }
}

/// What the first, synchronous look at a request comes to.
enum Decided {
    Fresh(Hit),
    Otherwise(Lookup, Box<Plan>),
    /// The key needs the request's content.
    ByContent(Class),
    Forward(Decision),
}

impl<S, K> CacheService<S, K> {
    /// Whether there is an answer already, and otherwise how to get one. Inlined, since what it returns is
    /// larger than what there is to say of a hit.
    #[inline(always)]
    fn decide<B: Body>(&self, parts: &request::Parts, body: &B) -> Decided {
        let fields = RequestFields::read(&parts.headers);
        let class = match keyed::admit(&self.core.route, parts, fields.facts, body) {
            Ok(class) => class,
            Err(decision) => return Decided::Forward(decision),
        };
        if class != Class::Get {
            return Decided::ByContent(class);
        }
        match consult(&self.core, parts, class, &fields, None) {
            Ok(Consulted::Fresh { stored, left, now }) => {
                let conditions = Conditions {
                    method: &parts.method,
                    fields,
                    facts: fields.facts,
                };
                Decided::Fresh(Hit::fresh(&self.core, stored, left, conditions, now))
            }
            Ok(Consulted::Otherwise(found, plan)) => Decided::Otherwise(found, plan),
            Err(reason) => Decided::Forward(Decision::because(Forward::Bypass, reason)),
        }
    }

    /// Forwards, or asks.
    #[cold]
    fn go_on<ReqBody, ResBody>(
        &mut self,
        decided: Decided,
        parts: request::Parts,
        body: ReqBody,
        marks: Marks,
    ) -> ServiceFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        K: KeyedBy<ReqBody> + 'static,
        ReqBody: Body + Send + 'static,
        ReqBody::Data: Send,
        ReqBody::Error: Send,
        ResBody: Body + Send + 'static,
        ResBody::Error: Send,
    {
        match decided {
            Decided::Fresh(hit) => ResponseFuture::stored(hit, marks),
            Decided::Forward(decision) if posted::concerns(&self.core, &parts, &decision) => {
                let (core, inner) = (Arc::clone(&self.core), self.take_inner());
                ResponseFuture::boxed(posted::call(core, inner, parts, body), marks)
            }
            Decided::Forward(decision) => self.forward(parts, body, decision, marks),
            Decided::ByContent(class) => {
                let (core, inner) = (Arc::clone(&self.core), self.take_inner());
                let call = content::call::<S, K, _, _>(core, inner, parts, body, class);
                ResponseFuture::boxed(call, marks)
            }
            Decided::Otherwise(found, plan) => {
                let (core, inner) = (Arc::clone(&self.core), self.take_inner());
                match Exchange::begin(core, inner, parts, body, *plan, found) {
                    Begun::Answered(hit) => ResponseFuture::stored(hit, marks),
                    Begun::Asking(exchange) => ResponseFuture::boxed(exchange.run(), marks),
                }
            }
        }
    }
}

type ServiceFuture<S, B, R> =
    ResponseFuture<<S as Service<Request<B>>>::Future, R, <S as Service<Request<B>>>::Error>;

impl<S, K> CacheService<S, K> {
    /// The inner service that was made ready; a clone of it stays behind (see tower-service, "Be
    /// careful when cloning inner services").
    fn take_inner(&mut self) -> S
    where
        S: Clone,
    {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }

    /// Hands a request on that is not looked up.
    fn forward<B, R>(
        &mut self,
        parts: request::Parts,
        body: B,
        decision: Decision,
        marks: Marks,
    ) -> ServiceFuture<S, B, R>
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: Body,
    {
        let core = Arc::clone(&self.core);
        let after = if is_safe(&parts.method) {
            After::new(core, decision, None)
        } else if keyed::caches(&self.core.route, &parts.method) {
            After::cached_method(core, decision, &parts)
        } else {
            let address = Address::on(&self.core.route, &parts);
            After::new(core, decision, Some(address))
        };
        let future = self.inner.call(Request::from_parts(parts, body));
        ResponseFuture::forward(future, after, marks)
    }
}
