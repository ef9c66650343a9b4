//! Asking the inner service whether a stale response still holds, and making it fresh again by its
//! 304 (RFC 9111 §4.3).
//!
//! ```text
//!  stale, with a validator ─► If-None-Match, If-Modified-Since ─► call ─┬─ 304 ─► fresh again, and answers
//!                                                                       └─ else ─► as after any call
//! ```
//!
//! What was invalidated is never asked about: somebody said that it does not hold. What is freshened has
//! the tags it was stored with beside those of the 304, and the fence of this call, so an
//! invalidation reaches it as it would a new response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{request, response, Method, Response, StatusCode};
use http_body::Body;

use super::answer::{self, Hit};
use super::body::ResponseBody;
use super::call::{refuse, Call, Signals};
use super::core::Core;
use super::publish::{stored_lines, Filing, Publication};
use super::selected::Conditions;
use crate::clock::Timestamp;
use crate::header::date;
use crate::policy::decision::{Decision, Reason};
use crate::policy::freshness::initial_age;
use crate::policy::key::Class;
use crate::policy::profile::Profile;
use crate::policy::request::RequestFields;
use crate::policy::stored::{StoredResponse, Times};
use crate::policy::storing::Terms;
use crate::policy::validation::{
    freshened, is_strong, is_the_clients, names_a_lifetime, Asked, Confirms,
};
use crate::store::interned;
use crate::store::invalidation::Validity;

/// A stored response that the inner service was asked about.
pub(super) struct Validated(Arc<StoredResponse>);

impl Call {
    /// The stored response that this request is better served by asking about than by asking for a new
    /// one, if there is one.
    pub(super) async fn validated(&self, request: &request::Parts) -> Option<Validated> {
        if request.method != Method::GET {
            return None;
        }
        let stored = self.stored_for(&request.headers)?;
        // A 304 says that there would be a 2xx (RFC 9110 §13.2.1): it confirms nothing else.
        asked(self.core.route.rules.profile, &stored).filter(|_| stored.status().is_success())?;
        let holds = self.core.validity(&stored).await != Validity::Hard;
        holds.then(|| Validated(stored))
    }

    /// The response that is stored for such a `GET`, whatever it is good for.
    pub(super) fn stored_for(&self, request: &HeaderMap) -> Option<Arc<StoredResponse>> {
        let stored = self.missing.sample.as_ref()?;
        let is_it = self.plan.key.first() == Some(&(Class::Get as u8))
            && stored.key() == &*self.plan.key
            && stored.is_selected_by(&RequestFields::read(request));
        is_it.then(|| Arc::clone(stored))
    }

    /// Answers with a stored response to which a 304 came, and keeps it for longer if that is about it.
    pub(super) fn confirmed<R: Body>(
        self,
        Validated(stored): Validated,
        confirmed: response::Parts,
        mut filing: Filing,
        tags_complete: bool,
        request_time: Timestamp,
    ) -> Response<ResponseBody<R>> {
        let core = Arc::clone(&self.core);
        let cookies: Vec<HeaderValue> = all(&confirmed.headers, header::SET_COOKIE);
        let request = filing.request.clone();
        let (in_background, why, facts) = (self.in_background, self.missing.why, self.plan.facts);
        let profile = core.route.rules.profile;
        let about = asked(profile, &stored).map(|asked| asked.confirmed_by(&confirmed.headers));
        let (fresh, is_stored, detail) = match about {
            Some(Confirms::Stored) => {
                let mut merged = self.merged(&stored, confirmed);
                let signals = Signals::take(&core, &mut merged.parts, tags_complete);
                let terms = self.lasting(&stored, &mut merged, &signals, &filing, request_time);
                filing.tags.extend_from_slice(stored.explicit_tags());
                match self.keep(&stored, &merged.parts, filing, &signals, terms) {
                    Ok(kept) => (kept, true, None),
                    Err(reason) => {
                        let once = once(&core, &stored, &merged.parts, request_time);
                        (once.unwrap_or(stored), false, reason)
                    }
                }
            }
            _ => {
                let reason = Reason::Status;
                refuse(&filing, self.leader, reason, stored.status());
                (stored, false, Some(reason))
            }
        };
        if in_background {
            return Response::new(ResponseBody::whole(Bytes::new())); // nobody waits for it
        }
        let decision = Decision::Forward {
            why,
            status: Some(StatusCode::NOT_MODIFIED),
            stored: is_stored,
            collapsed: false,
            detail,
        };
        let conditions = Conditions {
            method: &Method::GET,
            fields: RequestFields::read(&request),
            facts,
        };
        let now = core.shared.clock.now();
        let mut answer = Hit::new(&core, fresh, &decision, conditions, now).into_response();
        if !is_stored {
            // They are this client's, and no stored response has them.
            answer.headers_mut().remove(header::SET_COOKIE);
            for cookie in cookies {
                answer.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        answer
    }

    /// The stored response as a 304 leaves it.
    fn merged(&self, stored: &StoredResponse, mut confirmed: response::Parts) -> Merged {
        let names_a_lifetime = names_a_lifetime(&confirmed.headers);
        let fields = as_the_handler_said(&self.core, stored);
        let profile = self.core.route.rules.profile;
        confirmed.headers = freshened(profile, fields, &confirmed.headers);
        confirmed.status = stored.status();
        Merged {
            parts: confirmed,
            names_a_lifetime,
        }
    }

    /// For how long it is kept: without a word of the 304's own, not for longer than it was before.
    fn lasting(
        &self,
        stored: &StoredResponse,
        merged: &mut Merged,
        signals: &Signals,
        filing: &Filing,
        request_time: Timestamp,
    ) -> Result<Terms, Reason> {
        let core = &self.core;
        let mut terms = self.terms(&Method::GET, &mut merged.parts, signals, request_time);
        let wanted = core.codings.wanted(&RequestFields::read(&filing.request));
        let size = Some(stored.body_length());
        core.codings
            .settle(&mut merged.parts, size, wanted, &mut terms);
        if !merged.names_a_lifetime && signals.ttl.is_none() {
            if let Ok(terms) = &mut terms {
                terms.times.end_with(stored.times());
            }
        }
        terms
    }

    fn keep(
        self,
        stored: &StoredResponse,
        confirmed: &response::Parts,
        mut filing: Filing,
        signals: &Signals,
        terms: Result<Terms, Reason>,
    ) -> Result<Arc<StoredResponse>, Option<Reason>> {
        let terms = match terms {
            Ok(_) if !signals.tags_complete => Err(Reason::Tags),
            terms => terms,
        };
        let head = terms.and_then(|terms| filing.head(confirmed, &signals.tags, terms));
        match head {
            Ok(head) => {
                let body: Bytes = stored.body();
                let length = Some(stored.body_length());
                Publication::new(filing, head, length, self.leader).publish(&[body])
            }
            Err(reason) => {
                if !self.plan.facts.selects() {
                    refuse(&filing, self.leader, reason, confirmed.status);
                }
                Err(Some(reason))
            }
        }
    }
}

/// A stored response with the fields of a 304.
struct Merged {
    parts: response::Parts,
    /// Whether the 304 says itself for how long it holds.
    names_a_lifetime: bool,
}

impl Validated {
    /// Makes the request ask.
    pub(super) fn put_to(&self, profile: Profile, request: &mut HeaderMap) {
        if let Some(asked) = asked(profile, &self.0) {
            asked.put_to(profile, request);
        }
    }

    /// Whether a 304 with these fields answers the question about it; otherwise its client has it as it is.
    pub(super) fn is_answered_by(
        &self,
        profile: Profile,
        not_modified: &HeaderMap,
        request: &HeaderMap,
    ) -> bool {
        let about = asked(profile, &self.0).map(|asked| asked.confirmed_by(not_modified));
        about == Some(Confirms::Stored) || !is_the_clients(request, not_modified)
    }
}

/// What can be asked. A date that was weak when the response came is not: a 304 by it would make it
/// look strong, and could be about another version of the same second.
fn asked(profile: Profile, stored: &StoredResponse) -> Option<Asked<'_>> {
    let mut asked = Asked::of(profile, |name| stored.field(name))?;
    let now = stored.times().response_time.as_secs().cast_signed();
    let date = stored.field(&header::DATE);
    let sent = date
        .and_then(|date| date::parse(date.as_bytes(), now))
        .unwrap_or(now);
    asked.last_modified = asked
        .last_modified
        .filter(|date| is_strong(date, sent, now));
    (asked.etag.is_some() || asked.last_modified.is_some()).then_some(asked)
}

fn all(headers: &HeaderMap, name: HeaderName) -> Vec<HeaderValue> {
    headers.get_all(name).iter().cloned().collect()
}

/// The stored fields without what this cache wrote for those downstream.
pub(super) fn as_the_handler_said(core: &Core, stored: &StoredResponse) -> HeaderMap {
    let mut headers = interned::all_lines(stored);
    let had_lifetime = !stored.times().is_never_used_as_it_is();
    answer::untell_downstream(core, &mut headers, had_lifetime);
    headers
}

/// The confirmed response as an answer to this request alone.
fn once(
    core: &Core,
    stored: &StoredResponse,
    confirmed: &response::Parts,
    request_time: Timestamp,
) -> Option<Arc<StoredResponse>> {
    let now = core.shared.clock.now();
    let age = initial_age(&confirmed.headers, request_time, now);
    let times = Times {
        response_time: now,
        born: now.minus(age),
        fresh_until: now,
        ..*stored.times()
    };
    let profile = core.route.rules.profile;
    let (common, lines) = stored_lines(profile, &confirmed.headers, &[]);
    let once = stored.derive(common, lines, times, &[stored.body()]);
    once.map(Arc::new)
}
