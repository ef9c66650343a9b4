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
use http::{request, response, HeaderMap, Method, Response, StatusCode};
use http_body::Body;

use super::answer::{self, Hit};
use super::body::ResponseBody;
use super::call::{refuse, Call, Signals};
use super::core::Core;
use super::publish::{stored_lines, Filing, Publication};
use super::selected::Conditions;
use crate::clock::Timestamp;
use crate::policy::decision::{Decision, Reason};
use crate::policy::freshness::initial_age;
use crate::policy::key::Class;
use crate::policy::stored::{StoredResponse, Times};
use crate::policy::storing::Terms;
use crate::policy::validation::{freshened, Asked, Confirms};
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
        asked(&stored)?;
        let holds = self.core.validity(&stored).await != Validity::Hard;
        holds.then(|| Validated(stored))
    }

    /// The response that is stored for such a `GET`, whatever it is good for.
    pub(super) fn stored_for(&self, request: &HeaderMap) -> Option<Arc<StoredResponse>> {
        let stored = self.missing.sample.as_ref()?;
        let is_it = self.plan.key.first() == Some(&(Class::Get as u8))
            && stored.key() == &*self.plan.key
            && stored.is_selected_by(request);
        is_it.then(|| Arc::clone(stored))
    }

    /// Answers with a stored response that a 304 has confirmed, and keeps it for longer.
    pub(super) fn freshened<R: Body>(
        self,
        validated: Validated,
        mut confirmed: response::Parts,
        mut filing: Filing,
        tags_complete: bool,
        request_time: Timestamp,
    ) -> Response<ResponseBody<R>> {
        let core = Arc::clone(&self.core);
        let Validated(stored) = validated;
        let fields = as_the_handler_said(&core, &stored);
        let profile = core.route.rules.profile;
        confirmed.headers = freshened(profile, fields, &confirmed.headers);
        confirmed.status = stored.status();
        let signals = Signals::take(&core, &mut confirmed, tags_complete);
        let mut terms = self.terms(&Method::GET, &mut confirmed, &signals, request_time);
        let wanted = core.codings.wanted(&filing.request);
        let size = Some(stored.body_length());
        core.codings
            .settle(&mut confirmed, size, wanted, &mut terms);

        filing.tags.extend_from_slice(stored.explicit_tags());
        let request = filing.request.clone();
        let (in_background, why, facts) = (self.in_background, self.missing.why, self.plan.facts);
        let kept = self.keep(&stored, &confirmed, filing, &signals, terms);
        let (fresh, is_stored, detail) = match kept {
            Ok(kept) => (kept, true, None),
            Err(reason) => {
                let once = once(&core, &stored, &confirmed, request_time);
                (once.unwrap_or(stored), false, reason)
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
            headers: &request,
            facts,
        };
        let now = core.shared.clock.now();
        Hit::new(&core, fresh, &decision, conditions, now).into_response()
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

impl Validated {
    /// Makes the request ask.
    pub(super) fn put_to(&self, request: &mut HeaderMap) {
        if let Some(asked) = asked(&self.0) {
            asked.put_to(request);
        }
    }

    /// Whether a 304 with these fields is about it.
    pub(super) fn is_confirmed_by(&self, not_modified: &HeaderMap) -> bool {
        asked(&self.0).is_some_and(|asked| asked.confirmed_by(not_modified) == Confirms::Stored)
    }
}

fn asked(stored: &StoredResponse) -> Option<Asked<'_>> {
    Asked::of(|name| stored.field(name))
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
