//! A request for which the store has no fresh answer, from joining a flight to storing what came.
//!
//! ```text
//!  run ─► join ─┬─ lead ──► look again ─► call ─┬─ stored (copied on its way) ─► answer
//!               │                               ├─ not storable ──────────────► answer
//!               │                               └─ failed ──► stale, if allowed, else as it is
//!               ├─ follow ─► wait ─┬─ published, and mine to have ─► answer
//!               │                  ├─ unstorable ─► call, alone
//!               │                  └─ failed ─► join once more
//!               └─ full, circle, or no collapsing here ─► call, alone
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::{header, request, response, Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use super::answer;
use super::body::ResponseBody;
use super::collapse::{Join, Leader, Outcome};
use super::future::carry_out;
use super::invalidate::CachedMethod;
use super::keyed;
use super::lookup::{look_up, Lookup, Missing};
use super::publish::{is_lasting, Filing, Publication};
use super::service::{fresh, Core};
use super::signals::{CacheFor, NoStore, Tags};
use super::stats::Counted;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::{Decision, Forward, Reason};
use crate::policy::request::{is_safe, RequestFacts};
use crate::policy::reuse::{reuse, usable_on_error, Reuse};
use crate::policy::stored::{Head, StoredResponse};
use crate::policy::storing;
use crate::policy::tag::{self, TagHash};
use crate::store::invalidation::Validity;

/// What is known of a request that was looked up.
pub(crate) struct Plan {
    pub(crate) key: Arc<[u8]>,
    pub(crate) place: u64,
    pub(crate) facts: RequestFacts,
    pub(crate) directives: Option<CacheControl>,
    pub(crate) now: Timestamp,
}

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

type Answer<R, E> = Result<Response<ResponseBody<R>>, E>;

impl<S, B, R> Exchange<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body + Send + 'static,
    R::Error: Send,
{
    pub(crate) fn new(
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
            let left = give_up.since(shared.clock.now());
            match follower.wait(&shared.clock, left).await {
                Some(Outcome::Published(stored)) if self.accepts(&stored) => {
                    return Ok(self.collapsed(&stored, None));
                }
                Some(Outcome::Published(_)) => {}
                Some(Outcome::Failed) => {
                    if let Some(stored) = self.stale_on_error() {
                        return Ok(self.collapsed(&stored, Some(Reason::StaleIfError)));
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
        let shares = self.parts.method != Method::HEAD
            && self.missing.why != Forward::Request
            && !plan.facts.precondition
            && !plan.directives.as_ref().is_some_and(|said| said.no_store)
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
        for field in crate::policy::stored::selecting_fields(&names, &self.parts.headers) {
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
        let shared = &self.core.shared;
        let now = shared.clock.now();
        let found = look_up(
            shared,
            *place,
            key,
            &self.parts.headers,
            directives.as_ref(),
            now,
        );
        let answer = fresh(&self.core, &found, &self.parts.method, now)?;
        match found {
            Lookup::Fresh { stored, .. } => Some((stored, self.marked(answer))),
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
        stored: &StoredResponse,
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
        self.marked(answer::from_store(
            &self.core, stored, &decision, false, now,
        ))
    }

    fn marked(&self, response: Response<ResponseBody<R>>) -> Response<ResponseBody<R>> {
        mark_cached_method(&self.parts.method, response)
    }

    /// The client wants a stored response or none (RFC 9111 §5.2.1.7).
    fn gateway_timeout(&self) -> Response<ResponseBody<R>> {
        let mut response = Response::new(ResponseBody::stored(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        let decision = Decision::because(Forward::Request, Reason::OnlyIfCached);
        answer::settle(&self.core, response.headers_mut(), &decision);
        response
    }

    /// Calls the inner service, and stores its answer if it may be.
    async fn call(self, leader: Option<Leader>, detail: Option<Reason>) -> Answer<R, S::Error> {
        let Self {
            core,
            mut inner,
            mut parts,
            body,
            plan,
            missing,
            in_background,
        } = self;
        let (mut filing, tags_complete) = file(&core, &plan, &parts);
        let request_time = core.shared.clock.now();
        let method = parts.method.clone();
        if core.route.narrow {
            keyed::narrow(&core.route, &mut parts);
        }
        let call = inner.call(Request::from_parts(parts, body));
        let answered = match &leader {
            Some(leader) => leader.scope(call).await,
            None => call.await,
        };
        let answered = answered.map(|response| {
            let (mut parts, body) = response.into_parts();
            let address = None; // a method that its route caches spoils nothing
            carry_out(&core, address, &mut parts);
            (parts, body)
        });
        let status = answered.as_ref().ok().map(|(parts, _)| parts.status);
        if let Some(response) = instead_of_error(&core, &missing, &method, status) {
            return Ok(mark_cached_method(&method, response));
        }
        let (mut parts, body) = answered?;
        answer::tell_vary(&core, &mut parts.headers);

        let signals = Signals::take(&core, &mut parts, tags_complete);
        let exchange = storing::Exchange {
            head_request: method == Method::HEAD,
            request_no_store: plan.directives.as_ref().is_some_and(|said| said.no_store),
            status: parts.status,
            headers: &parts.headers,
            handler_ttl: signals.ttl,
            handler_no_store: signals.no_store,
            request_time,
            response_time: core.shared.clock.now(),
        };
        let terms = storing::storing(&core.route.rules, &exchange);
        // What is not stored here is not to be guessed about downstream either; streams stay as they
        // are, and so do answers to unsafe methods.
        let guessable = is_safe(&method) && terms != Err(Reason::EventStream);
        if guessable || terms.is_ok() || core.route.user.is_some() {
            answer::tell_downstream(&core, &mut parts.headers);
        }
        let prepared = terms.and_then(|terms| prepare(&mut filing, &parts, &body, &signals, terms));
        let (body, stored, refusal) = match prepared {
            Ok((head, declared)) => {
                let publication = Publication::new(filing, head, declared, leader);
                copy(body, publication, declared).await
            }
            Err(reason) => {
                refuse(&filing, leader, reason, parts.status);
                (ResponseBody::passed(body), false, Some(reason))
            }
        };
        if !in_background {
            let decision = Decision::Forward {
                why: missing.why,
                status: None,
                stored,
                collapsed: false,
                detail: refusal.or(detail),
            };
            answer::settle(&core, &mut parts.headers, &decision);
        }
        Ok(mark_cached_method(
            &method,
            Response::from_parts(parts, body),
        ))
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
    /// Turns a request that was answered already into the refresh of what answered it, unless one
    /// is under way or its answer could not be stored.
    pub(crate) fn refresh(mut self) {
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

/// Takes everything that a response is stored with and that must be known before the call. The
/// fence comes last: whatever is invalidated from then on reaches this response. The second value
/// is false when a tag of the route could not be made.
fn file(core: &Arc<Core>, plan: &Plan, parts: &request::Parts) -> (Filing, bool) {
    let mut tags = tag::implicit(&plan.key);
    let implicit = tags.len();
    let path = keyed::original_uri(parts).path();
    let pattern = keyed::matched_pattern(parts);
    let mut complete = true;
    for template in &core.route.tags {
        let filled = template.fill(pattern, path);
        complete &= filled.is_some();
        tags.extend(filled);
    }
    for tags_by in &core.route.tags_by {
        for tag in tags_by(parts) {
            complete &= !tag.is_empty() && tag.len() <= core.shared.limits.tag_length;
            tags.push(TagHash::named(&tag));
        }
    }
    let invalidation = &core.shared.invalidation;
    tags.iter()
        .take(1)
        .for_each(|path| invalidation.begin(*path));
    let filing = Filing {
        core: Arc::clone(core),
        key: Arc::clone(&plan.key),
        place: plan.place,
        tags,
        implicit,
        request: parts.headers.clone(),
        fence: invalidation.fence(),
    };
    (filing, complete)
}

/// The stale response that answers in place of an error (RFC 5861 §4), if one may. There is no
/// `status` where the service failed altogether.
fn instead_of_error<R: Body>(
    core: &Core,
    missing: &Missing,
    method: &Method,
    status: Option<StatusCode>,
) -> Option<Response<ResponseBody<R>>> {
    if status.is_some_and(|status| !matches!(status.as_u16(), 500 | 502 | 503 | 504)) {
        return None;
    }
    let stored = stale_on_error(core, missing)?;
    let decision = Decision::Forward {
        why: missing.why,
        status,
        stored: false,
        collapsed: false,
        detail: Some(Reason::StaleIfError),
    };
    let now = core.shared.clock.now();
    let head_request = *method == Method::HEAD;
    Some(answer::from_store(
        core,
        &stored,
        &decision,
        head_request,
        now,
    ))
}

fn stale_on_error(core: &Core, missing: &Missing) -> Option<Arc<StoredResponse>> {
    let sample = missing
        .sample
        .as_ref()
        .filter(|_| missing.usable_on_error)?;
    let usable = usable_on_error(sample.times(), core.shared.clock.now())
        && core.shared.validity(sample) != Validity::Hard;
    usable.then(|| Arc::clone(sample))
}

/// What the handler and the route's functions say of this response.
struct Signals {
    tags: Vec<String>,
    ttl: Option<Duration>,
    no_store: bool,
    tags_complete: bool,
}

impl Signals {
    fn take(core: &Core, parts: &mut response::Parts, tags_complete: bool) -> Self {
        let route = &core.route;
        let mut tags = parts.extensions.remove::<Tags>().unwrap_or_default().0;
        tags.extend(route.tags_of.iter().flat_map(|tags_of| tags_of(parts)));
        let said = parts
            .extensions
            .remove::<CacheFor>()
            .map(|CacheFor(ttl)| ttl);
        Self {
            tags,
            ttl: said.or_else(|| route.ttl_by.as_ref().and_then(|ttl_by| ttl_by(parts))),
            no_store: parts.extensions.remove::<NoStore>().is_some()
                || !route.store_if.iter().all(|store_if| store_if(parts)),
            tags_complete,
        }
    }
}

/// The head to store and the declared length of the body, or why there is nothing to store.
fn prepare<B: Body>(
    filing: &mut Filing,
    parts: &response::Parts,
    body: &B,
    signals: &Signals,
    terms: storing::Terms,
) -> Result<(Head, Option<u64>), Reason> {
    if !signals.tags_complete {
        return Err(Reason::Tags);
    }
    let field = parts.headers.get(header::CONTENT_LENGTH);
    let said = match field.map(|value| value.to_str().ok().and_then(|text| text.parse().ok())) {
        Some(None) => return Err(Reason::ContentLength),
        Some(said) => said,
        None => None,
    };
    let exact = body.size_hint().exact();
    if said.is_some() && exact.is_some() && said != exact {
        return Err(Reason::ContentLength);
    }
    let declared = said.or(exact);
    if body.size_hint().lower().max(declared.unwrap_or(0)) > filing.core.route.body_limit {
        return Err(Reason::BodyTooLarge);
    }
    let head = filing.head(parts, &signals.tags, terms)?;
    if !filing
        .core
        .shared
        .responses
        .has_room(filing.place, &filing.key, &head.vary)
    {
        return Err(Reason::TooManyVariants);
    }
    Ok((head, declared))
}

/// Starts copying a body. Whether it is stored is known when it has ended already; before that, a
/// declared length is taken as a promise.
async fn copy<B>(
    body: B,
    publication: Publication,
    declared: Option<u64>,
) -> (ResponseBody<B>, bool, Option<Reason>)
where
    B: Body + Send + 'static,
    B::Error: Send,
{
    let mut parts = Some((body, publication));
    let (body, published) = std::future::poll_fn(|cx| {
        let (body, publication) = parts.take().expect("this future is ready at once");
        std::task::Poll::Ready(ResponseBody::copied(body, publication, cx))
    })
    .await;
    match published {
        None => (body, declared.is_some(), None),
        Some(Ok(())) => (body, true, None),
        Some(Err(reason)) => (body, false, reason),
    }
}

/// Ends the flight of a response that is not stored.
fn refuse(filing: &Filing, leader: Option<Leader>, reason: Reason, status: StatusCode) {
    if !is_lasting(reason, status) {
        return; // the leader's drop says that it failed
    }
    let shared = &filing.core.shared;
    shared
        .uncacheable
        .remember(filing.place, shared.clock.now());
    if let Some(leader) = leader {
        leader.finish(Outcome::Unstorable);
    }
}

/// Tells layers further out that an unsafe method was cached on purpose.
pub(crate) fn mark_cached_method<R>(method: &Method, mut response: Response<R>) -> Response<R> {
    if !is_safe(method) {
        response.extensions_mut().insert(CachedMethod);
    }
    response
}
