//! Writing answers: from store, and the fields that every answer gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body;

use super::body::ResponseBody;
use super::coded::{self, Making};
use super::core::Core;
use super::selected::{select, Conditions, Less, Selected};
use super::status::{self, Written};
use crate::clock::Timestamp;
use crate::header::cache_control::{CacheControl, Fields};
use crate::header::{date, list};
use crate::policy::decision::{ttl_parameter, Decision};
use crate::policy::precondition::stays_when_not_modified;
use crate::policy::stored::{Outline, StoredResponse};
use crate::store::interned::{self, CACHE_STATUS};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// An answer from store that is decided and not yet written: small to hand around, and written where
/// it is wanted.
pub(crate) struct Hit {
    /// In the form that answers, whose content may still be in the making.
    stored: Arc<StoredResponse>,
    making: Option<Arc<Making>>,
    age: Written,
    /// None where the route does not show it.
    status: Option<Written>,
    head_request: bool,
    /// What is sent in place of the whole; most requests want that.
    selected: Option<Selected>,
}

impl Hit {
    /// Answers with a stored response.
    #[inline]
    pub(crate) fn new(
        core: &Core,
        stored: Arc<StoredResponse>,
        decision: &Decision,
        conditions: Conditions<'_>,
        now: Timestamp,
    ) -> Self {
        note(core, decision);
        let status = shown(core, decision, Some(stored.key()));
        let head_request = *conditions.method == Method::HEAD;
        let wanted = core.codings.wanted(&conditions.fields);
        let selected = match conditions.facts.selects() {
            false => None,
            true => {
                let in_forms = || coded::is_in_forms(core, &stored);
                select(&conditions, &stored, in_forms, now)
            }
        };
        let (stored, making) = match selected {
            None => coded::form(core, stored, wanted, head_request),
            Some(Selected::Nothing) => (coded::head(core, stored, wanted), None),
            // Cut from the bytes that came: a coding's are not the same each time.
            Some(Selected::Less(_)) => (stored, None),
        };
        Self {
            age: status::age(now.since(stored.times().born).as_secs()),
            status,
            head_request,
            selected,
            stored,
            making,
        }
    }

    /// Answers with a response that is fresh for `left`.
    #[inline]
    pub(crate) fn fresh(
        core: &Core,
        stored: Arc<StoredResponse>,
        left: Duration,
        conditions: Conditions<'_>,
        now: Timestamp,
    ) -> Self {
        let decision = Decision::Hit {
            ttl: ttl_parameter(Ok(left)),
            detail: None,
        };
        Self::new(core, stored, &decision, conditions, now)
    }

    /// Answers with less than a stored response, of which that much is known to be wanted.
    pub(crate) fn less(
        core: &Core,
        stored: Arc<StoredResponse>,
        less: Less,
        decision: &Decision,
        conditions: Conditions<'_>,
        now: Timestamp,
    ) -> Self {
        Self {
            selected: Some(Selected::Less(Box::new(less))),
            making: None,
            ..Self::new(core, stored, decision, conditions, now)
        }
    }

    /// Writes the answer, for `GET` or (without the content) for `HEAD`.
    #[inline]
    pub(crate) fn into_response<B: Body>(self) -> Response<ResponseBody<B>> {
        // Its fields are written where they are sent from: a map of them is large to move.
        let mut answer = Response::new(());
        let headers = answer.headers_mut();
        let (age, shown) = (&*self.age, self.status.as_deref());
        let (status, body) = match self.selected {
            None => {
                write_fields(&self.stored, age, shown, headers);
                let status = self.stored.status();
                let body = whole(self.stored, self.making, self.head_request, headers);
                (status, body)
            }
            Some(Selected::Nothing) => {
                write_fields_of_304(&self.stored, age, shown, headers);
                (StatusCode::NOT_MODIFIED, ResponseBody::withheld())
            }
            Some(Selected::Less(less)) => {
                write_fields(&self.stored, age, shown, headers);
                less.of(&self.stored.body(), headers)
            }
        };
        *answer.status_mut() = status;
        answer.map(|()| body)
    }
}

/// The whole content, or for `HEAD` the word of its length.
#[inline]
fn whole<B: Body>(
    stored: Arc<StoredResponse>,
    making: Option<Arc<Making>>,
    head_request: bool,
    headers: &mut HeaderMap,
) -> ResponseBody<B> {
    match (head_request, making) {
        (false, None) => ResponseBody::stored(stored),
        (false, Some(making)) => ResponseBody::made(making),
        (true, None) => {
            tell_length(&stored, headers);
            ResponseBody::whole(Bytes::new())
        }
        (true, Some(_)) => ResponseBody::whole(Bytes::new()),
    }
}

/// The length that `GET` would have; a 204 has none (RFC 9110 §8.6).
fn tell_length(stored: &StoredResponse, headers: &mut HeaderMap) {
    if stored.status() != StatusCode::NO_CONTENT && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, stored.body_length().into());
    }
}

/// The stored fields, with `Age`, and `Cache-Status` behind what caches nearer the origin wrote.
#[inline]
fn write_fields(
    stored: &StoredResponse,
    age: &HeaderValue,
    status: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let (outline, lines) = (&stored.common().whole, stored.lines());
    write(outline, lines, |_| true, age, status, headers);
}

/// The same for a 304 (RFC 9110 §15.4.5).
#[inline]
fn write_fields_of_304(
    stored: &StoredResponse,
    age: &HeaderValue,
    status: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let has_etag = || stored.field(&header::ETAG).is_some();
    let stays = |name: &HeaderName| stays_when_not_modified(name, has_etag());
    let (outline, lines) = (&stored.common().not_modified, stored.lines());
    write(outline, lines, stays, age, status, headers);
}

#[inline]
fn write(
    outline: &Outline,
    lines: &[(HeaderName, HeaderValue)],
    stays: impl Fn(&HeaderName) -> bool,
    age: &HeaderValue,
    status: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let upstream = lines.iter().any(|(name, _)| *name == CACHE_STATUS);
    let (own, behind) = match status {
        Some(status) if !upstream => (Some(status), None),
        status => (None, status),
    };
    let rest = interned::fill(headers, outline, lines, age, own.unwrap_or(&NO_STATUS));
    if own.is_none() {
        headers.remove(CACHE_STATUS);
    }
    for (name, value) in rest.iter().filter(|(name, _)| stays(name)) {
        headers.append(name.clone(), value.clone());
    }
    if let Some(status) = behind {
        headers.append(CACHE_STATUS, status.clone());
    }
}

static NO_STATUS: HeaderValue = HeaderValue::from_static("");

/// Writes `Cache-Status`, the event and the count of a decision; `key` is what was looked up, if anything.
pub(crate) fn settle(
    core: &Core,
    headers: &mut HeaderMap,
    decision: &Decision,
    key: Option<&[u8]>,
) {
    note(core, decision);
    if let Some(status) = shown(core, decision, key) {
        headers.append(CACHE_STATUS, status.clone());
    }
}

/// `Cache-Status` of a decision, where the route shows it.
#[inline]
fn shown(core: &Core, decision: &Decision, key: Option<&[u8]>) -> Option<Written> {
    if !core.route.cache_status {
        return None;
    }
    let field = core.shared.status.field(decision);
    Some(match key.filter(|_| core.route.cache_status_key) {
        Some(key) => status::with_key(&field, key),
        None => field,
    })
}

/// Counts a decision and tells it to whoever listens.
#[inline]
fn note(core: &Core, decision: &Decision) {
    core.shared.counters.decided(decision);
    tracing::debug!(
        cache = core.shared.status.name(),
        ?decision,
        reason = decision.reason().map(|reason| reason.as_str()),
        "cache decision"
    );
}

/// What caches downstream are told, where the handler did not tell them (see
/// [`ClientCache`](super::ClientCache)). Answers that belong to one user are `private` in any case.
pub(crate) fn tell_downstream(core: &Core, headers: &mut HeaderMap) {
    let said = [header::CACHE_CONTROL, header::EXPIRES, CDN_CACHE_CONTROL];
    if !said.iter().any(|name| headers.contains_key(name)) {
        if let Some(default) = &core.default_cache_control {
            headers.insert(header::CACHE_CONTROL, default.clone());
        }
    } else if core.route.user.is_some() {
        headers.remove(CDN_CACHE_CONTROL);
        make_private(headers);
    }
}

/// Takes a response back from shared caches (RFC 9111 §5.2.2.7). What the handler said to the client
/// stays as it is.
fn make_private(headers: &mut HeaderMap) {
    let said = CacheControl::parse(headers.get_all(header::CACHE_CONTROL));
    if said.no_store || said.private == Some(Fields::All) {
        return;
    }
    let mut field = b"private".to_vec();
    for line in headers.get_all(header::CACHE_CONTROL) {
        for member in list::members(line.as_bytes()).filter(|member| !widens_the_audience(member)) {
            field.extend_from_slice(b", ");
            field.extend_from_slice(member);
        }
    }
    let has_lifetime = said.max_age.is_some() || headers.contains_key(header::EXPIRES);
    if said.no_cache.is_none() && !has_lifetime {
        field.extend_from_slice(b", no-cache");
    }
    let field = HeaderValue::from_bytes(&field);
    headers.insert(
        header::CACHE_CONTROL,
        field.expect("these bytes were field values before"),
    );
}

/// Whether a directive is about shared caches, or makes only a part of the response private.
fn widens_the_audience(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b'=').next();
    let name = name.unwrap_or_default().trim_ascii();
    [&b"public"[..], b"s-maxage", b"proxy-revalidate", b"private"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Takes back what [`tell_downstream`] wrote into a stored response, as far as it can be told from what the
/// handler said itself. Where it cannot, the response says what it holds for: what is freshened by
/// it never gets a longer lifetime than it had.
pub(crate) fn untell_downstream(core: &Core, headers: &mut HeaderMap, had_lifetime: bool) {
    let said = headers.get(header::CACHE_CONTROL);
    let others = [header::EXPIRES, CDN_CACHE_CONTROL];
    let spoke = others.iter().any(|name| headers.contains_key(name));
    let is_default = said.is_some() && said == core.default_cache_control.as_ref();
    if had_lifetime && is_default && !spoke {
        headers.remove(header::CACHE_CONTROL);
    } else if core.route.user.is_some() {
        // A handler's own `private` is not stored, and its own `no-cache` gives no lifetime.
        let is_ours =
            |member: &&[u8]| *member == b"private" || (had_lifetime && *member == b"no-cache");
        let lines = headers.get_all(header::CACHE_CONTROL).iter();
        let members = lines.flat_map(|line| list::members(line.as_bytes()));
        let theirs: Vec<&[u8]> = members.filter(|member| !is_ours(member)).collect();
        let theirs = HeaderValue::from_bytes(&theirs.join(&b", "[..]));
        let theirs = theirs.expect("these bytes were field values before");
        headers.remove(header::CACHE_CONTROL);
        if !theirs.is_empty() {
            headers.insert(header::CACHE_CONTROL, theirs);
        }
    }
}

/// Says when an answer was received, where it does not say when it was made (RFC 9110 §6.6.1).
pub(crate) fn tell_date(core: &Core, headers: &mut HeaderMap) {
    if !headers.contains_key(header::DATE) {
        let now = date::format(core.shared.clock.now().as_secs());
        let now = HeaderValue::from_bytes(&now).expect("a date is visible ASCII");
        headers.insert(header::DATE, now);
    }
}

/// Adds the route's own fields to `Vary`, where they do not stand there yet.
pub(crate) fn tell_vary(core: &Core, headers: &mut HeaderMap) {
    for field in &core.route.vary_on {
        if !names_in_vary(headers, field) {
            headers.append(header::VARY, HeaderValue::from(field.clone()));
        }
    }
}

fn names_in_vary(headers: &HeaderMap, field: &HeaderName) -> bool {
    let lines = headers.get_all(header::VARY).iter();
    let mut names = lines.flat_map(|line| list::members(line.as_bytes()));
    names.any(|name| name.eq_ignore_ascii_case(field.as_str().as_bytes()))
}
