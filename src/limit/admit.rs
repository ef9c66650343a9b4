//! From a request to what its limits say of it.
//!
//! ```text
//! skip ─► keys, deny and allow lists, costs ─┬─ all in this process ─► decided, at once
//!                                            └─ a key to ask for, or Redis ─► a future
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{request, StatusCode};

use super::answer::Refusal;
use super::core::{Charge, Principal};
use super::few::Few;
use super::key::{Key, NoKey};
use super::route::{Limited, Route};
use super::rule::{answered, Asking};
use super::stats::Counted;
use super::take;
use crate::policy::bucket::Decision;

/// What one limit took, or did not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Which of the route's limits.
    pub(super) limit: usize,
    pub(super) principal: Principal,
    pub(super) cost: u64,
    pub(super) decision: Decision,
}

/// What all limits say together: what they took, in shadow or not, or why it is refused.
pub(super) struct Admission {
    pub(super) taken: Few<Taken>,
    pub(super) refusal: Option<Refusal>,
}

pub(super) type Asked = Pin<Box<dyn Future<Output = Admission> + Send>>;

/// Where a decision is made.
pub(super) enum Admitting {
    Now(Admission),
    Later(Asked),
}

/// What one limit has to do with a request.
enum Concern {
    Charge(Principal, u64),
    /// It lets it pass unseen.
    Nothing,
    Refuse(Refusal),
    /// Somebody has to be asked whose bucket it is. Beside it: the cost, and whose it is for want of an answer.
    Ask(Vec<Asking>, u64, Result<Key<'static>, Option<StatusCode>>),
}

impl Route {
    /// Whether no limit sees this request.
    #[inline]
    pub(super) fn skips(&self, parts: &request::Parts) -> bool {
        let skips = self.answers.skip.iter().any(|test| test(parts));
        if skips {
            for limit in &self.limits {
                limit.limiter.core.counters.count(Counted::Skipped);
            }
        }
        skips
    }

    #[inline]
    pub(super) fn admit(self: &Arc<Self>, parts: &request::Parts) -> Admitting {
        let mut taken = Few::default();
        let mut asking = Vec::new();
        for (n, limit) in self.limits.iter().enumerate() {
            match limit.concern(parts) {
                Concern::Charge(principal, cost) => taken.push(Taken {
                    limit: n,
                    principal,
                    cost,
                    decision: Decision::Unavailable,
                }),
                Concern::Nothing => {}
                Concern::Refuse(refusal) => return Admitting::Now(Admission::refused(refusal)),
                Concern::Ask(keys, cost, without) => asking.push((n, keys, cost, without)),
            }
        }
        if self.asks {
            return Admitting::Later(Box::pin(Arc::clone(self).ask(taken, asking)));
        }
        Admitting::Now(self.decide_here(taken))
    }

    /// Decides in this process.
    #[inline]
    fn decide_here(&self, mut taken: Few<Taken>) -> Admission {
        if let Some(only) = taken.only() {
            let limit = &self.limits[only.limit];
            let core = &limit.limiter.core;
            only.decision = core.take_here(only.principal, only.cost);
            if !limit.rule.shadow {
                core.count(only.decision);
                if only.decision.is_admitted() {
                    return Admission::passed(taken);
                }
            }
        } else if !taken.is_empty() {
            let (places, charges) = self.charges(&taken, false);
            let told = take::all_here(&charges);
            fill(&mut taken, &places, &told);
            let (places, charges) = self.charges(&taken, true);
            let take = |charge: &Charge<'_>| charge.core.take_here(charge.principal, charge.cost);
            let told: Vec<_> = charges.iter().map(take).collect();
            fill(&mut taken, &places, &told);
        }
        self.judged(taken)
    }

    /// Decides once everybody has been asked.
    async fn ask(
        self: Arc<Self>,
        mut taken: Few<Taken>,
        asking: Vec<(
            usize,
            Vec<Asking>,
            u64,
            Result<Key<'static>, Option<StatusCode>>,
        )>,
    ) -> Admission {
        for (n, keys, cost, without) in asking {
            let limit = &self.limits[n];
            let key = match answered(keys).await {
                Ok(key) => Ok(key),
                Err(_) => {
                    limit.limiter.core.counters.count(Counted::Keyless);
                    without
                }
            };
            match limit.concern_of(key, cost) {
                Concern::Charge(principal, cost) => taken.push(Taken {
                    limit: n,
                    principal,
                    cost,
                    decision: Decision::Unavailable,
                }),
                Concern::Refuse(refusal) => return Admission::refused(refusal),
                Concern::Nothing | Concern::Ask(..) => {}
            }
        }
        let (places, charges) = self.charges(&taken, false);
        let told = take::all(&charges).await;
        fill(&mut taken, &places, &told);
        let (places, charges) = self.charges(&taken, true);
        let mut told = Vec::with_capacity(charges.len());
        for charge in charges {
            told.push(take::uncounted(&charge).await);
        }
        fill(&mut taken, &places, &told);
        self.judged(taken)
    }

    /// The charges that are in shadow, or those that are not, and where they stand.
    fn charges(&self, taken: &Few<Taken>, shadow: bool) -> (Vec<usize>, Vec<Charge<'_>>) {
        let wanted = taken.iter().enumerate();
        let wanted = wanted.filter(|(_, t)| self.limits[t.limit].rule.shadow == shadow);
        let charge = |(n, t): (usize, &Taken)| {
            let core = &self.limits[t.limit].limiter.core;
            (n, core.charge(t.principal, t.cost))
        };
        wanted.map(charge).unzip()
    }

    /// What the decisions come to.
    fn judged(&self, taken: Few<Taken>) -> Admission {
        let mut violated = Vec::new();
        let mut wait = Duration::ZERO;
        let (mut never, mut unavailable) = (false, false);
        for t in taken.iter() {
            let limit = &self.limits[t.limit];
            if limit.rule.shadow {
                let counted = match t.decision {
                    Decision::Admitted { .. } => Counted::ShadowAdmitted,
                    _ => Counted::ShadowRefused,
                };
                limit.limiter.core.counters.count(counted);
                continue;
            }
            match t.decision {
                Decision::Admitted { .. } => continue,
                Decision::Refused { wait: longer } => wait = wait.max(longer),
                Decision::Never => never = true,
                Decision::Unavailable => {
                    unavailable = true;
                    // So that not all come back at once.
                    wait = wait.max(Duration::from_secs(1 + t.principal.spread(3)));
                }
            }
            violated.push(Arc::clone(&limit.name));
        }
        if violated.is_empty() {
            return Admission::passed(taken);
        }
        let refusal = match (never, unavailable) {
            (true, _) => Refusal::TooExpensive { violated },
            (_, true) => Refusal::Unavailable { violated, wait },
            _ => Refusal::QuotaExceeded { violated, wait },
        };
        Admission {
            taken,
            refusal: Some(refusal),
        }
    }
}

impl Limited {
    #[inline]
    fn concern(&self, parts: &request::Parts) -> Concern {
        let rule = &self.rule;
        let key = match rule.key(parts) {
            Ok(key) => Ok(key),
            Err(Some(why)) => {
                self.limiter.core.counters.count(Counted::Keyless);
                rule.without(why, parts)
            }
            Err(None) => {
                let without = rule.without(NoKey::NoName, parts);
                return Concern::Ask(rule.ask(parts), rule.cost_of(parts), without);
            }
        };
        self.concern_of(key, rule.cost_of(parts))
    }

    #[inline]
    fn concern_of(&self, key: Result<Key<'_>, Option<StatusCode>>, cost: u64) -> Concern {
        let rule = &self.rule;
        let core = &self.limiter.core;
        let key = match key {
            Ok(key) => key,
            Err(None) => return Concern::Nothing,
            // A limit in shadow refuses nobody.
            Err(Some(_)) if rule.shadow => return Concern::Nothing,
            Err(Some(status)) => return Concern::Refuse(Refusal::NoKey { status }),
        };
        if rule.deny.as_ref().is_some_and(|list| list.has(&key)) && !rule.shadow {
            core.counters.count(Counted::Denied);
            return Concern::Refuse(Refusal::Denied);
        }
        if rule.allow.as_ref().is_some_and(|list| list.has(&key)) {
            core.counters.count(Counted::Skipped);
            return Concern::Nothing;
        }
        Concern::Charge(core.principal(&key), cost)
    }
}

impl Admission {
    #[inline]
    fn passed(taken: Few<Taken>) -> Self {
        Self {
            taken,
            refusal: None,
        }
    }

    fn refused(refusal: Refusal) -> Self {
        Self {
            taken: Few::default(),
            refusal: Some(refusal),
        }
    }
}

fn fill(taken: &mut Few<Taken>, places: &[usize], told: &[Decision]) {
    for (n, taken) in taken.iter_mut().enumerate() {
        if let Some(place) = places.iter().position(|place| *place == n) {
            taken.decision = told[place];
        }
    }
}
