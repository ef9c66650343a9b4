//! Writing answers: from store, and the fields that every answer gets.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body;

use super::body::ResponseBody;
use super::coded::{self, Making};
use super::core::Core;
use super::selected::{not_modified, select, Conditions, Selected};
use super::status::{self, Written};
use crate::clock::Timestamp;
use crate::header::cache_control::{CacheControl, Fields};
use crate::header::list;
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
        let shows_status = core.route.cache_status;
        let head_request = *conditions.method == Method::HEAD;
        let wanted = core.codings.wanted(conditions.headers);
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
            status: shows_status.then(|| core.shared.status.field(decision)),
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

    /// Writes the answer, for `GET` or (without the content) for `HEAD`.
    #[inline]
    pub(crate) fn into_response<B: Body>(self) -> Response<ResponseBody<B>> {
        let (age, shown) = (&*self.age, self.status.as_deref());
        if let Some(selected) = self.selected {
            return match selected {
                Selected::Nothing => not_modified(not_modified_fields(&self.stored, age, shown)),
                Selected::Less(less) => {
                    less.into_response(fields(&self.stored, age, shown), self.stored.body())
                }
            };
        }
        let mut headers = fields(&self.stored, age, shown);
        let status = self.stored.status();
        let body = match (self.head_request, self.making) {
            (true, None) => {
                tell_length(&self.stored, &mut headers);
                ResponseBody::whole(bytes::Bytes::new())
            }
            (true, Some(_)) => ResponseBody::whole(bytes::Bytes::new()),
            (false, None) => ResponseBody::stored(self.stored),
            (false, Some(making)) => ResponseBody::made(making),
        };
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        parts.headers = headers;
        Response::from_parts(parts, body)
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
fn fields(stored: &StoredResponse, age: &HeaderValue, status: Option<&HeaderValue>) -> HeaderMap {
    written(
        &stored.common().whole,
        stored.lines(),
        |_| true,
        age,
        status,
    )
}

/// The same for a 304 (RFC 9110 §15.4.5).
#[inline]
fn not_modified_fields(
    stored: &StoredResponse,
    age: &HeaderValue,
    status: Option<&HeaderValue>,
) -> HeaderMap {
    let stays =
        |name: &HeaderName| stays_when_not_modified(name, stored.field(&header::ETAG).is_some());
    let common = &stored.common().not_modified;
    written(common, stored.lines(), stays, age, status)
}

#[inline]
fn written(
    outline: &Outline,
    lines: &[(HeaderName, HeaderValue)],
    stays: impl Fn(&HeaderName) -> bool,
    age: &HeaderValue,
    status: Option<&HeaderValue>,
) -> HeaderMap {
    let upstream = lines.iter().any(|(name, _)| *name == CACHE_STATUS);
    let (own, behind) = match status {
        Some(status) if !upstream => (Some(status), None),
        status => (None, status),
    };
    let status = own.unwrap_or(&NO_STATUS);
    let (mut headers, rest) = interned::filled(outline, lines, age, status);
    if own.is_none() {
        headers.remove(CACHE_STATUS);
    }
    for (name, value) in rest {
        if stays(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(status) = behind {
        headers.append(CACHE_STATUS, status.clone());
    }
    headers
}

static NO_STATUS: HeaderValue = HeaderValue::from_static("");

/// Writes `Cache-Status`, the event and the count of a decision.
pub(crate) fn settle(core: &Core, headers: &mut HeaderMap, decision: &Decision) {
    note(core, decision);
    if core.route.cache_status {
        headers.append(CACHE_STATUS, core.shared.status.field(decision).clone());
    }
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
        headers.insert(header::CACHE_CONTROL, core.default_cache_control.clone());
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

/// Adds the route's own fields to `Vary`.
pub(crate) fn tell_vary(core: &Core, headers: &mut HeaderMap) {
    for field in &core.route.vary_on {
        headers.append(header::VARY, HeaderValue::from(field.clone()));
    }
}
