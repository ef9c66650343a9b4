//! What an upstream says of its limit.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::clock::Timestamp;
use crate::header::date;
use crate::header::structured::{parse_list, BareItem, Item, Member};

/// What a 429 means that does not say how long.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What an upstream wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It did not answer, and does not want to be called for so long.
    Pause(Duration),
    /// It answered, and has nothing left: what is saved here is not there.
    NothingLeft,
}

/// What an upstream wants. `None` where it does not mind being called.
///
/// | it says | |
/// | --- | --- |
/// | 429 or 503 with `Retry-After` (RFC 9110 §10.2.3) | a pause, as it says |
/// | 429 or 503 with `RateLimit: ..;r=0;t=30` | a pause of `t` seconds |
/// | 429 without either | a pause of a second |
/// | any other answer with `RateLimit: ..;r=0;t=30` | nothing is left |
///
/// In an answer, `t` may be the time until all is there again, long after there is enough for one more call.
pub(super) fn told(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Told> {
    let moment = match status {
        StatusCode::TOO_MANY_REQUESTS => Some(A_MOMENT),
        StatusCode::SERVICE_UNAVAILABLE => None,
        _ => return exhausted(headers).map(|_| Told::NothingLeft),
    };
    let pause = retry_after(headers, now).max(exhausted(headers));
    pause.or(moment).map(Told::Pause)
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.as_bytes();
    if let Some(seconds) = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
    {
        return Some(Duration::from_secs(seconds));
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let seconds = date::parse(value, now)?.saturating_sub(now);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The longest of the limits that have nothing left
/// (draft-ietf-httpapi-ratelimit-headers-10 §4).
fn exhausted(headers: &HeaderMap) -> Option<Duration> {
    let members = parse_list(headers.get_all("ratelimit"))?;
    let empty = members.iter().filter_map(|member| match member {
        Member::Item(item) => until_full(item),
        Member::InnerList(..) => None,
    });
    empty.max()
}

fn until_full(limit: &Item) -> Option<Duration> {
    let number = |name: &str| {
        let (_, value) = limit.params.iter().find(|(key, _)| key == name)?;
        match value {
            BareItem::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    };
    match number("r")? {
        0 => number("t").map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_upstream_is_believed_when_it_says_how_long() {
        let now = Timestamp::from_millis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let second = |n: u64| Some(Told::Pause(Duration::from_secs(n)));
        let table: &[(u16, &[(&str, &str)], Option<Told>)] = &[
            (200, &[], None),
            (200, &[("retry-after", "9")], None),
            (503, &[], None),
            (503, &[("retry-after", "9")], second(9)),
            (429, &[], second(1)),
            (429, &[("retry-after", "0")], second(0)),
            (429, &[("retry-after", "120")], second(120)),
            (429, &[("retry-after", "soon")], second(1)),
            (
                429,
                &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")],
                second(60),
            ),
            (
                429,
                &[("retry-after", "Sun, 06 Nov 1994 08:40:37 GMT")],
                second(0),
            ),
            (
                200,
                &[("ratelimit", "\"a\";r=0;t=30")],
                Some(Told::NothingLeft),
            ),
            (
                404,
                &[("ratelimit", "\"a\";r=0;t=30"), ("retry-after", "9")],
                Some(Told::NothingLeft),
            ),
            (503, &[("ratelimit", "\"a\";r=0;t=30")], second(30)),
            (200, &[("ratelimit", "\"a\";r=1;t=30")], None),
            (200, &[("ratelimit", "\"a\";r=0")], None),
            (
                429,
                &[
                    ("ratelimit", "\"a\";r=0;t=3"),
                    ("ratelimit", "\"b\";r=0;t=7"),
                ],
                second(7),
            ),
            (
                429,
                &[("ratelimit", "\"a\";r=0;t=30"), ("retry-after", "9")],
                second(30),
            ),
            (429, &[("ratelimit", "limit=5, remaining=0")], second(1)),
        ];
        for (status, fields, expected) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                let name = HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_static(value));
            }
            let status = StatusCode::from_u16(*status).unwrap();
            assert_eq!(
                told(status, &headers, now),
                *expected,
                "{status} {fields:?}"
            );
        }
    }
}
