//! A request for which the store has no fresh answer: who calls, and who waits.
//!
//! ```text
//!  begin ─┬─ stale, but usable ─► answer, and refresh
//!         └─ run
//!  run ─► join ─┬─ lead ──► look again ─► call
//!               ├─ follow ─► wait ─┬─ published, and mine to have ─► answer
//!               │                  ├─ unstorable ─► call, alone
//!               │                  └─ failed ─► join once more
//!               └─ full, circle, or no collapsing here ─► call, alone
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::{header, request, Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use super::answer::{self, Hit};
use super::body::{Answer, ResponseBody};
use super::call::{stale_on_error, Call};
use super::collapse::{Join, Leader, Outcome};
use super::core::Core;
use super::lookup::{look_up, Lookup, Missing, Plan};
use super::stats::Counted;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::request::Fact;
use crate::policy::reuse::{reuse, Allowance, Reuse};
use crate::policy::stored::{selecting_fields, StoredResponse};
use crate::store::invalidation::Validity;

/// A request on its way to the inner service.
pub(crate) struct Exchange<S, B> {
    core: Arc<Core>,
    inner: S,
    parts: request::Parts,
    body: B,
    plan: Plan,
    missing: Missing,
    /// A refresh: nobody waits for its answer.
    in_background: bool,
}

/// What became of a request at once.
pub(crate) enum Begun<S, B> {
    Answered(Hit),
    Asking(Box<Exchange<S, B>>),
}

impl<S, B, R> Exchange<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body + Send + 'static,
    R::Error: Send,
{
    fn new(
        core: Arc<Core>,
        inner: S,
        parts: request::Parts,
        body: B,
        plan: Plan,
        missing: Missing,
    ) -> Self {
        Self {
            core,
            inner,
            parts,
            body,
            plan,
            missing,
            in_background: false,
        }
    }

    /// Calls the inner service for this request alone, or for those who follow `leader`.
    async fn call(self, leader: Option<Leader>, detail: Option<Reason>) -> Answer<R, S::Error> {
        let call = Call {
            core: self.core,
            plan: self.plan,
            missing: self.missing,
            leader,
            detail,
            in_background: self.in_background,
        };
        call.answer(self.inner, self.parts, self.body).await
    }

    /// Answers the request.
    pub(crate) async fn run(self) -> Answer<R, S::Error> {
        if self
            .plan
            .directives
            .as_ref()
            .is_some_and(|said| said.only_if_cached)
        {
            return Ok(self.gateway_timeout());
        }
        let Some(deadline) = self.collapses() else {
            return self.call(None, None).await;
        };
        let shared = &self.core.shared;
        let give_up = self.plan.now.plus(deadline);
        let mut detail = Reason::CollapseFailed;
        for _ in 0..2 {
            let joined =
                shared
                    .flights
                    .join(&self.flight_key(), self.plan.place, shared.limits.waiters);
            let follower = match joined {
                Join::Leader(leader) => match self.found_meanwhile() {
                    Some((stored, answer)) => {
                        leader.finish(Outcome::Published(stored));
                        return Ok(answer);
                    }
                    None => return self.call(Some(leader), None).await,
                },
                Join::Follower(follower) => follower,
                Join::Full => {
                    detail = Reason::TooManyWaiters;
                    break;
                }
                Join::Cycle => return self.call(None, None).await,
            };
            // No longer than the deadline, even when the clock was set back in between.
            let left = give_up.since(shared.clock.now()).min(deadline);
            match follower.wait(&shared.clock, left).await {
                Some(Outcome::Published(stored)) if self.accepts(&stored) => {
                    return Ok(self.collapsed(stored, None));
                }
                Some(Outcome::Published(_)) => {}
                Some(Outcome::Failed) => {
                    if let Some(stored) = self.stale_on_error() {
                        return Ok(self.collapsed(stored, Some(Reason::StaleIfError)));
                    }
                }
                Some(Outcome::Unstorable) => return self.call(None, None).await,
                None => {
                    detail = Reason::CollapseTimeout;
                    break;
                }
            }
        }
        self.call(None, Some(detail)).await
    }

    /// How long to wait for another request's call, where this one may share it at all.
    fn collapses(&self) -> Option<Duration> {
        let (plan, shared) = (&self.plan, &self.core.shared);
        // Who wants an answer made for this very request would wait for one that it cannot take.
        let wants_its_own = |said: &CacheControl| {
            said.no_store || said.no_cache.is_some() || said.max_age == Some(0)
        };
        let shares = self.parts.method != Method::HEAD
            && self.missing.why != Forward::Request
            && !plan.facts.has(Fact::Precondition)
            && !plan.directives.as_ref().is_some_and(wants_its_own)
            && !shared.uncacheable.is_remembered(plan.place, plan.now)
            && Handle::try_current().is_ok();
        self.core.route.collapse.filter(|_| shares)
    }

    /// The key, and the values of the fields that its responses are known to vary on.
    fn flight_key(&self) -> Arc<[u8]> {
        let vary = self
            .missing
            .sample
            .as_ref()
            .map_or(&[][..], |sample| sample.vary());
        if vary.is_empty() {
            return Arc::clone(&self.plan.key);
        }
        let mut key = self.plan.key.to_vec();
        let names: Vec<_> = vary.iter().map(|field| field.name.clone()).collect();
        for field in selecting_fields(&names, &self.parts.headers) {
            key.push(u8::from(field.value.is_some()));
            let value = field.value.unwrap_or_default();
            key.extend_from_slice(&(value.len() as u64).to_be_bytes());
            key.extend_from_slice(&value);
        }
        key.into()
    }

    /// What another request stored between this one's look-up and its lead.
    fn found_meanwhile(&self) -> Option<(Arc<StoredResponse>, Response<ResponseBody<R>>)> {
        let Plan {
            key,
            place,
            directives,
            ..
        } = &self.plan;
        let (shared, parts) = (&self.core.shared, &self.parts);
        let now = shared.clock.now();
        match look_up(
            shared,
            *place,
            key,
            &parts.headers,
            directives.as_ref(),
            now,
        ) {
            Lookup::Fresh { stored, left } => {
                let hit = Hit::fresh(&self.core, Arc::clone(&stored), left, &parts.method, now);
                Some((stored, hit.into_response()))
            }
            _ => None,
        }
    }

    /// Whether another request's response may answer this one: it is the right variant, fresh, and
    /// no invalidation has overtaken the call it came from.
    fn accepts(&self, stored: &StoredResponse) -> bool {
        let shared = &self.core.shared;
        let now = shared.clock.now();
        let reuse = reuse(stored.times(), self.plan.directives.as_ref(), false, now);
        stored.key() == &*self.plan.key
            && stored.is_selected_by(&self.parts.headers)
            && shared.validity(stored) == Validity::Valid
            && matches!(
                reuse,
                Reuse::Fresh { .. }
                    | Reuse::Stale {
                        allowance: Some(_),
                        ..
                    }
            )
    }

    /// The stale response that may stand in for a failed call.
    fn stale_on_error(&self) -> Option<Arc<StoredResponse>> {
        stale_on_error(&self.core, &self.missing)
    }

    fn collapsed(
        &self,
        stored: Arc<StoredResponse>,
        detail: Option<Reason>,
    ) -> Response<ResponseBody<R>> {
        let decision = Decision::Forward {
            why: self.missing.why,
            status: None,
            stored: false,
            collapsed: true,
            detail,
        };
        let now = self.core.shared.clock.now();
        Hit::new(&self.core, stored, &decision, &self.parts.method, now).into_response()
    }

    /// The client wants a stored response or none (RFC 9111 §5.2.1.7).
    fn gateway_timeout(&self) -> Response<ResponseBody<R>> {
        let mut response = Response::new(ResponseBody::whole(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        let decision = Decision::Refused {
            detail: Reason::OnlyIfCached,
        };
        answer::settle(&self.core, response.headers_mut(), &decision);
        response
    }
}

impl<S, B, R> Exchange<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Error: Send,
{
    /// What becomes of a request whose stored response is not simply fresh: a stale one that may be
    /// used answers it, and the request goes on as its refresh.
    pub(crate) fn begin(
        core: Arc<Core>,
        inner: S,
        parts: request::Parts,
        body: B,
        plan: Plan,
        found: Lookup,
    ) -> Begun<S, B> {
        let (stored, remaining, detail) = match found {
            Lookup::Missing(missing) => {
                let exchange = Self::new(core, inner, parts, body, plan, missing);
                return Begun::Asking(Box::new(exchange));
            }
            Lookup::Fresh { stored, left } => (stored, Ok(left), Reason::EarlyRefresh),
            Lookup::Stale {
                stored,
                overdue,
                allowance,
            } => match allowance {
                Allowance::MaxStale => (stored, Err(overdue), Reason::MaxStale),
                Allowance::WhileRevalidate => (stored, Err(overdue), Reason::StaleWhileRevalidate),
            },
        };
        let decision = Decision::Hit {
            ttl: ttl_parameter(remaining),
            detail: Some(detail),
        };
        let sample = Arc::clone(&stored);
        let hit = Hit::new(&core, stored, &decision, &parts.method, plan.now);
        if detail != Reason::MaxStale {
            let missing = Missing {
                why: Forward::Stale,
                sample: Some(sample),
                usable_on_error: false,
            };
            Self::new(core, inner, parts, body, plan, missing).refresh();
        }
        Begun::Answered(hit)
    }

    /// Turns a request that was answered already into the refresh of what answered it, unless one
    /// is under way or its answer could not be stored.
    fn refresh(mut self) {
        let said = self.plan.directives.as_ref();
        if self.parts.method == Method::HEAD || said.is_some_and(|said| said.no_store) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // What the client holds is its own affair: the store needs a whole response.
        self.parts.headers.remove(header::IF_NONE_MATCH);
        self.parts.headers.remove(header::IF_MODIFIED_SINCE);
        let shared = Arc::clone(&self.core.shared);
        let limit = shared.limits.waiters;
        let Join::Leader(leader) = shared
            .flights
            .join(&self.flight_key(), self.plan.place, limit)
        else {
            return;
        };
        self.in_background = true;
        shared.counters.count(Counted::Refresh);
        runtime.spawn(async move {
            if let Ok(response) = self.call(Some(leader), None).await {
                response.into_body().complete_copy().await;
            }
        });
    }
}
