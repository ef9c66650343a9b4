//! Which part of a stored response answers a request: none of it, where the client holds it already;
//! a range or several; or the whole.
//!
//! Conditions are judged by the validators of the variant as it came. Its codings have the same ones,
//! weak, and conditions that may be met by any form compare weakly; a range is met by the strong tag
//! alone where there are codings, and is cut from the form that has it. So parts of two forms are never
//! mixed.
//!
//! Nearly all requests ask for the whole, and are done with [`RequestFacts::selects`].

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body::Body;

use super::body::ResponseBody;
use crate::clock::Timestamp;
use crate::policy::part::Part;
use crate::policy::precondition::{
    is_held, judge_at_cache, range_holds, strip_for_not_modified, Validators, Verdict,
};
use crate::policy::range::{self, Asked};
use crate::policy::request::{Fact, RequestFacts, RequestFields};
use crate::policy::stored::StoredResponse;

/// What a request says about the part it wants.
#[derive(Clone, Copy)]
pub(crate) struct Conditions<'a> {
    pub(crate) method: &'a Method,
    pub(crate) fields: RequestFields<'a>,
    /// Those that count: not always all that the fields tell.
    pub(crate) facts: RequestFacts,
}

/// A representation as far as conditions and ranges are about it.
struct Representation<'a> {
    status: StatusCode,
    validators: Validators<'a>,
    length: u64,
    received: Timestamp,
    /// Whether clients may hold it in a coding, whose `Last-Modified` is the same.
    in_forms: bool,
    /// Whether its origin asked that no ranges be cut (`Accept-Ranges: none`, RFC 9110 §14.3).
    indivisible: bool,
}

impl<'a> Representation<'a> {
    /// A stored response, in the form in which it is stored.
    fn of(stored: &'a StoredResponse, in_forms: bool, now: Timestamp) -> Self {
        let now = now.as_secs().cast_signed();
        let ranges = stored.field(&header::ACCEPT_RANGES);
        Self {
            status: stored.status(),
            validators: Validators::of(|name| stored.field(name), now),
            length: stored.body_length(),
            received: stored.times().response_time,
            in_forms,
            indivisible: ranges.is_some_and(|said| said.as_bytes() == b"none"),
        }
    }
}

/// What is sent in place of the whole.
pub(crate) enum Selected {
    /// The client holds it.
    Nothing,
    Less(Box<Less>),
}

/// A part of it, or the word that there is none.
pub(crate) enum Less {
    /// 206, with one part or several.
    Parts(Vec<Range<u64>>),
    /// 206, with a piece of a part that is stored by itself.
    Within { part: Part, piece: Range<u64> },
    /// 416: there are only so many bytes.
    Unsatisfiable { length: u64 },
}

/// Selects the part of a stored response that answers a request; `None` is the whole. `in_forms` says
/// whether clients may hold it in a coding.
///
/// `If-None-Match` and `If-Modified-Since` come before `If-Range` and `Range` (RFC 9110 §13.2.2), and
/// all of them only where the whole would be a success.
#[inline]
pub(crate) fn select(
    conditions: &Conditions<'_>,
    stored: &StoredResponse,
    in_forms: impl FnOnce() -> bool,
    now: Timestamp,
) -> Option<Selected> {
    let reads = matches!(*conditions.method, Method::GET | Method::HEAD);
    if !reads || !stored.status().is_success() {
        return None;
    }
    let tag = stored.etag();
    if tag.is_some_and(|tag| is_held(&conditions.fields, tag)) {
        return Some(Selected::Nothing);
    }
    select_by_all(
        conditions,
        &Representation::of(stored, in_forms(), now),
        now,
    )
}

/// The same, by everything that conditions may be about.
fn select_by_all(
    conditions: &Conditions<'_>,
    of: &Representation<'_>,
    now: Timestamp,
) -> Option<Selected> {
    let Conditions {
        method,
        fields,
        facts,
    } = *conditions;
    let headers = fields.all;
    let now = now.as_secs().cast_signed();
    if facts.has(Fact::Precondition) {
        // It was there within its second, and surely at the end of it.
        let received = of.received.as_secs().saturating_add(1).cast_signed();
        let verdict = judge_at_cache(method, headers, &of.validators, received, now);
        if verdict == Verdict::NotModified {
            return Some(Selected::Nothing);
        }
    }
    let divides = of.status == StatusCode::OK && *method == Method::GET && !of.indivisible;
    if !divides || !facts.has(Fact::Range) {
        return None;
    }
    let sent = of.received.as_secs().cast_signed();
    let modified = of.validators.last_modified;
    let validators = Validators {
        date: of.validators.date.or(Some(sent)),
        // A date that two forms share tells nothing of bytes (RFC 9110 §8.8.2.2).
        last_modified: modified.filter(|_| !of.in_forms),
        ..of.validators
    };
    if !range_holds(headers, &validators, now) {
        return None;
    }
    let less = match range::asked(headers, of.length) {
        Asked::Whole => return None,
        Asked::Parts(parts) => Less::Parts(parts),
        Asked::Nothing => Less::Unsatisfiable { length: of.length },
    };
    Some(Selected::Less(Box::new(less)))
}

impl Less {
    /// What is sent of the content of the whole; the fields of the whole become those of that.
    pub(crate) fn of<B: Body>(
        self,
        content: &Bytes,
        headers: &mut HeaderMap,
    ) -> (StatusCode, ResponseBody<B>) {
        match self {
            Self::Parts(parts) => {
                let body = cut(&parts, content, headers);
                (StatusCode::PARTIAL_CONTENT, body)
            }
            Self::Within { part, piece } => {
                remove_digests(headers);
                headers.insert(header::CONTENT_RANGE, part.content_range(&piece));
                headers.insert(header::CONTENT_LENGTH, (piece.end - piece.start).into());
                let body = ResponseBody::whole(slice(content, &piece));
                (StatusCode::PARTIAL_CONTENT, body)
            }
            Self::Unsatisfiable { length } => {
                refuse(length, headers);
                let nothing = ResponseBody::whole(Bytes::new());
                (StatusCode::RANGE_NOT_SATISFIABLE, nothing)
            }
        }
    }
}

/// The parts of some content; the fields become those of a 206 (RFC 9110 §15.3.7).
fn cut<B: Body>(parts: &[Range<u64>], content: &Bytes, headers: &mut HeaderMap) -> ResponseBody<B> {
    remove_digests(headers);
    if let [part] = parts {
        headers.insert(header::CONTENT_RANGE, content_range(part, content.len()));
        headers.insert(header::CONTENT_LENGTH, (part.end - part.start).into());
        return ResponseBody::whole(slice(content, part));
    }
    let boundary = boundary();
    let kind = headers.remove(header::CONTENT_TYPE);
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let range = content_range(part, content.len());
        pieces.push(head_of_part(&boundary, kind.as_ref(), &range));
        pieces.push(slice(content, part));
    }
    pieces.push(format!("\r\n--{boundary}--\r\n").into());
    let body = ResponseBody::pieces(pieces);
    let length = body.size_hint().lower();
    let kind = format!("multipart/byteranges; boundary={boundary}");
    let kind = HeaderValue::try_from(kind).expect("a boundary is letters and digits");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, length.into());
    body
}

/// Digests of all that is sent; what is sent is another thing now.
pub(crate) fn remove_digests(headers: &mut HeaderMap) {
    for name in [CONTENT_DIGEST, CONTENT_MD5] {
        headers.remove(name);
    }
}

fn slice(content: &Bytes, part: &Range<u64>) -> Bytes {
    // Parts were cut to the length of what is in memory.
    content.slice(part.start as usize..part.end as usize)
}

fn content_range(part: &Range<u64>, length: usize) -> HeaderValue {
    let written = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    HeaderValue::try_from(written).expect("letters and digits")
}

/// What stands before one of several parts (RFC 9110 §14.6).
fn head_of_part(boundary: &str, kind: Option<&HeaderValue>, range: &HeaderValue) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    let fields = [("Content-Type", kind), ("Content-Range", Some(range))];
    for (name, value) in fields {
        if let Some(value) = value {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// A line that does not occur in the content, as nobody who wrote the content can know it.
fn boundary() -> String {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (one, other) = (SECRET.hash_one(count), SECRET.hash_one((count, "other")));
    format!("{one:016x}{other:016x}")
}

/// The fields become those of a 416 (RFC 9110 §15.5.17), which is about one request: a cache that
/// stored it, as the freshness of the whole would allow, would show it to those who want the whole.
fn refuse(length: u64, headers: &mut HeaderMap) {
    strip_for_not_modified(headers);
    for name in [header::ETAG, header::LAST_MODIFIED, header::EXPIRES] {
        headers.remove(name);
    }
    headers.remove(CDN_CACHE_CONTROL);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let range = HeaderValue::try_from(format!("bytes */{length}"));
    headers.insert(header::CONTENT_RANGE, range.expect("letters and digits"));
}

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
