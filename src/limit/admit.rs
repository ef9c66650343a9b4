//! From a request to what its limits say of it.
//!
//! ```text
//! skip ─► keys, deny and allow lists, costs ─┬─ all in this process ─► decided, at once
//!                                            └─ a key to ask for, or Redis ─► a future
//! ```

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{request, Response, StatusCode};

use super::answer::Refusal;
use super::core::{Charge, Principal};
use super::key::{peer, Head, Key, NoKey, Part, Whose};
use super::route::{Limited, Route};
use super::rule::{answered, Asking};
use super::stats::Counted;
use super::take;
use super::taken::{Passes, Taken};
use crate::policy::bucket::Decision;

/// What becomes of a request.
pub(super) enum Admission {
    Passes(Passes),
    Refused(Response<Bytes>),
}

pub(super) type Asked = Pin<Box<dyn Future<Output = Admission> + Send>>;

/// Where that is decided.
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
    /// Somebody has to be asked whose bucket it is.
    Ask(Asks),
}

struct Asks {
    parts: Vec<Asking>,
    addresses: Vec<IpAddr>,
    cost: u64,
    /// Whose bucket it is for want of an answer.
    without: Result<Whose<'static>, Option<StatusCode>>,
}

impl Route {
    /// Decides by all of a request's head, where somebody's function is given it.
    pub(super) fn admit_whole(self: &Arc<Self>, parts: &request::Parts) -> Admitting {
        if self.skips(parts) {
            return Admitting::Now(Admission::Passes(Passes::Unseen));
        }
        self.admit(Head::whole(parts))
    }

    /// Whether no limit sees this request.
    fn skips(&self, parts: &request::Parts) -> bool {
        let skips = self.answers.skip.iter().any(|test| test(parts));
        if skips {
            for limit in &self.limits {
                limit.limiter.core.counters.count(Counted::Skipped);
            }
        }
        skips
    }

    #[inline]
    pub(super) fn admit(self: &Arc<Self>, head: Head<'_>) -> Admitting {
        if !self.is_plain {
            return self.admit_fully(head);
        }
        let limit = &self.limits[0];
        if let Some(principal) = limit.by_address(head) {
            return Admitting::Now(self.admit_plainly(principal, limit.rule.cost_of(head)));
        }
        Admitting::Now(match limit.concern(head) {
            Concern::Charge(principal, cost) => self.admit_plainly(principal, cost),
            Concern::Refuse(refusal) => Admission::Refused(self.refuse(refusal, &[])),
            Concern::Nothing | Concern::Ask(_) => Admission::Passes(Passes::Unseen),
        })
    }

    /// Decides by the only limit there is.
    #[inline]
    fn admit_plainly(&self, principal: Principal, cost: u64) -> Admission {
        let core = &self.limits[0].limiter.core;
        let decision = core.take_here(principal, cost);
        core.count(decision);
        let told = self.told_plainly(decision);
        if decision.is_admitted() {
            return Admission::Passes(match told {
                Some(told) => Passes::Told(told),
                None if self.is_silent => Passes::Unseen,
                None => Passes::Plainly(decision),
            });
        }
        match self.refuse_plainly(decision, told) {
            Some(response) => Admission::Refused(response),
            None => self.judged(vec![Taken::of(0, principal, cost, decision)]),
        }
    }

    fn admit_fully(self: &Arc<Self>, head: Head<'_>) -> Admitting {
        let (mut taken, mut asking) = (Vec::new(), Vec::new());
        for (n, limit) in self.limits.iter().enumerate() {
            match limit.concern(head) {
                Concern::Charge(principal, cost) => taken.push(Taken::asked(n, principal, cost)),
                Concern::Nothing => {}
                Concern::Refuse(refusal) => {
                    let refused = Admission::Refused(self.refuse(refusal, &[]));
                    return Admitting::Now(refused);
                }
                Concern::Ask(asks) => asking.push((n, asks)),
            }
        }
        if self.asks {
            return Admitting::Later(Box::pin(Arc::clone(self).ask(taken, asking)));
        }
        let told = take::all_here(&self.charges(&taken));
        fill(&mut taken, &self.limits, told, false);
        self.ask_shadows(&mut taken);
        Admitting::Now(self.judged(taken))
    }

    /// Decides once everybody has been asked.
    async fn ask(self: Arc<Self>, mut taken: Vec<Taken>, asking: Vec<(usize, Asks)>) -> Admission {
        for (n, asks) in asking {
            let limit = &self.limits[n];
            let whose = match answered(asks.parts).await {
                Ok(key) => Ok(Whose {
                    key,
                    addresses: asks.addresses,
                }),
                Err(_) => {
                    limit.limiter.core.counters.count(Counted::Keyless);
                    asks.without
                }
            };
            match limit.concern_of(whose, asks.cost) {
                Concern::Charge(principal, cost) => {
                    taken.push(Taken::asked(n, principal, cost));
                }
                Concern::Refuse(refusal) => return Admission::Refused(self.refuse(refusal, &[])),
                Concern::Nothing | Concern::Ask(_) => {}
            }
        }
        taken.sort_by_key(|t| t.limit);
        let alone = AtomicBool::new(false);
        let charges = self.charges(&taken);
        let charges: Vec<_> = charges.iter().map(|c| c.telling(&alone)).collect();
        let told = take::all(&charges).await;
        fill(&mut taken, &self.limits, told, alone.into_inner());
        self.ask_shadows(&mut taken);
        self.judged(taken)
    }

    /// The charges of limits that are not in shadow.
    fn charges(&self, taken: &[Taken]) -> Vec<Charge<'_>> {
        let charge = |t: &Taken| {
            let limit = &self.limits[t.limit];
            let core = &limit.limiter.core;
            (!limit.rule.shadow).then(|| core.charge(t.principal, t.cost))
        };
        taken.iter().filter_map(charge).collect()
    }

    /// What the decisions come to.
    fn judged(&self, taken: Vec<Taken>) -> Admission {
        let mut violated = Vec::new();
        let mut wait = Duration::ZERO;
        let (mut never, mut unavailable) = (false, false);
        for t in &taken {
            let limit = &self.limits[t.limit];
            if limit.rule.shadow {
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
            return Admission::Passes(Passes::With(taken));
        }
        let refusal = match (never, unavailable) {
            (true, _) => Refusal::TooExpensive { violated },
            (_, true) => Refusal::Unavailable { violated, wait },
            _ => Refusal::QuotaExceeded { violated, wait },
        };
        Admission::Refused(self.refuse(refusal, &taken))
    }
}

impl Limited {
    /// Whose bucket it is where an address says it and no list is asked, as in most limits: so it is hashed where it
    /// was found. A key that is handed around costs as much as the whole look-up.
    #[inline]
    fn by_address(&self, head: Head<'_>) -> Option<Principal> {
        let rule = &self.rule;
        match &rule.parts[..] {
            [Part::Address(address)] if rule.allow.is_none() && rule.deny.is_none() => {
                let found = address.find(peer(head.extensions), head.headers)?;
                Some(self.limiter.core.principal(&Key::Address(found)))
            }
            _ => None,
        }
    }

    #[inline]
    fn concern(&self, head: Head<'_>) -> Concern {
        let rule = &self.rule;
        let (why, parts) = match (rule.key(head), head.parts) {
            (Ok(key), _) => {
                let addresses = rule.addresses(head);
                return self.concern_of(Ok(Whose { key, addresses }), rule.cost_of(head));
            }
            (Err(None), Some(parts)) => (NoKey::NoName, Some(parts)),
            (Err(why), _) => (why.unwrap_or(NoKey::NoName), None),
        };
        let without = rule.without(why, head);
        let cost = rule.cost_of(head);
        if let Some(parts) = parts {
            return Concern::Ask(Asks {
                parts: rule.ask(parts),
                addresses: rule.addresses(head),
                cost,
                without,
            });
        }
        self.limiter.core.counters.count(Counted::Keyless);
        self.concern_of(without, cost)
    }

    #[inline]
    fn concern_of(&self, whose: Result<Whose<'_>, Option<StatusCode>>, cost: u64) -> Concern {
        let rule = &self.rule;
        let core = &self.limiter.core;
        let whose = match whose {
            Ok(whose) => whose,
            Err(None) => return Concern::Nothing,
            // A limit in shadow refuses nobody.
            Err(Some(_)) if rule.shadow => return Concern::Nothing,
            Err(Some(status)) => return Concern::Refuse(Refusal::NoKey { status }),
        };
        if rule.deny.as_ref().is_some_and(|list| list.has(&whose)) && !rule.shadow {
            core.counters.count(Counted::Denied);
            return Concern::Refuse(Refusal::Denied);
        }
        if rule.allow.as_ref().is_some_and(|list| list.has(&whose)) {
            core.counters.count(Counted::Skipped);
            return Concern::Nothing;
        }
        Concern::Charge(core.principal(&whose.key), cost)
    }
}

impl Taken {
    #[inline]
    const fn of(limit: usize, principal: Principal, cost: u64, decision: Decision) -> Self {
        Self {
            limit,
            principal,
            cost,
            decision,
            alone: false,
            later: None,
        }
    }

    const fn asked(limit: usize, principal: Principal, cost: u64) -> Self {
        Self::of(limit, principal, cost, Decision::Unavailable)
    }
}

/// Writes down what limits that are not in shadow have said, and whether without Redis.
fn fill(taken: &mut [Taken], limits: &[Limited], told: Vec<Decision>, alone: bool) {
    let theirs = taken.iter_mut().filter(|t| !limits[t.limit].rule.shadow);
    for (taken, decision) in theirs.zip(told) {
        (taken.decision, taken.alone) = (decision, alone);
    }
}
