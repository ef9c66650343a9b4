//! What a request asks, and whether what others hand it may answer it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{request, Method, Response, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::answer::{self, Hit};
use super::ask::{Wanted, Word};
use super::body::ResponseBody;
use super::call::stale_on_error;
use super::collapse::is_leading;
use super::core::Core;
use super::lookup::{look_up, Lookup, Missing, Plan};
use super::parts;
use super::search;
use super::selected::Conditions;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::request::{Fact, RequestFields};
use crate::policy::reuse::{reuse, Allowance, Reuse};
use crate::policy::stored::{selecting_fields, StoredResponse};
use crate::store::invalidation::Validity;
use crate::store::shared::{Lease, Taken, Tier};

/// What a request asks for: all of it but the service and the body, which need not be `Sync`.
pub(crate) struct Inquiry {
    pub(crate) core: Arc<Core>,
    pub(crate) parts: request::Parts,
    pub(crate) plan: Plan,
    pub(crate) missing: Missing,
    /// When the shared tier was last asked for it.
    pub(crate) looked: Option<Instant>,
}

/// Whose turn it is to call.
pub(crate) enum Turn {
    Mine(Option<Lease>),
    /// Another process calls, and there is no time to wait for it.
    Theirs,
    /// Nobody's: this is the answer.
    Found(Lookup, Option<Reason>),
}

impl Inquiry {
    pub(crate) fn is_strict(&self) -> bool {
        self.core.strict_tier().is_some()
    }

    /// Whether the request asks Redis by itself, rather than the one who leads its flight: where an
    /// answer needs the clock's word, or where nothing near could answer while that one calls.
    pub(crate) fn asks_alone(&self) -> bool {
        self.is_strict() || self.core.shared.responses.is_off()
    }

    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            shared: &self.core.shared,
            place: self.plan.place,
            key: &self.plan.key,
            request: &self.parts.headers,
            directives: self.plan.directives.as_ref(),
            strict: self.is_strict(),
        }
    }

    /// Asks beyond the near tier, unless nothing that is stored anywhere could answer.
    pub(crate) async fn ask(&mut self) -> Word {
        let said = self.plan.directives.as_ref();
        if said.is_some_and(wants_its_own) {
            return Word::Nothing;
        }
        self.look();
        let word = self.wanted().ask(self.missing.sample.as_deref()).await;
        match word {
            Word::Found(Lookup::Missing(missing), _) => {
                if self.missing.sample.is_none() {
                    self.missing = missing;
                }
                Word::Nothing
            }
            word => word,
        }
    }

    fn look(&mut self) {
        if self.core.route.collapse_processes {
            self.looked = Some(Instant::now());
        }
    }

    /// Asks for what other processes have made, whatever is near.
    pub(crate) async fn ask_others(&mut self) -> Word {
        self.look();
        let Some(tier) = self.core.shared.tier() else {
            return Word::Nothing;
        };
        let (sample, budget) = (self.missing.sample.as_deref(), tier.budget());
        self.wanted().ask_tier(tier, sample, &budget).await
    }

    /// Waits until this process is the one to call, where the route wants one call for all of them, or
    /// until another one has stored what this request can use.
    ///
    /// Nobody waits beyond the deadline, nor who is called by somebody that others wait for.
    pub(crate) async fn turn(&mut self, deadline: Duration) -> Turn {
        let core = Arc::clone(&self.core);
        let (shared, wants) = (&core.shared, core.route.collapse_processes && !is_leading());
        let Some(tier) = shared.tier().filter(|_| wants) else {
            return Turn::Mine(None);
        };
        let give_up = shared.clock.now().plus(deadline);
        let mut taken = self.lease(tier).await;
        loop {
            taken = match taken {
                Taken::Mine(lease) => return Turn::Mine(Some(lease)),
                Taken::Unknown => return Turn::Mine(None),
                Taken::Theirs(_) if deadline.is_zero() => return Turn::Theirs,
                Taken::Theirs(waiting) => {
                    let left = give_up.since(shared.clock.now()).min(deadline);
                    match shared.clock.within(left, waiting.next()).await {
                        Some(taken) => taken,
                        None => return Turn::Mine(None),
                    }
                }
                Taken::Stored => {
                    if let Some((found, origin)) = self.ask().await.usable() {
                        return Turn::Found(found, origin);
                    }
                    self.lease(tier).await
                }
            };
            if shared.clock.now() >= give_up && !deadline.is_zero() {
                return Turn::Mine(None);
            }
        }
    }

    async fn lease(&self, tier: &Tier) -> Taken {
        let looked = self.looked.unwrap_or_else(Instant::now);
        let names = self.varying();
        let vary = selecting_fields(&names, &self.parts.headers);
        tier.lease(&self.plan.key, &vary, looked).await
    }

    /// What the client holds, and which part it wants, is its own affair: the store needs a whole response.
    pub(crate) fn ask_for_the_whole(&mut self) {
        let partial = [
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_RANGE,
            header::RANGE,
        ];
        for name in partial {
            self.parts.headers.remove(name);
        }
        self.plan.facts = self.plan.facts.for_the_whole();
    }

    /// How long to wait for another request's call, where this one may share it at all.
    pub(crate) fn collapses(&self) -> Option<Duration> {
        let (plan, shared) = (&self.plan, &self.core.shared);
        // What is answered to credentials is likely their user's own.
        let is_for_one_user =
            plan.facts.has(Fact::Authorization) && self.core.route.knows_no_users();
        let shares = self.parts.method != Method::HEAD
            && self.missing.why != Forward::Request
            && !plan.facts.selects()
            && !is_for_one_user
            && !plan
                .directives
                .as_ref()
                .is_some_and(|said| said.no_store || wants_its_own(said))
            && !shared.uncacheable.is_remembered(plan.place, plan.now)
            && Handle::try_current().is_ok();
        self.core.route.collapse.filter(|_| shares)
    }

    /// The fields that the responses of this key are known to vary on.
    fn varying(&self) -> Vec<HeaderName> {
        match (&self.missing.sample, self.core.shared.tier()) {
            (Some(sample), _) => sample.vary().iter().map(|f| f.name.clone()).collect(),
            (None, Some(tier)) => tier.varying(self.plan.place).to_vec(),
            (None, None) => Vec::new(),
        }
    }

    /// The key, and the values of the fields that its responses are known to vary on.
    pub(crate) fn flight_key(&self) -> Arc<[u8]> {
        let names = self.varying();
        if names.is_empty() {
            return Arc::clone(&self.plan.key);
        }
        let mut key = self.plan.key.to_vec();
        for field in selecting_fields(&names, &self.parts.headers) {
            key.push(u8::from(field.value.is_some()));
            let value = field.value.unwrap_or_default();
            key.extend_from_slice(&(value.len() as u64).to_be_bytes());
            key.extend_from_slice(&value);
        }
        key.into()
    }

    /// What another request has stored near between this one's look-up and its lead.
    pub(crate) async fn found_meanwhile(&self) -> Option<Lookup> {
        let found = match self.core.strict_tier() {
            Some(tier) => {
                let near = self.wanted().confirm_near(tier, &tier.budget()).await;
                near.usable()?.0
            }
            None => {
                let (shared, plan) = (&self.core.shared, &self.plan);
                let (directives, now) = (plan.directives.as_ref(), shared.clock.now());
                let request = RequestFields::read(&self.parts.headers);
                look_up(shared, plan.place, &plan.key, &request, directives, now)
            }
        };
        matches!(found, Lookup::Fresh { .. }).then_some(found)
    }

    /// Whether another request's response may answer this one: it is the right variant, fresh, and
    /// no invalidation has overtaken the call it came from.
    pub(crate) async fn accepts(&self, stored: &Arc<StoredResponse>) -> bool {
        let now = self.core.shared.clock.now();
        let reuse = reuse(stored.times(), self.plan.directives.as_ref(), false, now);
        let fits = stored.key() == &*self.plan.key
            && stored.is_selected_by(&RequestFields::read(&self.parts.headers))
            && matches!(
                reuse,
                Reuse::Fresh { .. }
                    | Reuse::Stale {
                        allowance: Some(_),
                        ..
                    }
            );
        fits && self.core.validity(stored).await == Validity::Valid
    }

    /// The stale response that may stand in for a failed call.
    pub(crate) async fn stale_on_error(&self) -> Option<Arc<StoredResponse>> {
        stale_on_error(&self.core, &self.missing).await
    }

    /// An answer from store, and whether the request goes on as its refresh.
    pub(crate) fn hit(
        &self,
        found: Lookup,
        origin: Option<Reason>,
    ) -> (Hit, Arc<StoredResponse>, bool) {
        let (stored, remaining, detail, refreshes) = match found {
            Lookup::Fresh { stored, left } => {
                let early = origin == Some(Reason::EarlyRefresh);
                (stored, Ok(left), origin, early)
            }
            Lookup::Stale {
                stored,
                overdue,
                allowance: Allowance::MaxStale,
            } => (stored, Err(overdue), Some(Reason::MaxStale), false),
            Lookup::Stale {
                stored, overdue, ..
            } => {
                let why = Reason::StaleWhileRevalidate;
                (stored, Err(overdue), Some(why), true)
            }
            Lookup::Missing(_) => unreachable!("a missing response is not an answer"),
        };
        let decision = Decision::Hit {
            ttl: ttl_parameter(remaining),
            detail,
        };
        let now = self.core.shared.clock.now();
        let conditions = self.conditions();
        let hit = Hit::new(&self.core, Arc::clone(&stored), &decision, conditions, now);
        (hit, stored, refreshes)
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions {
            method: &self.parts.method,
            fields: RequestFields::read(&self.parts.headers),
            facts: self.plan.facts,
        }
    }

    /// An answer from what is stored beside the key: for a query that means the same, or as a part.
    pub(crate) fn beside(&self) -> Option<Hit> {
        let (core, parts, plan, missing) = (&self.core, &self.parts, &self.plan, &self.missing);
        let equivalent = search::find(core, parts, plan, missing);
        equivalent.or_else(|| parts::find(core, parts, plan, missing))
    }

    /// An answer that another request's call has made.
    pub(crate) fn collapsed(&self, stored: Arc<StoredResponse>, detail: Option<Reason>) -> Hit {
        let decision = Decision::Forward {
            why: self.missing.why,
            status: None,
            stored: false,
            collapsed: true,
            detail,
        };
        let now = self.core.shared.clock.now();
        Hit::new(&self.core, stored, &decision, self.conditions(), now)
    }

    /// The client wants a stored response or none (RFC 9111 §5.2.1.7).
    pub(crate) fn gateway_timeout<R: Body>(&self) -> Response<ResponseBody<R>> {
        let mut response = Response::new(ResponseBody::whole(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        let decision = Decision::Refused {
            detail: Reason::OnlyIfCached,
        };
        let key = Some(&*self.plan.key);
        answer::settle(&self.core, response.headers_mut(), &decision, key);
        response
    }
}

/// Whether a request wants an answer made for it alone: stored ones are none, and who waited for
/// another one's would wait for what it cannot take.
fn wants_its_own(said: &CacheControl) -> bool {
    said.no_cache.is_some() || said.max_age == Some(0)
}
