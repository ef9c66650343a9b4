//! `If-None-Match` and its siblings, in the one order they have (RFC 9110 §13.2.2).
//!
//! ```text
//!  If-Match ──────────── else If-Unmodified-Since ─┬─ false ─► 412
//!                                                  ▼
//!  If-None-Match ─────── else If-Modified-Since ───┬─ false ─► 304 for GET and HEAD, else 412
//!                                                  ▼
//!  Range, with or without If-Range ───────────────────────────► the part, or the whole
//! ```
//!
//! *Else* means "only where the field before it is absent": an `If-None-Match` that does not match
//! leaves `If-Modified-Since` unread, however well that would match. A cache reads neither of the
//! first row; they are for the origin (RFC 9111 §4.3.2).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::Method;

use super::request::{is_safe, RequestFields};
use crate::header::entity_tag::{self, EntityTag};
use crate::header::{date, first_line};

/// What the fields of a request make of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer is what it would be without them.
    Proceed,
    /// The client holds it already.
    NotModified,
    /// The resource is not in the state that the client named.
    PreconditionFailed,
}

/// What is known of the current representation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Validators<'a> {
    pub(crate) etag: Option<EntityTag<'a>>,
    /// Seconds since 1970, as all dates here.
    pub(crate) last_modified: Option<i64>,
    /// When the origin sent it, and so the moment for which its modification date was true.
    pub(crate) date: Option<i64>,
}

impl<'a> Validators<'a> {
    /// What the fields of a response say.
    pub(crate) fn read(headers: &'a HeaderMap, now: i64) -> Self {
        Self::of(|name| first_line(name, headers), now)
    }

    /// The same, of fields that stand somewhere else than in a map.
    pub(crate) fn of(field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>, now: i64) -> Self {
        let date = |name| field(name).and_then(|value| date::parse(value.as_bytes(), now));
        let etag = field(&header::ETAG);
        Self {
            etag: etag.and_then(|value| EntityTag::parse(value.as_bytes())),
            last_modified: date(&header::LAST_MODIFIED),
            date: date(&header::DATE),
        }
    }
}

/// Judges a request as the origin does, where the plain answer would be a success. `current` is
/// `None` where the resource has no representation.
pub(crate) fn judge_at_origin(
    method: &Method,
    request: &HeaderMap,
    current: Option<&Validators<'_>>,
    now: i64,
) -> Verdict {
    if is_about_no_representation(method) {
        return Verdict::Proceed;
    }
    if is_unmet(request, current, now) {
        return Verdict::PreconditionFailed;
    }
    let modified = current.and_then(|current| current.last_modified);
    judge_freshness(method, request, current, modified, now)
}

/// Judges a `GET` or `HEAD` as a cache does, which holds a response to it (RFC 9111 §4.3.2).
/// `received` is the second at the end of which it was surely there.
pub(crate) fn judge_at_cache(
    method: &Method,
    request: &HeaderMap,
    stored: &Validators<'_>,
    received: i64,
    now: i64,
) -> Verdict {
    let modified = stored.last_modified.or(stored.date).unwrap_or(received);
    judge_freshness(method, request, Some(stored), Some(modified), now)
}

/// Whether `If-None-Match` begins with exactly this entity tag, strong or weak. That is how clients
/// ask nearly always, and then nothing else decides: no other member of the list, and no date.
#[inline]
pub(crate) fn is_held(request: &RequestFields<'_>, etag: &HeaderValue) -> bool {
    fn opaque(tag: &HeaderValue) -> &[u8] {
        let bytes = tag.as_bytes();
        bytes.strip_prefix(b"W/").unwrap_or(bytes)
    }
    let first = request.first(&header::IF_NONE_MATCH);
    first.is_some_and(|line| opaque(line) == opaque(etag))
}

/// Whether a range may be cut from this representation for a client that may hold another part
/// already (RFC 9110 §13.1.5): always without `If-Range`.
pub(crate) fn range_holds(request: &HeaderMap, current: &Validators<'_>, now: i64) -> bool {
    let Some(only) = single(request, &header::IF_RANGE) else {
        return !request.contains_key(header::IF_RANGE);
    };
    if let Some(tag) = EntityTag::parse(only.as_bytes()) {
        return current.etag.is_some_and(|etag| tag.matches_strongly(etag));
    }
    // A date is as good as a strong tag only if nothing could have changed within its second.
    let held = date::parse(only.as_bytes(), now);
    let is_strong = |modified| current.date.is_some_and(|date| date > modified);
    held.is_some()
        && held
            == current
                .last_modified
                .filter(|modified| is_strong(*modified))
}

/// The first row: `If-Match` and `If-Unmodified-Since` (RFC 9110 §13.1.1, §13.1.4).
fn is_unmet(request: &HeaderMap, current: Option<&Validators<'_>>, now: i64) -> bool {
    if request.contains_key(header::IF_MATCH) {
        let lines = || request.get_all(header::IF_MATCH);
        let Some(current) = current else { return true };
        let names =
            |tag: EntityTag<'_>| current.etag.is_some_and(|etag| tag.matches_strongly(etag));
        return !entity_tag::is_any(lines()) && !entity_tag::listed(lines()).any(names);
    }
    let since = single_date(request, &header::IF_UNMODIFIED_SINCE, now);
    let modified = current.and_then(|current| current.last_modified);
    matches!((since, modified), (Some(since), Some(modified)) if modified > since)
}

/// The second row: `If-None-Match` and `If-Modified-Since` (RFC 9110 §13.1.2, §13.1.3).
fn judge_freshness(
    method: &Method,
    request: &HeaderMap,
    current: Option<&Validators<'_>>,
    modified: Option<i64>,
    now: i64,
) -> Verdict {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let matched = if request.contains_key(header::IF_NONE_MATCH) {
        let lines = || request.get_all(header::IF_NONE_MATCH);
        let names = |tag: EntityTag<'_>, etag| tag.matches_weakly(etag);
        current.is_some_and(|current| {
            let etag = current.etag;
            entity_tag::is_any(lines())
                || etag.is_some_and(|etag| entity_tag::listed(lines()).any(|tag| names(tag, etag)))
        })
    } else {
        let since = single_date(request, &header::IF_MODIFIED_SINCE, now);
        reads && matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
    };
    match (matched, reads) {
        (false, _) => Verdict::Proceed,
        (true, true) => Verdict::NotModified,
        (true, false) => Verdict::PreconditionFailed,
    }
}

/// Whether preconditions mean nothing to this method (RFC 9110 §13.2.1).
fn is_about_no_representation(method: &Method) -> bool {
    matches!(*method, Method::OPTIONS | Method::TRACE | Method::CONNECT)
}

/// A field of one value: more than one line is as good as none that can be read.
fn single<'a>(request: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = request.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn single_date(request: &HeaderMap, name: &HeaderName, now: i64) -> Option<i64> {
    single(request, name).and_then(|value| date::parse(value.as_bytes().trim_ascii(), now))
}

/// The preconditions of a request, by name.
const PRECONDITIONS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];

/// The preconditions of a request, apart from it; `None` where it has none, as most have not.
pub(crate) fn preconditions(method: &Method, request: &HeaderMap) -> Option<HeaderMap> {
    let is_one = |name: &HeaderName| PRECONDITIONS.contains(name);
    if is_about_no_representation(method) || !request.keys().any(is_one) {
        return None;
    }
    let lines = request.iter().filter(|(name, _)| is_one(name));
    let mut kept = HeaderMap::with_capacity(PRECONDITIONS.len());
    for (name, value) in lines {
        kept.append(name.clone(), value.clone());
    }
    Some(kept)
}

/// Whether a method can spoil what another client has seen, so that its preconditions protect something.
pub(crate) fn is_guarded(method: &Method) -> bool {
    !is_safe(method) && !is_about_no_representation(method)
}

/// Whether a field stays in a 304 (RFC 9110 §15.4.5). What tells of the representation goes, since
/// the client has it; what guides its update (`Cache-Control`, `Content-Location`, `Date`, `ETag`,
/// `Expires`, `Vary`), and whatever is about this answer rather than about the representation, stays.
pub(crate) fn stays_when_not_modified(name: &HeaderName, has_etag: bool) -> bool {
    match name.as_str() {
        "content-location" | "content-security-policy" | "content-security-policy-report-only" => {
            true
        }
        // It guides an update only where nothing better does.
        "last-modified" => !has_etag,
        "accept-ranges" | "digest" | "repr-digest" | "transfer-encoding" | "trailer" => false,
        name => !name.starts_with("content-"),
    }
}

/// Leaves the fields of a 200 that its 304 has too.
pub(crate) fn strip_for_not_modified(headers: &mut HeaderMap) {
    let has_etag = headers.contains_key(header::ETAG);
    let goes = |name: &&HeaderName| !stays_when_not_modified(name, has_etag);
    while let Some(name) = headers.keys().find(goes).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
