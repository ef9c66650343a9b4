//! The content of an envelope: a stored response as bytes, and back.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::StatusCode;

use super::Odd;
use crate::clock::{millis, Timestamp};
use crate::policy::stored::{Fence, Head, StoredResponse, Times, VaryField};
use crate::policy::tag::TagHash;
use crate::store::interned;

/// The part of fixed length: seven numbers, status, count of implicit tags, three counts, two lengths.
const FIXED: usize = 7 * 8 + 2 + 1 + 3 * 2 + 2 * 4;
/// The least that a vary field and a field line take, so that a count can be held against what is there.
const LEAST_VARY: usize = 2 + 1 + 4;
const LEAST_LINE: usize = 1 + 2 + 4;

const SENSITIVE: u8 = 1;

/// The bytes that [`write`] will add.
pub(super) fn length(stored: &StoredResponse) -> usize {
    let vary = stored.vary().iter().map(|field| {
        LEAST_VARY + field.name.as_str().len() + field.value.as_deref().map_or(0, <[u8]>::len)
    });
    let lines = lines(stored).map(|(name, value)| LEAST_LINE + name.as_str().len() + value.len());
    let body = usize::try_from(stored.body_length()).unwrap_or(0);
    FIXED
        + 8 * stored.tags().len()
        + vary.sum::<usize>()
        + lines.sum::<usize>()
        + stored.key().len()
        + body
}

fn lines(stored: &StoredResponse) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let own = stored.lines().iter().map(|(name, value)| (name, value));
    interned::lines(stored.common()).chain(own)
}

/// Appends the content to `out`; `None` when a count or a length is beyond its field.
pub(super) fn write(stored: &StoredResponse, out: &mut Vec<u8>) -> Option<()> {
    let (fence, times) = (stored.fence(), stored.times());
    for number in [
        fence.epoch,
        fence.clock,
        times.response_time.as_millis(),
        times.born.as_millis(),
        times.fresh_until.as_millis(),
        millis(times.stale_while_revalidate),
        millis(times.stale_if_error),
    ] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&stored.status().as_u16().to_be_bytes());
    out.push(stored.implicit());
    for count in [
        stored.tags().len(),
        stored.vary().len(),
        lines(stored).count(),
    ] {
        out.extend_from_slice(&u16::try_from(count).ok()?.to_be_bytes());
    }
    let body = stored.body();
    for length in [stored.key().len(), body.len()] {
        out.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
    }
    for tag in stored.tags() {
        out.extend_from_slice(&tag.0.to_be_bytes());
    }
    for field in stored.vary() {
        write_name(&field.name, out)?;
        out.push(u8::from(field.value.is_some()));
        write_value(field.value.as_deref().unwrap_or_default(), out)?;
    }
    for (name, value) in lines(stored) {
        out.push(if value.is_sensitive() { SENSITIVE } else { 0 });
        write_name(name, out)?;
        write_value(value.as_bytes(), out)?;
    }
    out.extend_from_slice(stored.key());
    out.extend_from_slice(&body);
    Some(())
}

fn write_name(name: &HeaderName, out: &mut Vec<u8>) -> Option<()> {
    let name = name.as_str().as_bytes();
    out.extend_from_slice(&u16::try_from(name.len()).ok()?.to_be_bytes());
    out.extend_from_slice(name);
    Some(())
}

fn write_value(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
    out.extend_from_slice(value);
    Some(())
}

/// Reads the content that begins at `start`, if it is for `key`.
pub(super) fn read(buffer: Bytes, start: usize, key: &[u8]) -> Result<StoredResponse, Odd> {
    let mut reader = Reader {
        buffer: &buffer,
        at: start,
    };
    let (head, key_at, body_at) = reader.content().ok_or(Odd::Malformed)?;
    if &buffer[key_at.clone()] != key {
        return Err(Odd::OtherKey);
    }
    let narrow = |range: Range<usize>| {
        let start = u32::try_from(range.start).map_err(|_| Odd::Malformed)?;
        let end = u32::try_from(range.end).map_err(|_| Odd::Malformed)?;
        Ok(start..end)
    };
    let (key_at, body_at) = (narrow(key_at)?, narrow(body_at)?);
    Ok(StoredResponse::of(buffer, key_at, body_at, head))
}

/// Takes one thing after another from a buffer; `None` as soon as one is not there.
struct Reader<'a> {
    buffer: &'a Bytes,
    at: usize,
}

/// What the counts and lengths at the front announce.
struct Counts {
    tags: usize,
    vary: usize,
    lines: usize,
    key: usize,
    body: usize,
}

impl Reader<'_> {
    fn content(&mut self) -> Option<(Head, Range<usize>, Range<usize>)> {
        let fence = Fence {
            epoch: self.u64()?,
            clock: self.u64()?,
            begun: 0,
        };
        let times = Times {
            response_time: Timestamp::from_millis(self.u64()?),
            born: Timestamp::from_millis(self.u64()?),
            fresh_until: Timestamp::from_millis(self.u64()?),
            stale_while_revalidate: Duration::from_millis(self.u64()?),
            stale_if_error: Duration::from_millis(self.u64()?),
        };
        let status = StatusCode::from_u16(u16::from_be_bytes(self.array()?)).ok()?;
        let [implicit] = self.array()?;
        let counts = self.counts()?;
        if usize::from(implicit) > counts.tags {
            return None;
        }
        let tags = (0..counts.tags)
            .map(|_| self.u64().map(TagHash))
            .collect::<Option<_>>()?;
        let vary = (0..counts.vary)
            .map(|_| self.vary_field())
            .collect::<Option<_>>()?;
        let lines: Vec<_> = (0..counts.lines)
            .map(|_| self.line())
            .collect::<Option<_>>()?;
        let key = self.range(counts.key)?;
        let body = self.range(counts.body)?;
        if self.at != self.buffer.len() {
            return None;
        }
        let (common, lines) = interned::split(lines.into_iter());
        let head = Head {
            status,
            common,
            lines,
            vary,
            tags,
            implicit,
            fence,
            times,
        };
        Some((head, key, body))
    }

    /// The counts, held against the bytes that are left before anything is allocated for them.
    fn counts(&mut self) -> Option<Counts> {
        let mut count = || Some(usize::from(u16::from_be_bytes(self.array()?)));
        let (tags, vary, lines) = (count()?, count()?, count()?);
        let mut length = || usize::try_from(u32::from_be_bytes(self.array()?)).ok();
        let (key, body) = (length()?, length()?);
        let least = (8 * tags + LEAST_VARY * vary + LEAST_LINE * lines)
            .checked_add(key)?
            .checked_add(body)?;
        (least <= self.buffer.len() - self.at).then_some(Counts {
            tags,
            vary,
            lines,
            key,
            body,
        })
    }

    fn vary_field(&mut self) -> Option<VaryField> {
        let name = self.name()?;
        let [present] = self.array()?;
        let value = self.sized()?;
        let value = match present {
            1 => Some(self.buffer[value].into()),
            0 if value.is_empty() => None,
            _ => return None,
        };
        Some(VaryField { name, value })
    }

    fn line(&mut self) -> Option<(HeaderName, HeaderValue)> {
        let [flags] = self.array()?;
        if flags & !SENSITIVE != 0 {
            return None;
        }
        let name = self.name()?;
        let value = self.sized()?;
        let mut value = HeaderValue::from_maybe_shared(self.buffer.slice(value)).ok()?;
        value.set_sensitive(flags & SENSITIVE != 0);
        Some((name, value))
    }

    fn name(&mut self) -> Option<HeaderName> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let name = self.range(length)?;
        HeaderName::from_lowercase(&self.buffer[name]).ok()
    }

    fn sized(&mut self) -> Option<Range<usize>> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        self.range(length)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let range = self.range(N)?;
        self.buffer[range].first_chunk().copied()
    }

    fn range(&mut self, length: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(length)?;
        let range = self.at..end;
        self.buffer.get(range.clone())?;
        self.at = end;
        Some(range)
    }
}
