//! What the answer to a `HEAD` request tells of the stored answer to `GET` (RFC 9111 §4.3.5).

use http::{response, Method, Response, StatusCode};

use super::call::{Call, Signals};
use super::publish::{Filing, Publication};
use super::validate::as_the_handler_said;
use crate::clock::Timestamp;
use crate::policy::decision::Reason;
use crate::policy::request::Fact;
use crate::policy::stored::StoredResponse;
use crate::policy::validation::{freshened, is_about};
use crate::store::invalidation::Validity;

impl Call {
    /// Freshens the stored response by a 200 that is about the same content, and removes it by one that
    /// is not. The next request makes it anew.
    pub(super) async fn hear_of_content(
        &self,
        said: &response::Parts,
        filing: Filing,
        tags_complete: bool,
        request_time: Timestamp,
    ) {
        if said.status != StatusCode::OK {
            return;
        }
        // What one client is told, who has credentials or wants nothing stored, is nobody else's.
        let facts = self.plan.facts;
        let is_authorized = facts.has(Fact::Authorization) && self.core.route.knows_no_users();
        let directives = self.plan.directives.as_ref();
        if is_authorized || directives.is_some_and(|said| said.no_store) {
            return;
        }
        let Some(stored) = self.stored_for(&filing.request) else {
            return;
        };
        if stored.status() != StatusCode::OK || self.core.validity(&stored).await == Validity::Hard
        {
            return;
        }
        let place = filing.place;
        let is_kept = is_about(said, |name| stored.field(name), stored.body_length())
            && self
                .keep_as_said(&stored, said, filing, tags_complete, request_time)
                .is_ok();
        if !is_kept {
            let is_it = |other: &StoredResponse| other.is_same_as(&stored);
            self.core.shared.responses.remove(place, is_it);
        }
    }

    fn keep_as_said(
        &self,
        stored: &StoredResponse,
        said: &response::Parts,
        mut filing: Filing,
        tags_complete: bool,
        request_time: Timestamp,
    ) -> Result<(), Reason> {
        let core = &self.core;
        let (mut fresh, ()) = Response::new(()).into_parts();
        let profile = core.route.rules.profile;
        fresh.headers = freshened(profile, as_the_handler_said(core, stored), &said.headers);
        let signals = Signals::take(core, &mut fresh, tags_complete);
        let terms = self.terms(&Method::GET, &mut fresh, &signals, request_time)?;
        if !tags_complete {
            return Err(Reason::Tags);
        }
        filing.tags.extend_from_slice(stored.explicit_tags());
        let head = filing.head(&fresh, &signals.tags, terms)?;
        let length = Some(stored.body_length());
        let published = Publication::new(filing, head, length, None).publish(&[stored.body()]);
        published
            .map(drop)
            .map_err(|why| why.unwrap_or(Reason::Overtaken))
    }
}
