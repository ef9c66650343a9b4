//! [`CacheService`]: decides, in one synchronous step where it can, who answers a request.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use http::{header, request, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::answer;
use super::body::ResponseBody;
use super::content;
use super::exchange::{Begun, Exchange, Plan};
use super::future::{After, EnclosedBy, ResponseFuture};
use super::handle::Shared;
use super::invalidate::Address;
use super::keyed::{self, HeadKeyed, KeyedBy};
use super::lookup::{look_up, Lookup};
use super::route::Route;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::key::Class;
use crate::policy::request::{is_safe, RequestFacts};
use crate::policy::reuse::refreshes_early;
use crate::policy::stored::StoredResponse;
use crate::policy::tag::TagHash;

/// The service of a [`CacheLayer`](crate::CacheLayer).
///
/// A hit is answered without calling the inner service; everything else reaches it once, with the
/// request as it came. The error type is the inner service's.
pub struct CacheService<S, K = HeadKeyed> {
    inner: S,
    core: Arc<Core>,
    keyed: PhantomData<fn() -> K>,
}

/// One route of one cache.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: Route,
    pub(crate) default_cache_control: HeaderValue,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>, route: Route) -> Arc<Self> {
        let default_cache_control = route.default_cache_control();
        Arc::new(Self {
            shared,
            route,
            default_cache_control,
        })
    }
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
        let enclosed = EnclosedBy::is_in(&parts, &self.core.shared);
        self.decide(parts, body).enclosed(enclosed)
    }
}

impl<S, K> CacheService<S, K> {
    /// Answers at once, forwards, or asks.
    fn decide<ReqBody, ResBody>(
        &mut self,
        parts: request::Parts,
        body: ReqBody,
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
        let (class, facts) = match keyed::admit(&self.core.route, &parts, &body) {
            Ok(admitted) => admitted,
            Err(decision) => return self.forward(parts, body, decision),
        };
        if class != Class::Get {
            let (core, inner) = (Arc::clone(&self.core), self.take_inner());
            return ResponseFuture::boxed(content::call::<S, K, _, _>(
                core, inner, parts, body, class, facts,
            ));
        }
        match consult(&self.core, &parts, class, facts, None) {
            Ok(Consulted::Fresh { stored, left, now }) => {
                let response = fresh(&self.core, &stored, left, &parts.method, now);
                ResponseFuture::ready(response)
            }
            Ok(Consulted::Otherwise(found, plan)) => {
                let (core, inner) = (Arc::clone(&self.core), self.take_inner());
                match Exchange::begin(core, inner, parts, body, *plan, found) {
                    Begun::Answered(response) => ResponseFuture::ready(response),
                    Begun::Asking(exchange) => ResponseFuture::boxed(exchange.run()),
                }
            }
            Err(reason) => self.forward(parts, body, Decision::because(Forward::Bypass, reason)),
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
            After::new(core, decision, Some(Address::of(&parts)))
        };
        ResponseFuture::forward(self.inner.call(Request::from_parts(parts, body)), after)
    }
}

/// What the store says of a request.
pub(crate) enum Consulted {
    /// A fresh response, and nothing else to do.
    Fresh {
        stored: Arc<StoredResponse>,
        left: Duration,
        now: Timestamp,
    },
    Otherwise(Lookup, Box<Plan>),
}

/// Makes the key of a request and asks the store; an error is the reason to bypass the cache.
pub(crate) fn consult(
    core: &Core,
    parts: &request::Parts,
    class: Class,
    facts: RequestFacts,
    content: Option<&[u8; 32]>,
) -> Result<Consulted, Reason> {
    let shared = &core.shared;
    let now = shared.clock.now();
    let directives = request_directives(&core.route, &facts, &parts.headers);
    with_scratch(|key| {
        keyed::write_key(shared, &core.route, parts, class, content, key)?;
        let place = shared.responses.place(key);
        match look_up(shared, place, key, &parts.headers, directives.as_ref(), now) {
            Lookup::Fresh { stored, left } if !is_due(core, &stored, &parts.method, now) => {
                Ok(Consulted::Fresh { stored, left, now })
            }
            found => {
                let plan = Plan {
                    key: Arc::from(key.as_slice()),
                    place,
                    facts,
                    directives,
                    now,
                };
                Ok(Consulted::Otherwise(found, Box::new(plan)))
            }
        }
    })
}

/// Whether a response, although fresh, is to be refreshed by this request.
pub(crate) fn is_due(
    core: &Core,
    stored: &StoredResponse,
    method: &Method,
    now: Timestamp,
) -> bool {
    let Some(fraction) = core.route.early_refresh else {
        return false;
    };
    let mix = |mixed, tag: &TagHash| mixed ^ tag.0;
    let jitter = stored.tags().iter().fold(stored.fence().0, mix);
    *method != Method::HEAD && refreshes_early(stored.times(), fraction, jitter, now)
}

/// The answer from a response that is fresh for `left`.
pub(crate) fn fresh<R: Body>(
    core: &Core,
    stored: &StoredResponse,
    left: Duration,
    method: &Method,
    now: Timestamp,
) -> Response<ResponseBody<R>> {
    let decision = Decision::Hit {
        ttl: ttl_parameter(Ok(left)),
        detail: None,
    };
    answer::from_store(core, stored, &decision, method, now)
}

/// The request's own directives, where it has any and the route heeds them.
fn request_directives(
    route: &Route,
    facts: &RequestFacts,
    headers: &HeaderMap,
) -> Option<CacheControl> {
    if route.ignore_client_directives || !(facts.cache_control || facts.pragma) {
        return None;
    }
    if facts.cache_control {
        return Some(CacheControl::parse(headers.get_all(header::CACHE_CONTROL)));
    }
    // `Pragma: no-cache` from clients that know nothing else (RFC 9111 §5.4).
    let pragma = CacheControl::parse(headers.get_all(header::PRAGMA));
    Some(CacheControl {
        no_cache: pragma.no_cache,
        ..CacheControl::default()
    })
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends a buffer for a key, so that a hit allocates none.
fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> Result<T, Reason>) -> Result<T, Reason> {
    let mut scratch = SCRATCH.take();
    let result = work(&mut scratch);
    SCRATCH.set(scratch);
    result
}
