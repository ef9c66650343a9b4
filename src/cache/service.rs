//! [`CacheService`]: decides, in one synchronous step where it can, who answers a request.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HeaderMap, HeaderValue};
use http::{header, request, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::answer;
use super::body::ResponseBody;
use super::exchange::{Exchange, Plan};
use super::future::{After, ResponseFuture};
use super::handle::Shared;
use super::invalidate::Address;
use super::keyed::{self, HeadKeyed, KeyedBy};
use super::lookup::{look_up, Lookup, Missing};
use super::route::Route;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::key::Class;
use crate::policy::request::{is_safe, RequestFacts};
use crate::policy::reuse::{refreshes_early, Allowance};

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
        let (class, facts) = match keyed::admit(&self.core.route, &parts, &body) {
            Ok(admitted) => admitted,
            Err(decision) => return self.forward(parts, body, decision),
        };
        if class != Class::Get {
            let inner = self.take_inner();
            let core = Arc::clone(&self.core);
            return ResponseFuture::boxed(super::content::call::<S, K, _, _>(
                core, inner, parts, body, class, facts,
            ));
        }
        let now = self.core.shared.clock.now();
        let directives = request_directives(&self.core.route, &facts, &parts.headers);
        let found = with_scratch(|key| {
            keyed::write_key(
                &self.core.shared,
                &self.core.route,
                &parts,
                class,
                None,
                key,
            )?;
            let shared = &self.core.shared;
            let place = shared.responses.place(key);
            let found = look_up(shared, place, key, &parts.headers, directives.as_ref(), now);
            let key = match answers_at_once(&self.core, &found, &parts.method, now) {
                true => None,
                false => Some(Arc::<[u8]>::from(key.as_slice())),
            };
            Ok((found, key, place))
        });
        match found {
            Ok((Lookup::Fresh { stored, left }, None, _)) => {
                let decision = Decision::Hit {
                    ttl: ttl_parameter(Ok(left)),
                    detail: None,
                };
                let head_request = parts.method == Method::HEAD;
                let response =
                    answer::from_store(&self.core, &stored, &decision, head_request, now);
                ResponseFuture::ready(response)
            }
            Ok((found, key, place)) => {
                let plan = Plan {
                    key: key.unwrap_or_default(),
                    place,
                    facts,
                    directives,
                    now,
                };
                self.not_simply_fresh(plan, found, parts, body)
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
            After::cached_method(core, decision)
        } else {
            After::new(core, decision, Some(Address::of(&parts)))
        };
        ResponseFuture::forward(self.inner.call(Request::from_parts(parts, body)), after)
    }

    /// Stale, due for a refresh, or missing.
    fn not_simply_fresh<B, R>(
        &mut self,
        plan: Plan,
        looked_up: Lookup,
        parts: request::Parts,
        body: B,
    ) -> ServiceFuture<S, B, R>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        B: Body + Send + 'static,
        R: Body + Send + 'static,
        R::Error: Send,
    {
        let (now, core) = (plan.now, Arc::clone(&self.core));
        let head_request = parts.method == Method::HEAD;
        let (stored, remaining, detail) = match looked_up {
            Lookup::Missing(missing) => {
                let inner = self.take_inner();
                let exchange = Exchange::new(core, inner, parts, body, plan, missing);
                return ResponseFuture::boxed(exchange.run());
            }
            Lookup::Fresh { stored, left } => (stored, Ok(left), Reason::EarlyRefresh),
            Lookup::Stale {
                stored,
                overdue,
                allowance: Allowance::MaxStale,
            } => (stored, Err(overdue), Reason::MaxStale),
            Lookup::Stale {
                stored, overdue, ..
            } => (stored, Err(overdue), Reason::StaleWhileRevalidate),
        };
        if detail != Reason::MaxStale {
            let missing = Missing {
                why: Forward::Stale,
                sample: Some(Arc::clone(&stored)),
                usable_on_error: false,
            };
            let inner = self.take_inner();
            Exchange::new(Arc::clone(&core), inner, parts, body, plan, missing).refresh();
        }
        let decision = Decision::Hit {
            ttl: ttl_parameter(remaining),
            detail: Some(detail),
        };
        let response = answer::from_store(&core, &stored, &decision, head_request, now);
        ResponseFuture::ready(response)
    }
}

/// Whether a stored response is fresh and nothing else is to be done.
fn answers_at_once(core: &Core, found: &Lookup, method: &Method, now: Timestamp) -> bool {
    let Lookup::Fresh { stored, .. } = found else {
        return false;
    };
    let Some(fraction) = core.route.early_refresh else {
        return true;
    };
    let jitter = stored
        .tags()
        .iter()
        .fold(stored.fence().clock, |mixed, tag| mixed ^ tag.0);
    *method == Method::HEAD || !refreshes_early(stored.times(), fraction, jitter, now)
}

/// The answer, where a stored response is fresh and nothing else is to be done.
pub(crate) fn fresh<R: Body>(
    core: &Core,
    found: &Lookup,
    method: &Method,
    now: Timestamp,
) -> Option<Response<ResponseBody<R>>> {
    let Lookup::Fresh { stored, left } = found else {
        return None;
    };
    if !answers_at_once(core, found, method, now) {
        return None;
    }
    let decision = Decision::Hit {
        ttl: ttl_parameter(Ok(*left)),
        detail: None,
    };
    let head_request = *method == Method::HEAD;
    Some(answer::from_store(
        core,
        stored,
        &decision,
        head_request,
        now,
    ))
}

/// The request's own directives, where it has any and the route heeds them.
pub(crate) fn request_directives(
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
pub(crate) fn with_scratch<T>(
    work: impl FnOnce(&mut Vec<u8>) -> Result<T, Reason>,
) -> Result<T, Reason> {
    let mut scratch = SCRATCH.take();
    let result = work(&mut scratch);
    SCRATCH.set(scratch);
    result
}
