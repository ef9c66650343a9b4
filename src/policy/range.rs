//! Cutting parts out of a representation (RFC 9110 §14).
//!
//! | `Range`, of 10 bytes | answer |
//! | --- | --- |
//! | `bytes=0-4`, `bytes=5-`, `bytes=-3`, `bytes=8-99` | 206 with that part, as far as there is one |
//! | `bytes=0-1, 5-6` | 206 with two parts; parts that overlap or touch become one |
//! | `bytes=10-`, `bytes=-0` | 416 |
//! | another unit, a malformed value, two lines, more than [`MOST`] ranges | 200 with the whole |

use std::ops::Range;

use http::header::{self, HeaderMap, HeaderValue};

use crate::header::list;

/// How many ranges one request may ask for. With more, it gets the whole (RFC 9110 §14.2).
pub(crate) const MOST: usize = 16;

/// Parts closer than this are sent as one: the head of a part is about as long (RFC 9110 §15.3.7.2).
const GAP: u64 = 80;

/// What of a representation a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Whole,
    /// One part or more, none of them empty, no two of them overlapping.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there.
    Nothing,
}

/// One range as it was written (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// Both ends are part of it.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

/// What `Range` asks of a representation of this length.
pub(crate) fn asked(request: &HeaderMap, length: u64) -> Asked {
    let mut lines = request.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Asked::Whole;
    };
    let Some(specs) = parse(line.as_bytes()) else {
        return Asked::Whole;
    };
    // The last bytes of nothing are nothing, which no 206 can say.
    if length == 0 && specs.iter().any(|spec| matches!(spec, Spec::Last(1..))) {
        return Asked::Whole;
    }
    let parts: Vec<_> = specs
        .iter()
        .filter_map(|spec| spec.within(length))
        .collect();
    match parts.len() {
        0 => Asked::Nothing,
        1 => Asked::Parts(parts),
        _ => Asked::Parts(apart(parts)),
    }
}

/// The one range that a request asks for, where it is one.
pub(crate) fn only(request: &HeaderMap) -> Option<Spec> {
    let mut lines = request.get_all(header::RANGE).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    match parse(line.as_bytes())?.as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

/// Whether a `Range` counts in bytes, the one unit known here.
pub(crate) fn is_in_bytes(request: &HeaderMap) -> bool {
    let mut lines = request.get_all(header::RANGE).iter();
    let unit = |line: &HeaderValue| {
        let unit = line.as_bytes().split(|byte| *byte == b'=').next();
        unit.is_some_and(|unit| unit.trim_ascii_start().eq_ignore_ascii_case(b"bytes"))
    };
    lines.next().is_some_and(unit) && lines.next().is_none()
}

/// The ranges of a `Range` field in bytes; `None` where it is to be ignored.
fn parse(value: &[u8]) -> Option<Vec<Spec>> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = value.split_at(equals);
    if !unit.trim_ascii_start().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for member in list::members(&set[1..]) {
        if specs.len() == MOST {
            return None;
        }
        specs.push(Spec::parse(member)?);
    }
    (!specs.is_empty()).then_some(specs)
}

impl Spec {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&member[..dash], &member[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (false, false) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
            (false, true) => position(first).map(Self::From),
            (true, false) => position(last).map(Self::Last),
            (true, true) => None,
        }
    }

    /// The part of a representation of this length, if there is any.
    fn within(self, length: u64) -> Option<Range<u64>> {
        let part = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        (!part.is_empty()).then_some(part)
    }
}

/// Digits as a number; beyond all numbers is beyond all bodies.
pub(super) fn position(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// The parts in the order asked for, unless some overlap or nearly touch: then in their own order,
/// with those made one.
fn apart(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_unstable_by_key(|part| part.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match joined.last_mut() {
            Some(before) if part.start <= before.end.saturating_add(GAP) => {
                before.end = before.end.max(part.end);
            }
            _ => joined.push(part),
        }
    }
    if joined.len() == parts.len() {
        return parts;
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(length: u64, lines: &[&str]) -> Asked {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::RANGE, HeaderValue::from_str(line).unwrap());
        }
        asked(&headers, length)
    }

    #[test]
    fn single_ranges_are_cut_to_what_is_there() {
        let rows = [
            ("bytes=0-4", Some(0..5)),
            ("bytes=9-9", Some(9..10)),
            ("bytes=5-", Some(5..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=8-99", Some(8..10)),
            ("bytes=8-99999999999999999999999", Some(8..10)),
            ("BYTES=0-0", Some(0..1)),
            ("bytes= 0-0 ,", Some(0..1)),
            ("bytes=10-", None),
            ("bytes=10-12", None),
            ("bytes=99999999999999999999999-", None),
            ("bytes=-0", None),
        ];
        for (line, expected) in rows {
            let expected = expected.map_or(Asked::Nothing, |part| Asked::Parts(vec![part]));
            assert_eq!(of(10, &[line]), expected, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_asks_for_the_whole() {
        for line in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-4x",
            "bytes=0--4",
            "bytes=+1-2",
            "bytes=0-4, x",
            "bytes 0-4",
            "lines=0-4",
            "bytes=0 - 4",
            "bytes =0-4",
            "0-4",
        ] {
            assert_eq!(of(10, &[line]), Asked::Whole, "{line}");
        }
        assert_eq!(of(10, &["bytes=0-1", "bytes=2-3"]), Asked::Whole);
        assert_eq!(of(10, &[]), Asked::Whole);
    }

    #[test]
    fn of_nothing_there_is_no_part() {
        assert_eq!(of(0, &["bytes=0-"]), Asked::Nothing);
        assert_eq!(of(0, &["bytes=-1"]), Asked::Whole);
        assert_eq!(of(0, &["bytes=-0"]), Asked::Nothing);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "a list of one part")]
    fn several_ranges_keep_their_order_unless_they_overlap_or_nearly_touch() {
        let rows: [(&str, &[Range<u64>]); 6] = [
            ("bytes=0-9, 500-509", &[0..10, 500..510]),
            ("bytes=500-509, 0-9", &[500..510, 0..10]),
            ("bytes=500-509, 0-9, 5-20", &[0..21, 500..510]),
            ("bytes=0-9, 10-19", &[0..20]),
            ("bytes=0-9, 90-99, -10", &[0..100, 990..1000]),
            ("bytes=0-9, 2000-", &[0..10]),
        ];
        for (line, expected) in rows {
            assert_eq!(of(1000, &[line]), Asked::Parts(expected.to_vec()), "{line}");
        }
    }

    #[test]
    fn more_ranges_than_the_limit_ask_for_the_whole() {
        let many = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
            format!("bytes={}", ranges.join(","))
        };
        let most = MOST as u64;
        assert!(matches!(of(1 << 20, &[&many(most)]), Asked::Parts(parts) if parts.len() == MOST));
        assert_eq!(of(1 << 20, &[&many(most + 1)]), Asked::Whole);
    }

    proptest! {
        #[test]
        fn any_bytes_ask_for_parts_that_are_there_and_not_for_many(
            lines in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "(bytes|BYTES|lines)?=?[0-9 ,-]{0,60}".prop_map(String::into_bytes),
                    (1..40_u64, 0..200_u64).prop_map(|(count, apart)| {
                        let range = |n| format!("{0}-{0}", n * apart);
                        let ranges: Vec<_> = (0..count).map(range).collect();
                        format!("bytes={}", ranges.join(",")).into_bytes()
                    }),
                ],
                0..3,
            ),
            length: u64,
        ) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                if let Ok(line) = HeaderValue::from_bytes(line) {
                    headers.append(header::RANGE, line);
                }
            }
            is_in_bytes(&headers);
            if let Asked::Parts(parts) = asked(&headers, length) {
                prop_assert!((1..=MOST).contains(&parts.len()));
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(is_in_bytes(&headers));
            }
        }

        #[test]
        fn parts_lie_within_the_body_and_cover_exactly_what_was_asked_for_or_a_little_more(
            specs in prop::collection::vec((0_u64..600, 0_u64..600), 1..8),
            length in 0_u64..500,
        ) {
            let ranges: Vec<_> = specs
                .iter()
                .map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)))
                .collect();
            let wanted = |at: u64| specs.iter().any(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&at));
            match of(length, &[&format!("bytes={}", ranges.join(","))]) {
                Asked::Parts(parts) => {
                    for (n, part) in parts.iter().enumerate() {
                        prop_assert!(!part.is_empty() && part.end <= length);
                        prop_assert!(wanted(part.start) && wanted(part.end - 1));
                        for other in &parts[..n] {
                            prop_assert!(part.end <= other.start || other.end <= part.start);
                        }
                    }
                    for at in (0..length).filter(|at| wanted(*at)) {
                        prop_assert!(parts.iter().any(|part| part.contains(&at)));
                    }
                }
                asked => {
                    prop_assert_eq!(asked, Asked::Nothing);
                    prop_assert!(!(0..length).any(wanted));
                }
            }
        }
    }
}
