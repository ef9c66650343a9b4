//! What answers and handlers are told, and what answers change.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, ACCESS_CONTROL_EXPOSE_HEADERS, RETRY_AFTER};
use http::{Extensions, Response, StatusCode};
use tokio::runtime::Handle;

use super::answer::{number, standing, Refusal};
use super::route::{Limited, Route};
use super::taken::{Later, Passes, Taken};
use crate::header::rate_limit::{Fields, Told};
use crate::policy::bucket::Decision;

/// What the limits of a layer said of a request, for handlers and for layers further out
/// ([`with_verdict`](crate::LimitLayer::with_verdict)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The policies that took part, in order, and their decisions.
    pub policies: Vec<(Arc<str>, Decision)>,
    /// Why it is refused, if it is.
    pub refusal: Option<Refusal>,
}

/// What is to be done with the answer of a request that passed.
pub(super) enum Telling {
    Nothing,
    /// This is all, so that no count of the route is taken, which all threads share.
    Told(&'static Told),
    By(Arc<Route>, Passes),
}

impl Telling {
    #[inline]
    pub(super) fn of(passes: Passes, route: &Arc<Route>) -> Self {
        match passes {
            Passes::Unseen => Self::Nothing,
            Passes::Told(told) => Self::Told(told),
            seen => Self::By(Arc::clone(route), seen),
        }
    }

    /// Settles what a request costs and tells of it. Once.
    #[inline]
    pub(super) fn finish<B>(&mut self, mut response: Response<B>) -> Response<B> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => {}
            Self::Told(told) => told.append(response.headers_mut()),
            Self::By(route, passes) => response = route.finish(response, passes),
        }
        response
    }
}

impl Route {
    /// Answers a request that is refused.
    pub(super) fn refuse(&self, refusal: Refusal, taken: &[Taken]) -> Response<Bytes> {
        let mut response = match &self.answers.respond {
            None => refusal.to_response(),
            Some(respond) => {
                let mut response = respond(&refusal);
                if let Some(seconds) = refusal.retry_after() {
                    let field = response.headers_mut().entry(RETRY_AFTER);
                    field.or_insert_with(|| number(seconds));
                }
                response
            }
        };
        self.tell(response.headers_mut(), taken, Some(&refusal));
        if self.answers.verdicts {
            let verdict = self.verdict(taken, Some(refusal));
            response.extensions_mut().insert(verdict);
        }
        response
    }

    /// All that is told of the only limit of the route, if it was written beforehand.
    #[inline]
    pub(super) fn told_plainly(&self, decision: Decision) -> Option<&'static Told> {
        let limit = &self.limits[0];
        let standing = standing(decision, &limit.limiter.core.quota)?;
        limit.fields.told(standing).filter(|_| !self.answers.expose)
    }

    /// Answers a request that the only limit of the route refuses, from what was written beforehand.
    pub(super) fn refuse_plainly(
        &self,
        decision: Decision,
        told: Option<&'static Told>,
    ) -> Option<Response<Bytes>> {
        let limit = &self.limits[0];
        let template = limit.template.as_ref()?;
        let standing = match decision {
            Decision::Refused { .. } => standing(decision, &limit.limiter.core.quota)?,
            _ => return None,
        };
        let mut response = Response::new(template.body.clone());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let headers = response.headers_mut();
        *headers = template.headers.clone();
        // They stand first, so that the map need not be searched.
        let mut places = headers.values_mut();
        if let Some(retry_after) = places.next() {
            *retry_after = told.map_or_else(|| number(standing.reset), |t| t.retry_after.clone());
        }
        let ratelimit = match told {
            Some(told) => Some(told.ratelimit.clone()),
            None => limit.fields.ratelimit(standing),
        };
        match (ratelimit, places.next()) {
            (Some(value), Some(ratelimit)) => *ratelimit = value,
            _ => {
                let epoch = || self.answers.clock.now().as_secs();
                limit.fields.append_standing(headers, standing, epoch);
            }
        }
        Some(response)
    }

    /// Settles what a request costs and tells of it.
    fn finish<B>(&self, mut response: Response<B>, passes: Passes) -> Response<B> {
        match passes {
            Passes::Unseen => {}
            Passes::Told(told) => told.append(response.headers_mut()),
            Passes::Plainly(decision) => {
                let limit = &self.limits[0];
                let headers = response.headers_mut();
                limit.fields.append_policy(headers);
                self.append_standing(headers, limit, decision, None);
                self.expose(headers);
            }
            Passes::With(mut taken) => {
                if self.settles {
                    response = self.settle(response, &mut taken);
                }
                self.tell(response.headers_mut(), &taken, None);
            }
        }
        response
    }

    /// Appends the fields of the limits that took part.
    fn tell(&self, headers: &mut HeaderMap, taken: &[Taken], refusal: Option<&Refusal>) {
        let seen = taken.iter().filter(|t| !self.limits[t.limit].rule.shadow);
        let tightest = seen.clone().min_by_key(|t| tightness(t));
        for t in seen.clone() {
            self.limits[t.limit].fields.append_policy(headers);
        }
        let told = seen.filter(|t| {
            let is_it = tightest.is_some_and(|tightest| tightest.limit == t.limit);
            self.answers.tell_all || is_it
        });
        for t in told {
            self.append_standing(headers, &self.limits[t.limit], t.decision, refusal);
        }
        if !taken.is_empty() {
            self.expose(headers);
        }
    }

    fn expose(&self, headers: &mut HeaderMap) {
        if self.answers.expose {
            let names = Fields::names(self.answers.profile);
            let names = HeaderValue::from_static(names);
            headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }

    #[inline]
    fn append_standing(
        &self,
        headers: &mut HeaderMap,
        limit: &Limited,
        decision: Decision,
        refusal: Option<&Refusal>,
    ) {
        let Some(mut standing) = standing(decision, &limit.limiter.core.quota) else {
            return;
        };
        if let (Some(refusal), false) = (refusal, decision.is_admitted()) {
            // One who is told two numbers believes the smaller one.
            standing.reset = refusal.retry_after().unwrap_or(standing.reset);
        }
        let epoch = || self.answers.clock.now().as_secs();
        limit.fields.append_standing(headers, standing, epoch);
    }

    #[inline]
    pub(super) fn tell_handlers(&self, extensions: &mut Extensions, passes: &Passes) {
        if let (true, Passes::With(taken)) = (self.answers.verdicts, passes) {
            extensions.insert(self.verdict(taken, None));
        }
    }

    fn verdict(&self, taken: &[Taken], refusal: Option<Refusal>) -> Verdict {
        let told = taken.iter().filter(|t| !self.limits[t.limit].rule.shadow);
        let policies = told.map(|t| (Arc::clone(&self.limits[t.limit].name), t.decision));
        Verdict {
            policies: policies.collect(),
            refusal,
        }
    }

    /// Makes requests cost what their answers say.
    fn settle<B>(&self, response: Response<B>, taken: &mut [Taken]) -> Response<B> {
        let (parts, body) = response.into_parts();
        for t in taken {
            let settle = self.limits[t.limit].rule.settle.as_ref();
            let cost = settle.and_then(|settle| settle(&parts));
            // A limit in shadow that refused has taken nothing.
            match (cost, t.later.take()) {
                (Some(cost), Some(later)) => self.settle_later(t, cost, later),
                (Some(cost), None) if t.decision.is_admitted() => self.settle_one(t, cost),
                _ => {}
            }
        }
        Response::from_parts(parts, body)
    }

    fn settle_one(&self, taken: &mut Taken, cost: u64) {
        let limiter = &self.limits[taken.limit].limiter;
        let core = &limiter.core;
        let (principal, was, alone) = (taken.principal, taken.cost, taken.alone);
        if core.shared.is_none() {
            taken.decision = core.settle_here(principal, was, cost);
            return;
        }
        if let Decision::Admitted { left, .. } = &mut taken.decision {
            *left = left.saturating_add(was).saturating_sub(cost);
            *left = (*left).min(core.quota.tokens());
        }
        // Nobody waits for it. Without a runtime it costs what was taken.
        if let Ok(runtime) = Handle::try_current() {
            let limiter = limiter.clone();
            runtime.spawn(async move { limiter.core.settle(principal, was, cost, alone).await });
        }
    }

    /// Settles what a limit in shadow took, once that has said whether it did.
    fn settle_later(&self, taken: &Taken, cost: u64, later: Later) {
        let limiter = self.limits[taken.limit].limiter.clone();
        let (principal, was) = (taken.principal, taken.cost);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Ok((Decision::Admitted { .. }, alone)) = later.await {
                    limiter.core.settle(principal, was, cost, alone).await;
                }
            });
        }
    }
}

/// The less is left, the tighter; refusals first, the longest of them.
fn tightness(taken: &Taken) -> (u64, u128) {
    match taken.decision {
        Decision::Admitted { left, .. } => (left.saturating_add(1), 0),
        Decision::Refused { wait } => (0, u128::MAX - wait.as_nanos()),
        Decision::Never | Decision::Unavailable => (0, u128::MAX),
    }
}
