//! A request for which the near tier has no fresh answer: who asks, who calls, and who waits.
//!
//! ```text
//!  begin ─┬─ stale, but usable ─► answer, and refresh
//!         └─ run
//!  run ─► join ─┬─ lead ──► look again ─► ask the shared tier ─► call
//!               ├─ follow ─► wait ─┬─ published, and mine to have ─► answer
//!               │                  ├─ unstorable ─► call, alone
//!               │                  └─ failed ─► join once more
//!               └─ full, circle, or no collapsing here ─► call, alone
//! ```
//!
//! A strict request asks the shared tier by itself before it joins, and again about whatever another
//! request hands it. So does, before it joins, one of a cache that keeps nothing near.

use std::sync::Arc;
use std::time::Duration;

use http::{request, Method, Request, Response};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use super::answer::Hit;
use super::ask::Word;
use super::body::Answer;
use super::call::Call;
use super::collapse::{Join, Leader, Outcome};
use super::core::Core;
use super::inquiry::{Inquiry, Turn};
use super::lookup::{Lookup, Missing, Plan};
use super::stats::Counted;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::Reason;
use crate::policy::stored::StoredResponse;

/// A request on its way to the inner service.
pub(crate) struct Exchange<S, B> {
    inquiry: Inquiry,
    inner: S,
    body: B,
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
    /// Calls the inner service for this request alone, or for those who follow `leader`.
    ///
    /// Boxed apart: what only asks and answers from store does not carry the call along.
    async fn call(
        self: Box<Self>,
        leader: Option<Leader>,
        detail: Option<Reason>,
    ) -> Answer<R, S::Error> {
        let Inquiry {
            core,
            parts,
            plan,
            missing,
            looked: _,
        } = self.inquiry;
        let call = Call {
            core,
            plan,
            missing,
            leader,
            detail,
            in_background: self.in_background,
        };
        Box::pin(call.answer(self.inner, parts, self.body)).await
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
        let is_strict = core.strict_tier().is_some();
        let (missing, found) = match found {
            Lookup::Missing(missing) => (missing, None),
            // Near alone is not enough.
            Lookup::Fresh { stored, .. } | Lookup::Stale { stored, .. } if is_strict => {
                (Missing::stale(stored), None)
            }
            Lookup::Fresh { ref stored, .. } | Lookup::Stale { ref stored, .. } => {
                (Missing::stale(Arc::clone(stored)), Some(found))
            }
        };
        let exchange = Box::new(Self {
            inquiry: Inquiry {
                core,
                parts,
                plan,
                missing,
                looked: None,
            },
            inner,
            body,
            in_background: false,
        });
        if let Some(found) = found {
            return Begun::Answered(exchange.answer(found, Some(Reason::EarlyRefresh), None));
        }
        match exchange.inquiry.beside() {
            Some(hit) => Begun::Answered(hit),
            None => Begun::Asking(exchange),
        }
    }

    /// Answers the request.
    pub(crate) async fn run(mut self: Box<Self>) -> Answer<R, S::Error> {
        let only_if_cached = |said: &CacheControl| said.only_if_cached;
        let only_if_cached = self
            .inquiry
            .plan
            .directives
            .as_ref()
            .is_some_and(only_if_cached);
        let deadline = self.inquiry.collapses().filter(|_| !only_if_cached);
        if self.inquiry.asks_alone() || deadline.is_none() {
            match self.inquiry.ask().await {
                Word::Found(found, origin) => {
                    return Ok(self.answer(found, origin, None).into_response());
                }
                Word::Silence if self.inquiry.is_strict() && !only_if_cached => {
                    return self.call(None, Some(Reason::Unconfirmed)).await;
                }
                Word::Nothing | Word::Silence => {}
            }
        }
        if only_if_cached {
            return Ok(self.inquiry.gateway_timeout());
        }
        // What was learnt while asking counts: that nobody should wait for this key, for one.
        match deadline.and_then(|_| self.inquiry.collapses()) {
            Some(deadline) => self.share(deadline).await,
            None => self.call(None, None).await,
        }
    }

    /// Answers for all who ask the same, or waits for the one who does.
    async fn share(self: Box<Self>, deadline: Duration) -> Answer<R, S::Error> {
        let shared = Arc::clone(&self.inquiry.core.shared);
        let give_up = self.inquiry.plan.now.plus(deadline);
        let mut detail = Reason::CollapseFailed;
        for _ in 0..2 {
            let limit = shared.limits.waiters;
            let joined =
                shared
                    .flights
                    .join(&self.inquiry.flight_key(), self.inquiry.plan.place, limit);
            let follower = match joined {
                Join::Leader(leader) => return self.lead(leader, deadline).await,
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
                Some(Outcome::Published(stored)) => {
                    if self.inquiry.accepts(&stored).await {
                        return Ok(self.inquiry.collapsed(stored, None).into_response());
                    }
                }
                Some(Outcome::Failed) => {
                    if let Some(stored) = self.inquiry.stale_on_error().await {
                        let why = Some(Reason::StaleIfError);
                        return Ok(self.inquiry.collapsed(stored, why).into_response());
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

    /// Asks, and calls, for all who follow.
    async fn lead(
        mut self: Box<Self>,
        mut leader: Leader,
        deadline: Duration,
    ) -> Answer<R, S::Error> {
        if let Some(found) = self.inquiry.found_meanwhile().await {
            return Ok(self.answer(found, None, Some(leader)).into_response());
        }
        if !self.inquiry.asks_alone() {
            if let Some((found, origin)) = self.inquiry.ask().await.usable() {
                return Ok(self.answer(found, origin, Some(leader)).into_response());
            }
        }
        match self.inquiry.turn(deadline).await {
            Turn::Mine(Some(lease)) => leader.keep(lease),
            Turn::Mine(None) | Turn::Theirs => {}
            Turn::Found(found, origin) => {
                return Ok(self.answer(found, origin, Some(leader)).into_response());
            }
        }
        self.call(Some(leader), None).await
    }

    /// Answers with what was found; a stale response is refreshed, by the flight if there is one.
    fn answer(
        self: Box<Self>,
        found: Lookup,
        origin: Option<Reason>,
        leader: Option<Leader>,
    ) -> Hit {
        let (hit, stored, refreshes) = self.inquiry.hit(found, origin);
        if refreshes {
            self.refresh(stored, leader);
        } else if let Some(leader) = leader {
            leader.finish(Outcome::Published(stored));
        }
        hit
    }

    /// Turns a request that was answered already into the refresh of what answered it, unless one
    /// is under way or its answer could not be stored.
    fn refresh(mut self: Box<Self>, answered: Arc<StoredResponse>, leader: Option<Leader>) {
        let said = self.inquiry.plan.directives.as_ref();
        if self.inquiry.parts.method == Method::HEAD || said.is_some_and(|said| said.no_store) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        self.inquiry.ask_for_the_whole();
        self.inquiry.missing = Missing::stale(answered);
        let shared = Arc::clone(&self.inquiry.core.shared);
        let limit = shared.limits.waiters;
        let leader = match leader {
            Some(leader) => leader,
            None => match shared.flights.join(
                &self.inquiry.flight_key(),
                self.inquiry.plan.place,
                limit,
            ) {
                Join::Leader(leader) => leader,
                _ => return,
            },
        };
        self.in_background = true;
        runtime.spawn(self.renew(leader));
    }

    /// The refresh: what another process made meanwhile, or a call.
    async fn renew(mut self: Box<Self>, mut leader: Leader) {
        if let Word::Found(Lookup::Fresh { stored, .. }, _) = self.inquiry.ask_others().await {
            let known = self.inquiry.missing.sample.as_ref();
            let made = stored.times().response_time;
            if known.is_none_or(|known| made > known.times().response_time) {
                return leader.finish(Outcome::Published(stored));
            }
        }
        match self.inquiry.turn(Duration::ZERO).await {
            Turn::Mine(Some(lease)) => leader.keep(lease),
            Turn::Mine(None) => {}
            Turn::Found(Lookup::Fresh { stored, .. }, _) => {
                return leader.finish(Outcome::Published(stored));
            }
            Turn::Theirs | Turn::Found(..) => return,
        }
        self.inquiry.core.shared.counters.count(Counted::Refresh);
        if let Ok(response) = self.call(Some(leader), None).await {
            response.into_body().complete_copy().await;
        }
    }
}
