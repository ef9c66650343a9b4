//! What is remembered of one exchange.
//!
//! A [`StoredResponse`] owns one buffer of exactly the size it needs: the key, the field values and
//! the body lie in it one after another, and what is handed out shares it. So a stored response
//! pins no read buffer, and its weight is known.
//!
//! ```text
//! made here        buffer │ key │ value │ value │ … │ body │
//! from Redis       buffer │ … │ value │ … │ key │ body │       (as it was received, `store::envelope`)
//! ```

use std::ops::Range;
#[cfg(feature = "compress")]
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::request::RequestFields;
use super::tag::TagHash;
use crate::clock::Timestamp;
#[cfg(feature = "compress")]
use crate::header::accept_encoding::Coding;
use crate::header::{first_line, vary};

/// The invalidation clock as it stood before the inner service was called.
///
/// Whatever is built from a stored response inherits its fence, whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fence {
    /// The life of the shared clock in which it was read; clocks of two lives do not compare. 0 in
    /// memory alone, and before the shared clock was first seen.
    pub(crate) epoch: u64,
    pub(crate) clock: u64,
    /// When this process began the call, in its own monotonic milliseconds; 0 for what another
    /// process made.
    pub(crate) begun: u64,
}

impl Fence {
    /// Whether this was read later than `other`, of the same life of the clock.
    pub(crate) const fn is_newer_than(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.clock > other.clock
    }
}

/// When a response was made and how long it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the response arrived.
    pub(crate) response_time: Timestamp,
    /// The arrival, minus the age the response had then: its age is counted from here.
    pub(crate) born: Timestamp,
    /// The end of the freshness lifetime.
    pub(crate) fresh_until: Timestamp,
    /// How long after that it may answer while a refresh runs (RFC 5861 §3).
    pub(crate) stale_while_revalidate: Duration,
    /// How long after that it may answer when the inner service fails (RFC 5861 §4).
    pub(crate) stale_if_error: Duration,
}

impl Times {
    /// Cuts them to what another response was stored for, so that nothing holds for longer by being
    /// confirmed.
    pub(crate) fn end_with(&mut self, before: &Self) {
        let lifetime = before.fresh_until.since(before.born);
        self.fresh_until = self.fresh_until.min(self.born.plus(lifetime));
        let swr = self
            .stale_while_revalidate
            .min(before.stale_while_revalidate);
        self.stale_while_revalidate = swr;
        self.stale_if_error = self.stale_if_error.min(before.stale_if_error);
    }

    /// Whether it answers nobody who waits for it: stale when it came, and not to be used meanwhile.
    pub(crate) fn is_stale_on_arrival(&self) -> bool {
        self.fresh_until <= self.response_time && self.stale_while_revalidate.is_zero()
    }

    /// Whether it has to be validated before each use: nobody can be answered with it meanwhile.
    pub(crate) fn is_never_used_as_it_is(&self) -> bool {
        self.is_stale_on_arrival() && self.stale_if_error.is_zero()
    }
}

/// One field that selects a variant: its name and the request's normalised value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaryField {
    pub(crate) name: HeaderName,
    pub(crate) value: Option<Box<[u8]>>,
}

/// Fields that several responses have alike.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) whole: Outline,
    /// Those of them that a 304 has too.
    pub(crate) not_modified: Outline,
    /// Whether the first place is that of a well-formed `ETag`.
    pub(crate) has_etag: bool,
}

/// RequestFields, and places for `Age`, for `Cache-Status` and for the first lines of a response's own.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) map: HeaderMap,
    /// For each of these lines, whether it has its place here.
    pub(crate) places: Box<[bool]>,
}

/// All that is known of a response before its body has ended.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// The fields that other responses have alike.
    pub(crate) common: &'static Common,
    /// The fields that are this response's own.
    pub(crate) lines: Vec<(HeaderName, HeaderValue)>,
    pub(crate) vary: Vec<VaryField>,
    /// Implicit tags, then explicit ones.
    pub(crate) tags: Vec<TagHash>,
    pub(crate) implicit: u8,
    pub(crate) fence: Fence,
    pub(crate) times: Times,
}

/// A complete response as a tier keeps it.
#[derive(Debug)]
pub(crate) struct StoredResponse {
    buffer: Bytes,
    key: Range<u32>,
    body: Range<u32>,
    common: &'static Common,
    lines: Box<[(HeaderName, HeaderValue)]>,
    vary: Box<[VaryField]>,
    tags: Box<[TagHash]>,
    fence: Fence,
    times: Times,
    status: StatusCode,
    implicit: u8,
    /// The same content in the codings that clients asked for. They answer where this response may,
    /// and go where it goes.
    #[cfg(feature = "compress")]
    forms: Box<[Form]>,
    /// Whether it is one that is encoded, once somebody asked.
    #[cfg(feature = "compress")]
    suits: OnceLock<bool>,
}

/// A stored response in a coding.
#[cfg(feature = "compress")]
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) coding: Coding,
    /// `None` where the coding saves nothing, or what it makes has no room.
    pub(crate) response: Option<Arc<StoredResponse>>,
}

impl StoredResponse {
    /// Copies key, values and body into one buffer. `None` beyond 4 GiB.
    pub(crate) fn assemble(key: &[u8], head: Head, body: &[Bytes]) -> Option<Self> {
        let values: usize = head.lines.iter().map(|(_, value)| value.len()).sum();
        let length: usize = body.iter().map(Bytes::len).sum();
        let body_start = key.len() + values;
        let end = u32::try_from(body_start + length).ok()?;

        let mut buffer = Vec::with_capacity(body_start + length);
        buffer.extend_from_slice(key);
        for (_, value) in &head.lines {
            buffer.extend_from_slice(value.as_bytes());
        }
        body.iter()
            .for_each(|chunk| buffer.extend_from_slice(chunk));
        let buffer = Bytes::from(buffer);

        let mut start = key.len();
        let lines = head.lines.into_iter().map(|(name, value)| {
            let range = start..start + value.len();
            start = range.end;
            let shared = HeaderValue::from_maybe_shared(buffer.slice(range));
            let mut shared = shared.expect("these bytes were a field value before");
            shared.set_sensitive(value.is_sensitive());
            (name, shared)
        });
        let head = Head {
            lines: lines.collect(),
            ..head
        };
        let key = 0..u32::try_from(key.len()).ok()?;
        let body = u32::try_from(body_start).ok()?..end;
        Some(Self::of(buffer, key, body, head))
    }

    /// A response whose key and body lie in `buffer`, and whose field values share it.
    pub(crate) fn of(buffer: Bytes, key: Range<u32>, body: Range<u32>, head: Head) -> Self {
        Self {
            buffer,
            key,
            body,
            common: head.common,
            lines: head.lines.into(),
            vary: head.vary.into(),
            tags: head.tags.into(),
            fence: head.fence,
            times: head.times,
            status: head.status,
            implicit: head.implicit,
            #[cfg(feature = "compress")]
            forms: Box::default(),
            #[cfg(feature = "compress")]
            suits: OnceLock::new(),
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.buffer[self.key.start as usize..self.key.end as usize]
    }

    pub(crate) fn body(&self) -> Bytes {
        self.buffer
            .slice(self.body.start as usize..self.body.end as usize)
    }

    pub(crate) fn body_length(&self) -> u64 {
        u64::from(self.body.end - self.body.start)
    }

    /// The fields that other responses have alike.
    pub(crate) fn common(&self) -> &'static Common {
        self.common
    }

    /// The fields that are this response's own.
    pub(crate) fn lines(&self) -> &[(HeaderName, HeaderValue)] {
        &self.lines
    }

    /// The first line of a stored field.
    pub(crate) fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let mut own = self.lines.iter();
        let own = own.find(|(other, _)| other == name);
        own.map(|(_, value)| value)
            .or_else(|| first_line(name, &self.common.whole.map))
    }

    /// The entity tag, where it is one.
    pub(crate) fn etag(&self) -> Option<&HeaderValue> {
        let first = self.lines.first().filter(|_| self.common.has_etag);
        first.map(|(_, value)| value)
    }

    pub(crate) fn vary(&self) -> &[VaryField] {
        &self.vary
    }

    pub(crate) fn tags(&self) -> &[TagHash] {
        &self.tags
    }

    /// A response with other fields and other content, and else all that this one has: what reaches
    /// this one reaches that one.
    pub(crate) fn derive(
        &self,
        common: &'static Common,
        lines: Vec<(HeaderName, HeaderValue)>,
        times: Times,
        body: &[Bytes],
    ) -> Option<Self> {
        let head = Head {
            status: self.status,
            common,
            lines,
            vary: self.vary.to_vec(),
            tags: self.tags.to_vec(),
            implicit: self.implicit,
            fence: self.fence,
            times,
        };
        Self::assemble(self.key(), head, body)
    }

    /// The tags that a program gave it.
    pub(crate) fn explicit_tags(&self) -> &[TagHash] {
        &self.tags[usize::from(self.implicit)..]
    }

    /// The tags by which a tag index finds this response: that of its path, and the explicit ones.
    pub(crate) fn indexed_tags(&self) -> impl Iterator<Item = TagHash> + '_ {
        let implicit = usize::from(self.implicit);
        let path = self.tags.iter().take(implicit.min(1));
        path.chain(self.tags.iter().skip(implicit)).copied()
    }

    /// How many of the tags, from the first, are implicit ones.
    pub(crate) fn implicit(&self) -> u8 {
        self.implicit
    }

    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether this is the variant for these request fields (RFC 9111 §4.1).
    #[inline]
    pub(crate) fn is_selected_by(&self, request: &RequestFields<'_>) -> bool {
        self.vary.iter().all(|field| {
            let (first, stored) = (request.first(&field.name), field.value.as_deref());
            vary::selecting_value_matches(&field.name, first, request.all, stored)
        })
    }

    /// Whether the other is the same response, perhaps with other forms.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    /// Where its bytes lie: no other response that lives has this address.
    pub(crate) fn address(&self) -> usize {
        self.buffer.as_ptr() as usize
    }

    /// The bytes this response keeps alive, its own bookkeeping included.
    pub(crate) fn weight(&self) -> u64 {
        let vary: usize = self
            .vary
            .iter()
            .map(|f| f.value.as_deref().map_or(0, <[u8]>::len))
            .sum();
        let bytes = size_of::<Self>()
            + self.buffer.len()
            + size_of_val::<[_]>(&self.lines)
            + size_of_val::<[_]>(&self.vary)
            + size_of_val::<[_]>(&self.tags)
            + vary
            + Self::OVERHEAD;
        #[cfg(feature = "compress")]
        let bytes = bytes + self.weight_of_forms();
        bytes as u64
    }

    /// What the store's own table, the tag index and the allocator add, rounded up.
    const OVERHEAD: usize = 160;
}

#[cfg(feature = "compress")]
impl StoredResponse {
    /// What is known of this response in a coding.
    pub(crate) fn form(&self, coding: Coding) -> Option<&Form> {
        self.forms.iter().find(|form| form.coding == coding)
    }

    /// Whether it is one that is encoded; asked once.
    pub(crate) fn suits(&self, ask: impl FnOnce(&Self) -> bool) -> bool {
        *self.suits.get_or_init(|| ask(self))
    }

    /// This response with one form more. Both share their bytes.
    pub(crate) fn with_form(&self, form: Form) -> Self {
        let others = self
            .forms
            .iter()
            .filter(|other| other.coding != form.coding);
        Self {
            buffer: self.buffer.clone(),
            key: self.key.clone(),
            body: self.body.clone(),
            common: self.common,
            lines: self.lines.clone(),
            vary: self.vary.clone(),
            tags: self.tags.clone(),
            fence: self.fence,
            times: self.times,
            status: self.status,
            implicit: self.implicit,
            forms: others.cloned().chain([form.clone()]).collect(),
            suits: self.suits.clone(),
        }
    }

    fn weight_of_forms(&self) -> usize {
        let weight = |form: &Form| form.response.as_ref().map_or(0, |form| form.weight());
        let forms: u64 = self.forms.iter().map(weight).sum();
        size_of_val::<[_]>(&self.forms) + usize::try_from(forms).unwrap_or(usize::MAX / 2)
    }
}

/// The fields that select a variant, with the request's values (RFC 9111 §4.1).
pub(crate) fn selecting_fields(names: &[HeaderName], request: &HeaderMap) -> Vec<VaryField> {
    let field = |name: &HeaderName| VaryField {
        name: name.clone(),
        value: vary::selecting_value(name, request).map(Vec::into_boxed_slice),
    };
    names.iter().map(field).collect()
}
