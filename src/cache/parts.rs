//! A range answered from a part that is stored by itself, where the whole is not (RFC 9111 §3.3).
//!
//! The latest part lies beside the whole, under a key of its own, so that nobody who wants the whole
//! ever meets it. A part that touches the one that lies there already is put together with it, where both
//! have the same strong entity tag and the newer one lacks no field and no tag of the older, and when nothing
//! is missing any more they are the whole (§3.4).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{request, Method, StatusCode};

use super::answer::Hit;
use super::core::{Core, Shared};
use super::lookup::{look_up, Lookup, Missing, Plan};
use super::selected::{remove_digests, Conditions, Less};
use crate::header::entity_tag::EntityTag;
use crate::policy::decision::{ttl_parameter, Decision};
use crate::policy::key;
use crate::policy::part::Part;
use crate::policy::precondition::{range_holds, Validators};
use crate::policy::request::{Fact, RequestFields};
use crate::policy::stored::{Head, StoredResponse};
use crate::store::interned;
use crate::store::invalidation::Validity;
use crate::store::near::Found;

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

/// A part that has just come, put together with the one that lies in its place. Its fields, times and fence are
/// those of the newer one, which an invalidation of the older one has not overtaken.
pub(crate) fn joined(
    shared: &Shared,
    newer: &StoredResponse,
    place: u64,
    request: &HeaderMap,
) -> Option<StoredResponse> {
    let request = RequestFields::read(request);
    let Found::Response(older) = shared.responses.find(place, newer.key(), &request) else {
        return None;
    };
    let mut headers = interned::all_lines(newer);
    let is_same_content = older.vary() == newer.vary()
        && have_one_strong_tag(&older, newer)
        && says_all_of(&headers, &interned::all_lines(&older))
        && is_reached_by_all_of(newer, &older)
        && shared.validity(&older) == Validity::Valid;
    let ((old, old_body), (new, new_body)) = (whole_part(&older)?, whole_part(newer)?);
    let part = old.joined(new).filter(|_| is_same_content)?;
    let piece = |range: std::ops::Range<u64>| {
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        Some(old_body.slice(start.ok()?..end.ok()?))
    };
    let [before, behind] = old.around(new);
    let body = [piece(before)?, new_body, piece(behind)?];
    let length: usize = body.iter().map(Bytes::len).sum();
    remove_digests(&mut headers);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let (key, status) = if part.is_all() {
        headers.remove(header::CONTENT_RANGE);
        (key::of_whole(newer.key())?, StatusCode::OK)
    } else {
        headers.insert(header::CONTENT_RANGE, part.written());
        (newer.key(), StatusCode::PARTIAL_CONTENT)
    };
    let lines = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    let (common, lines) = interned::split(lines);
    let head = Head {
        status,
        common,
        lines,
        vary: newer.vary().to_vec(),
        tags: newer.tags().to_vec(),
        implicit: newer.implicit(),
        fence: newer.fence(),
        times: *newer.times(),
    };
    StoredResponse::assemble(key, head, &body)
}

/// A stored part that has every byte that it says.
fn whole_part(stored: &StoredResponse) -> Option<(Part, Bytes)> {
    let part = Part::read(stored.field(&header::CONTENT_RANGE)?)?;
    part.is_of(stored.body_length())
        .then(|| (part, stored.body()))
}

/// Whether the fields of the newer one are all that there is to say of both: an answer to `If-Range` may leave
/// out what its client knows (RFC 9110 §15.3.7), and a whole has it.
fn says_all_of(newer: &HeaderMap, older: &HeaderMap) -> bool {
    let is_said = |name: &HeaderName| *name == header::CONTENT_LENGTH || newer.contains_key(name);
    older.keys().all(is_said)
}

/// Whether whoever purges the older one reaches the newer one too.
fn is_reached_by_all_of(newer: &StoredResponse, older: &StoredResponse) -> bool {
    older.tags().iter().all(|tag| newer.tags().contains(tag))
}

fn have_one_strong_tag(one: &StoredResponse, other: &StoredResponse) -> bool {
    let tags = one.field(&header::ETAG).zip(other.field(&header::ETAG));
    tags.is_some_and(|(one, other)| {
        let tags = EntityTag::parse(one.as_bytes()).zip(EntityTag::parse(other.as_bytes()));
        tags.is_some_and(|(one, other)| one.matches_strongly(other))
    })
}
