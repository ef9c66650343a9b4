//! What answers and handlers are told, and what answers change.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, ACCESS_CONTROL_EXPOSE_HEADERS, RETRY_AFTER};
use http::{Extensions, Response};
use tokio::runtime::Handle;

use super::admit::Taken;
use super::answer::{number, standing, Refusal};
use super::few::Few;
use super::route::Route;
use crate::header::rate_limit::Fields;
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

impl Route {
    /// Answers a request that is refused.
    pub(super) fn refuse(&self, refusal: &Refusal, taken: &Few<Taken>) -> Response<Bytes> {
        let mut response = match &self.answers.respond {
            None => refusal.to_response(),
            Some(respond) => {
                let mut response = respond(refusal);
                if let Some(seconds) = refusal.retry_after() {
                    let headers = response.headers_mut();
                    headers
                        .entry(RETRY_AFTER)
                        .or_insert_with(|| number(seconds));
                }
                response
            }
        };
        self.tell(response.headers_mut(), taken, Some(refusal));
        if self.answers.verdicts {
            let verdict = self.verdict(taken, Some(refusal.clone()));
            response.extensions_mut().insert(verdict);
        }
        response
    }

    /// Appends the fields of the limits that took part.
    #[inline]
    pub(super) fn tell(
        &self,
        headers: &mut HeaderMap,
        taken: &Few<Taken>,
        refusal: Option<&Refusal>,
    ) {
        let mut tightest: Option<&Taken> = None;
        for t in taken.iter() {
            let limit = &self.limits[t.limit];
            if limit.rule.shadow {
                continue;
            }
            limit.fields.append_policy(headers);
            if self.answers.tell_all {
                self.append_standing(headers, t, refusal);
            } else if tightest.is_none_or(|other| tightness(t) < tightness(other)) {
                tightest = Some(t);
            }
        }
        if let Some(t) = tightest {
            self.append_standing(headers, t, refusal);
        }
        if self.answers.expose {
            let names = Fields::names(self.answers.profile);
            headers.append(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(names),
            );
        }
    }

    #[inline]
    fn append_standing(&self, headers: &mut HeaderMap, t: &Taken, refusal: Option<&Refusal>) {
        let Some(mut standing) = standing(t.decision) else {
            return;
        };
        if let (Some(refusal), false) = (refusal, t.decision.is_admitted()) {
            // One who is told two numbers believes the smaller one.
            standing.reset = refusal.retry_after().unwrap_or(standing.reset);
        }
        let epoch = || self.answers.clock.now().as_secs();
        self.limits[t.limit]
            .fields
            .append_standing(headers, standing, epoch);
    }

    #[inline]
    pub(super) fn tell_handlers(&self, extensions: &mut Extensions, taken: &Few<Taken>) {
        if self.answers.verdicts {
            extensions.insert(self.verdict(taken, None));
        }
    }

    fn verdict(&self, taken: &Few<Taken>, refusal: Option<Refusal>) -> Verdict {
        let told = taken.iter().filter(|t| !self.limits[t.limit].rule.shadow);
        let policies = told.map(|t| (Arc::clone(&self.limits[t.limit].name), t.decision));
        Verdict {
            policies: policies.collect(),
            refusal,
        }
    }

    /// Makes requests cost what their answers say.
    #[inline]
    pub(super) fn settle<B>(&self, response: Response<B>, taken: &mut Few<Taken>) -> Response<B> {
        if !self.settles {
            return response;
        }
        let (parts, body) = response.into_parts();
        for t in taken.iter_mut() {
            let limit = &self.limits[t.limit];
            let settle = limit.rule.settle.as_ref();
            let Some(cost) = settle.and_then(|settle| settle(&parts)) else {
                continue;
            };
            // A limit in shadow that refused has taken nothing.
            if cost == t.cost || !t.decision.is_admitted() {
                continue;
            }
            let core = &limit.limiter.core;
            if core.shared.is_none() {
                t.decision = core.settle_here(t.principal, t.cost, cost);
                continue;
            }
            if let Decision::Admitted { left, .. } = &mut t.decision {
                *left = left.saturating_add(t.cost).saturating_sub(cost);
                *left = (*left).min(core.quota.tokens());
            }
            let (limiter, principal, was) = (limit.limiter.clone(), t.principal, t.cost);
            // Nobody waits for it. Without a runtime it costs what was taken.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move { limiter.core.settle(principal, was, cost).await });
            }
        }
        Response::from_parts(parts, body)
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
