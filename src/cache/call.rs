//! Calling the inner service, and what is done with its answer.
//!
//! ```text
//!  file (tags, then the fence) ─► call ─┬─ failed, and a stale response may stand in ─► that one
//!                                       ├─ not to be stored ─► as it came, with the reason
//!                                       └─ to be stored ─► copied on its way to the client
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::{header, request, response, HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use super::answer::{self, Hit};
use super::body::{Answer, ResponseBody};
use super::coded::{self, Coding};
use super::collapse::{Leader, Outcome};
use super::core::Core;
use super::future::{carry_out, EnclosedBy};
use super::keyed;
use super::lookup::Missing;
use super::lookup::Plan;
use super::publish::{is_lasting, worth, Filing, Publication, Published};
use super::selected::Conditions;
use super::signals::{CacheFor, NoStore, Tags};
use crate::clock::Timestamp;
use crate::policy::decision::{Decision, Reason};
use crate::policy::request::{is_safe, Fact, RequestFields};
use crate::policy::reuse::usable_on_error;
use crate::policy::stored::{Head, StoredResponse};
use crate::policy::storing;
use crate::policy::tag::{self, TagHash};
use crate::store::invalidation::Validity;

/// One call of the inner service, for the request itself or for all who follow its leader.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) plan: Plan,
    pub(crate) missing: Missing,
    pub(crate) leader: Option<Leader>,
    /// Why the request did not share another one's call, if so.
    pub(crate) detail: Option<Reason>,
    /// A refresh: nobody waits for its answer.
    pub(crate) in_background: bool,
}

impl Call {
    /// Calls, and stores the answer if it may be.
    pub(crate) async fn answer<S, B, R>(
        self,
        mut inner: S,
        mut parts: request::Parts,
        body: B,
    ) -> Answer<R, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: Body + Send + 'static,
        R::Error: Send,
    {
        let core = Arc::clone(&self.core);
        let (filing, tags_complete) = file(&core, &self.plan, &parts);
        let request_time = core.shared.clock.now();
        let method = parts.method.clone();
        let validated = self.validated(&parts).await;
        if core.route.narrow {
            keyed::narrow(&core.route, &mut parts);
        }
        let profile = core.route.rules.profile;
        if let Some(validated) = &validated {
            validated.put_to(profile, &mut parts.headers);
        }
        core.codings.ask_for_identity(&mut parts.headers);
        parts.extensions.insert(EnclosedBy::new(&core.shared));
        let call = inner.call(Request::from_parts(parts, body));
        let answered = match &self.leader {
            Some(leader) => leader.scope(call).await,
            None => call.await,
        };
        let mut answered = answered.map(Response::into_parts);
        if let Ok((parts, _)) = &mut answered {
            // A method that its route caches spoils nothing.
            if let Some(heard) = carry_out(&core, None, parts) {
                heard.await;
            }
        }
        let status = answered.as_ref().ok().map(|(parts, _)| parts.status);
        let conditions = Conditions {
            method: &method,
            fields: RequestFields::read(&filing.request),
            facts: self.plan.facts,
        };
        let stale = instead_of_error(&core, &self.missing, conditions, status);
        if let Some(response) = stale.await {
            return Ok(response);
        }
        let (mut parts, body) = answered?;
        let is_304 = parts.status == StatusCode::NOT_MODIFIED;
        let answered = validated.filter(|asked| {
            is_304 && asked.is_answered_by(profile, &parts.headers, &filing.request)
        });
        if let Some(validated) = answered {
            return Ok(self.confirmed(validated, parts, filing, tags_complete, request_time));
        }
        if method == Method::HEAD && core.route.is_rfc9111() {
            let filing = filing.clone();
            self.hear_of_content(&parts, filing, tags_complete, request_time)
                .await;
        }
        let signals = Signals::take(&core, &mut parts, tags_complete);
        let mut terms = self.terms(&method, &mut parts, &signals, request_time);
        let size = size_of_content(&method, &parts, &body);
        let wanted = core.codings.wanted(&RequestFields::read(&filing.request));
        core.codings.settle(&mut parts, size, wanted, &mut terms);
        let body = self
            .store_or_pass(&mut parts, body, filing, &signals, terms)
            .await;
        Ok(Response::from_parts(parts, body))
    }

    /// Whether the answer may be stored, and what downstream is told of it in either case.
    pub(super) fn terms(
        &self,
        method: &Method,
        parts: &mut response::Parts,
        signals: &Signals,
        request_time: Timestamp,
    ) -> Result<storing::Terms, Reason> {
        let core = &self.core;
        answer::tell_vary(core, &mut parts.headers);
        if core.route.is_rfc9111() {
            answer::tell_date(core, &mut parts.headers);
        }
        let said = self.plan.directives.as_ref();
        let exchange = storing::Exchange {
            head_request: *method == Method::HEAD,
            request_no_store: said.is_some_and(|said| said.no_store),
            authorized: self.plan.facts.has(Fact::Authorization) && core.route.knows_no_users(),
            status: parts.status,
            headers: &parts.headers,
            handler_ttl: signals.ttl,
            handler_no_store: signals.no_store,
            request_time,
            response_time: core.shared.clock.now(),
        };
        let mut terms = storing::storing(&core.route.rules, &exchange);
        // What says no to one client's condition or range is nobody else's answer, whatever the route
        // says of that status.
        if self.plan.facts.selects() && refuses_a_part(parts.status) {
            terms = Err(Reason::Status);
        }
        // What is not stored here is not to be guessed about downstream either; streams stay as they
        // are, and so do answers to unsafe methods.
        let guessable = is_safe(method) && terms != Err(Reason::EventStream);
        if guessable || terms.is_ok() || core.route.user.is_some() {
            answer::tell_downstream(core, &mut parts.headers);
        }
        terms
    }

    /// The body on its way to the client, with a copy on its way to the store if there is to be one.
    pub(super) async fn store_or_pass<R>(
        self,
        parts: &mut response::Parts,
        body: R,
        mut filing: Filing,
        signals: &Signals,
        terms: Result<storing::Terms, Reason>,
    ) -> ResponseBody<R>
    where
        R: Body + Send + 'static,
        R::Error: Send,
    {
        let prepared = terms.and_then(|terms| prepare(&mut filing, parts, &body, signals, terms));
        let wanted = self
            .core
            .codings
            .wanted(&RequestFields::read(&filing.request));
        let (body, stored, refusal) = match prepared {
            Ok((head, declared)) => {
                let publication = Publication::new(filing, head, declared, self.leader);
                match copy(body, publication).await {
                    (body, None) => (body, declared.is_some(), None),
                    (body, Some(Err(reason))) => (body, false, reason),
                    (body, Some(Ok(stored))) => {
                        let wanted = wanted.filter(|_| !self.in_background);
                        let coded = in_coding(&self.core, stored, wanted, &mut parts.headers);
                        (coded.unwrap_or(body), true, None)
                    }
                }
            }
            Err(reason) => {
                // What one client gets in place of the whole tells nothing of the whole.
                if !self.plan.facts.selects() {
                    self.forget_older(&filing, reason, parts.status);
                    refuse(&filing, self.leader, reason, parts.status);
                }
                (ResponseBody::passed(body), false, Some(reason))
            }
        };
        if !self.in_background {
            let decision = Decision::Forward {
                why: self.missing.why,
                status: None,
                stored,
                collapsed: false,
                detail: refusal.or(self.detail),
            };
            let key = Some(&*self.plan.key);
            answer::settle(&self.core, &mut parts.headers, &decision, key);
        }
        body
    }

    /// Removes what is stored for the same request, where its origin answers it anew and says that this is not to
    /// be stored: what came before is no better. What it says to credentials is their user's alone.
    fn forget_older(&self, filing: &Filing, reason: Reason, status: StatusCode) {
        let for_one_user =
            self.plan.facts.has(Fact::Authorization) && self.core.route.knows_no_users();
        let is_final = !status.is_server_error() && status != StatusCode::NOT_MODIFIED;
        let refuses = matches!(reason, Reason::NoStore | Reason::Private);
        if !self.core.route.is_rfc9111() || for_one_user || !is_final || !refuses {
            return;
        }
        if let Some(older) = self.stored_for(&filing.request) {
            let is_it = |other: &StoredResponse| other.is_same_as(&older);
            self.core.shared.responses.remove(filing.place, is_it);
        }
    }
}

/// Takes everything that a response is stored with and that must be known before the call. The
/// fence comes last: whatever is invalidated from then on reaches this response. The second value
/// is false when a tag of the route could not be made.
pub(super) fn file(core: &Arc<Core>, plan: &Plan, parts: &request::Parts) -> (Filing, bool) {
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
    let fence = core.shared.fence(tags.first().copied());
    let filing = Filing {
        core: Arc::clone(core),
        key: Arc::clone(&plan.key),
        place: plan.place,
        tags,
        implicit,
        request: parts.headers.clone(),
        fence,
    };
    (filing, complete)
}

/// The stale response that answers in place of an error (RFC 5861 §4), if one may. There is no
/// `status` where the service failed altogether.
async fn instead_of_error<R: Body>(
    core: &Core,
    missing: &Missing,
    conditions: Conditions<'_>,
    status: Option<StatusCode>,
) -> Option<Response<ResponseBody<R>>> {
    if status.is_some_and(|status| !matches!(status.as_u16(), 500 | 502 | 503 | 504)) {
        return None;
    }
    let stored = stale_on_error(core, missing).await?;
    let decision = Decision::Forward {
        why: missing.why,
        status,
        stored: false,
        collapsed: false,
        detail: Some(Reason::StaleIfError),
    };
    let now = core.shared.clock.now();
    Some(Hit::new(core, stored, &decision, conditions, now).into_response())
}

/// The stale response that may answer after a failed call.
pub(crate) async fn stale_on_error(core: &Core, missing: &Missing) -> Option<Arc<StoredResponse>> {
    let sample = missing
        .sample
        .as_ref()
        .filter(|_| missing.usable_on_error)?;
    let usable = usable_on_error(sample.times(), core.shared.clock.now())
        && core.validity(sample).await != Validity::Hard;
    usable.then(|| Arc::clone(sample))
}

/// What the handler and the route's functions say of this response.
pub(super) struct Signals {
    pub(super) tags: Vec<String>,
    pub(super) ttl: Option<Duration>,
    no_store: bool,
    pub(super) tags_complete: bool,
}

impl Signals {
    pub(super) fn take(core: &Core, parts: &mut response::Parts, tags_complete: bool) -> Self {
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
    if parts.status == StatusCode::PARTIAL_CONTENT {
        filing.as_part();
    }
    if body.size_hint().lower().max(declared.unwrap_or(0)) > filing.core.route.body_limit {
        return Err(Reason::BodyTooLarge);
    }
    let head = filing.head(parts, &signals.tags, terms)?;
    let shared = &filing.core.shared;
    let now = shared.clock.now();
    let worth = |other: &StoredResponse| worth(shared, other, now);
    if !shared
        .responses
        .has_room(filing.place, &filing.key, &head.vary, worth)
    {
        return Err(Reason::TooManyVariants);
    }
    Ok((head, declared))
}

/// The length of the content that `GET` has, where it is known. The body of an answer to `HEAD` is
/// empty and says nothing of it.
fn size_of_content<B: Body>(method: &Method, parts: &response::Parts, body: &B) -> Option<u64> {
    let field = parts.headers.get(header::CONTENT_LENGTH);
    let said = field.and_then(|value| value.to_str().ok()?.parse().ok());
    match *method == Method::HEAD {
        true => said,
        false => body.size_hint().exact().or(said),
    }
}

/// Answers with a response that was stored before it was answered, in the coding that its client wants.
fn in_coding<B: Body>(
    core: &Core,
    stored: Arc<StoredResponse>,
    wanted: Option<Coding>,
    headers: &mut HeaderMap,
) -> Option<ResponseBody<B>> {
    let coding = wanted?;
    let (form, making) = coded::form(core, Arc::clone(&stored), wanted, false);
    if Arc::ptr_eq(&form, &stored) {
        return None;
    }
    coded::describe(headers, coding);
    Some(match making {
        Some(making) => ResponseBody::made(making),
        None => ResponseBody::stored(form),
    })
}

const fn refuses_a_part(status: StatusCode) -> bool {
    matches!(status.as_u16(), 412 | 416)
}

/// Starts copying a body. Whether it is stored is known when it has ended already; before that, a
/// declared length is taken as a promise.
async fn copy<B>(body: B, publication: Publication) -> (ResponseBody<B>, Option<Published>)
where
    B: Body + Send + 'static,
    B::Error: Send,
{
    let mut parts = Some((body, publication));
    std::future::poll_fn(|cx| {
        let (body, publication) = parts.take().expect("this future is ready at once");
        std::task::Poll::Ready(ResponseBody::copied(body, publication, cx))
    })
    .await
}

/// Ends the flight of a response that is not stored.
pub(super) fn refuse(filing: &Filing, leader: Option<Leader>, reason: Reason, status: StatusCode) {
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
