//! A range answered from a part that is stored by itself, where the whole is not (RFC 9111 §3.3).
//!
//! The latest part lies beside the whole, under a key of its own, so that nobody who wants the whole
//! ever meets it. Those that touch are put together ([`join`](super::join)).

use http::header::{self, HeaderMap};
use http::{request, Method};

use super::answer::Hit;
use super::core::Core;
use super::lookup::{look_up, Lookup, Missing, Plan};
use super::selected::{Conditions, Less};
use crate::policy::decision::{ttl_parameter, Decision};
use crate::policy::key;
use crate::policy::part::Part;
use crate::policy::precondition::{range_holds, Validators};
use crate::policy::request::{Fact, RequestFields};
use crate::policy::stored::StoredResponse;

/// The answer, if a part that is near and fresh has all of what the request asks for.
pub(crate) fn find(
    core: &Core,
    request: &request::Parts,
    plan: &Plan,
    missing: &Missing,
) -> Option<Hit> {
    let facts = plan.facts;
    let is_wanted = core.route.is_rfc9111()
        && request.method == Method::GET
        && facts.has(Fact::Range)
        && !facts.has(Fact::Precondition)
        && core.strict_tier().is_none();
    if !is_wanted {
        return None;
    }
    let (shared, fields) = (&core.shared, RequestFields::read(&request.headers));
    let key = key::of_part(&plan.key);
    let place = shared.responses.place(&key);
    let directives = plan.directives.as_ref();
    let found = look_up(shared, place, &key, &fields, directives, plan.now);
    let Lookup::Fresh { stored, left } = found else {
        return None;
    };
    // What came later, and is stale by now, may have been another content.
    let is_latest = missing
        .sample
        .as_ref()
        .is_none_or(|whole| whole.times().response_time <= stored.times().response_time);
    let less = is_latest.then(|| piece(&stored, fields.all, plan))??;
    let decision = Decision::Hit {
        ttl: ttl_parameter(Ok(left)),
        detail: None,
    };
    let conditions = Conditions {
        method: &request.method,
        fields,
        facts,
    };
    Some(Hit::less(
        core, stored, less, &decision, conditions, plan.now,
    ))
}

/// The piece of a stored part that is asked for, if it has that, and its client's `If-Range` holds.
fn piece(stored: &StoredResponse, request: &HeaderMap, plan: &Plan) -> Option<Less> {
    let part = Part::read(stored.field(&header::CONTENT_RANGE)?)?;
    let piece = part.asked(request, stored.body_length())?;
    let now = plan.now.as_secs().cast_signed();
    let received = stored.times().response_time.as_secs().cast_signed();
    let validators = Validators::of(|name| stored.field(name), now);
    let validators = Validators {
        date: validators.date.or(Some(received)),
        ..validators
    };
    range_holds(request, &validators, now).then_some(Less::Within { part, piece })
}
