//! Freshness lifetime and age (RFC 9111 §4.2).

use std::time::Duration;

use http::header::{self, HeaderMap};

use super::profile::Audience;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::header::{date, targeted};

/// What a response says about its own storing and lifetime.
#[derive(Clone, Debug)]
pub(crate) struct Directives {
    /// The field that rules: `CDN-Cache-Control` when valid, else `Cache-Control` (RFC 9213 §2.2).
    pub(crate) ruling: CacheControl,
    /// `Cache-Control` as it stands.
    pub(crate) plain: CacheControl,
    targeted: bool,
}

impl Directives {
    pub(crate) fn read(audience: Audience, headers: &HeaderMap) -> Self {
        let plain = CacheControl::parse(headers.get_all(header::CACHE_CONTROL));
        if audience == Audience::OneUser {
            return Self::for_one_user(plain);
        }
        let mut lines = headers.get_all("cdn-cache-control").iter().peekable();
        let ruling = lines
            .peek()
            .is_some()
            .then(|| targeted::parse(lines))
            .flatten();
        Self {
            targeted: ruling.is_some(),
            ruling: ruling.unwrap_or_else(|| plain.clone()),
            plain,
        }
    }

    /// Without what is said to shared caches alone (RFC 9111 §5.2.2.7, §5.2.2.8, §5.2.2.10; RFC 9213 §3.1).
    fn for_one_user(plain: CacheControl) -> Self {
        let plain = CacheControl {
            private: None,
            proxy_revalidate: false,
            s_maxage: None,
            ..plain
        };
        Self {
            ruling: plain.clone(),
            plain,
            targeted: false,
        }
    }

    /// The explicit freshness lifetime of a response for this cache (RFC 9111 §4.2.1).
    pub(crate) fn lifetime(&self, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
        let seconds = self.ruling.s_maxage.or(self.ruling.max_age);
        if let Some(seconds) = seconds {
            return Some(Duration::from_secs(seconds));
        }
        if self.targeted {
            return None; // a targeted field overrides Expires too
        }
        expires(headers, now)
    }

    /// Whether stale responses may never be used without validation (RFC 9111 §5.2.2).
    pub(crate) fn forbids_stale(&self) -> bool {
        let ruling = &self.ruling;
        ruling.must_revalidate
            || ruling.proxy_revalidate
            || ruling.s_maxage.is_some()
            || ruling.no_cache.is_some()
    }
}

/// The lifetime by `Expires` minus `Date`; anything that is not one valid date has expired already.
fn expires(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let mut lines = headers.get_all(header::EXPIRES).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return Some(Duration::ZERO);
    }
    let unix_now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let expires = date::parse(line.as_bytes(), unix_now);
    let date = date_of(headers, unix_now).unwrap_or(unix_now);
    let seconds = expires.map_or(0, |expires| expires.saturating_sub(date));
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn date_of(headers: &HeaderMap, unix_now: i64) -> Option<i64> {
    date::parse(headers.get(header::DATE)?.as_bytes(), unix_now)
}

/// The lifetime of a response that names none: a tenth of the time since it was last modified, at most a
/// day (RFC 9111 §4.2.2).
pub(crate) fn heuristic(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    const MOST: u64 = 24 * 60 * 60;
    let unix_now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let modified = headers.get(header::LAST_MODIFIED)?.as_bytes();
    let modified = date::parse(modified, unix_now)?;
    let date = date_of(headers, unix_now).unwrap_or(unix_now);
    let unchanged = u64::try_from(date.saturating_sub(modified)).ok()?;
    Some(Duration::from_secs((unchanged / 10).min(MOST)))
}

/// The age a response had when it arrived (RFC 9111 §4.2.3): the larger of what `Age` says plus
/// the time the exchange took, and the time since `Date`.
pub(crate) fn initial_age(
    headers: &HeaderMap,
    request_time: Timestamp,
    response_time: Timestamp,
) -> Duration {
    let unix_now = i64::try_from(response_time.as_secs()).unwrap_or(i64::MAX);
    let apparent = date_of(headers, unix_now)
        .and_then(|date| u64::try_from(unix_now.saturating_sub(date)).ok())
        .map_or(Duration::ZERO, Duration::from_secs);
    // Without `Age` the response may still be as old as its request.
    let age = age_field(headers).unwrap_or_default();
    apparent.max(age + response_time.since(request_time))
}

/// The first member of the first `Age` line; not a number means absent (RFC 9111 §5.1).
fn age_field(headers: &HeaderMap) -> Option<Duration> {
    let line = headers.get(header::AGE)?.as_bytes();
    let first = line.split(|byte| *byte == b',').next()?.trim_ascii();
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let limit = 1u64 << 31;
    let seconds = first.iter().fold(0u64, |seconds, digit| {
        (seconds * 10 + u64::from(digit - b'0')).min(limit)
    });
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000); // Thu, 01 Jan 2026 00:00:00 GMT

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, header::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_lifetime_is_taken_from_the_most_specific_field() {
        type Row = (&'static [(&'static str, &'static str)], Option<u64>);
        let rows: [Row; 12] = [
            (&[], None),
            (&[("cache-control", "max-age=60")], Some(60)),
            (&[("cache-control", "max-age=60, s-maxage=10")], Some(10)),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("cdn-cache-control", "max-age=5"),
                ],
                Some(5),
            ),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("cdn-cache-control", "max-age=5;;"),
                ],
                Some(60),
            ),
            (&[("cache-control", "max-age=sixty")], Some(0)),
            (
                &[
                    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
                    ("expires", "Thu, 01 Jan 2026 00:01:40 GMT"),
                ],
                Some(100),
            ),
            (&[("expires", "Thu, 01 Jan 2026 00:00:30 GMT")], Some(30)),
            (&[("expires", "0")], Some(0)),
            (
                &[
                    ("expires", "Thu, 01 Jan 2026 00:00:30 GMT"),
                    ("expires", "Thu, 01 Jan 2026 00:00:30 GMT"),
                ],
                Some(0),
            ),
            (
                &[
                    ("cdn-cache-control", "public"),
                    ("expires", "Thu, 01 Jan 2026 00:00:30 GMT"),
                ],
                None,
            ),
            (
                &[
                    ("cache-control", "max-age=7"),
                    ("expires", "Thu, 01 Jan 2026 00:00:30 GMT"),
                ],
                Some(7),
            ),
        ];
        for (fields, expected) in rows {
            let headers = headers(fields);
            let lifetime = Directives::read(Audience::Everybody, &headers).lifetime(&headers, NOW);
            assert_eq!(lifetime, expected.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn the_initial_age_is_the_larger_of_what_age_and_date_say() {
        let rows: [(&[(&str, &str)], u64); 8] = [
            (&[], 2),
            (&[("age", "10")], 12),
            (&[("age", "10, 99")], 12),
            (&[("age", "10"), ("age", "99")], 12),
            (&[("age", "-1")], 2),
            (&[("age", "18446744073709551615")], (1 << 31) + 2),
            (&[("date", "Wed, 31 Dec 2025 23:59:00 GMT")], 62),
            (
                &[("date", "Wed, 31 Dec 2025 23:59:00 GMT"), ("age", "100")],
                102,
            ),
        ];
        for (fields, expected) in rows {
            let age = initial_age(&headers(fields), NOW, NOW.plus(Duration::from_secs(2)));
            assert_eq!(age, Duration::from_secs(expected), "{fields:?}");
        }
    }
}
