//! One part of a representation, as a 206 brought it (RFC 9111 §3.3, §3.4).
//!
//! | stored, of 10 bytes | `Range` | answered |
//! | --- | --- | --- |
//! | `bytes 2-6/10` | `bytes=2-6`, `bytes=3-4` | that much of it |
//! | `bytes 2-6/10` | `bytes=0-4`, `bytes=3-8`, `bytes=3-`, `bytes=-2`, two ranges | not from it |
//! | `bytes 5-9/10` | `bytes=5-`, `bytes=6-99`, `bytes=-3` | that much: it reaches the end |
//! | `bytes 5-9/10`, 4 bytes long | `bytes=5-9` | the four: its first position and its length count |

use std::ops::Range;

use http::header::{self, HeaderMap, HeaderValue};

use super::range::{self, Spec};

/// Where a part says that it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    first: u64,
    last: u64,
    /// The length of the whole, where it is known.
    complete: Option<u64>,
}

impl Part {
    /// Reads `Content-Range` (RFC 9110 §14.4); `None` where there is not one part of known place.
    pub(crate) fn declared(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::CONTENT_RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        Self::read(line)
    }

    /// Reads one line of `Content-Range`.
    pub(crate) fn read(line: &HeaderValue) -> Option<Self> {
        let (unit, rest) = line.as_bytes().split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let mut halves = rest.split(|byte| *byte == b'/');
        let (place, complete, None) = (halves.next()?, halves.next()?, halves.next()) else {
            return None;
        };
        let mut ends = place.split(|byte| *byte == b'-');
        let (first, last, None) = (ends.next()?, ends.next()?, ends.next()) else {
            return None;
        };
        let (first, last) = (position(first)?, position(last)?);
        let complete = match complete {
            b"*" => None,
            digits => Some(position(digits)?),
        };
        let fits = first <= last && complete.is_none_or(|complete| last < complete);
        fits.then_some(Self {
            first,
            last,
            complete,
        })
    }

    /// What a request asks for, counted from the beginning of the stored content, whose length is
    /// `length`; `None` where that is not all here.
    ///
    /// Some origins declare one byte more than they send; then the first position and the length count.
    pub(crate) fn asked(self, request: &HeaderMap, length: u64) -> Option<Range<u64>> {
        let declared = self.last - self.first + 1;
        if length == 0 || (length != declared && length + 1 != declared) {
            return None;
        }
        let reaches_the_end = self.complete == Some(self.last + 1);
        let wanted = match range::only(request)? {
            Spec::Between(first, last) if last <= self.last || reaches_the_end => {
                first.checked_sub(self.first)?..last.saturating_add(1).saturating_sub(self.first)
            }
            Spec::From(first) if reaches_the_end => first.checked_sub(self.first)?..length,
            Spec::Last(count) if reaches_the_end && (count <= length || self.first == 0) => {
                length.saturating_sub(count)..length
            }
            _ => return None,
        };
        let wanted = wanted.start..wanted.end.min(length);
        (!wanted.is_empty()).then_some(wanted)
    }

    /// Whether content of this length is all that the part says it is.
    pub(crate) fn is_of(self, length: u64) -> bool {
        length == self.last - self.first + 1
    }

    /// Whether it is the whole.
    pub(crate) fn is_all(self) -> bool {
        self.first == 0 && self.complete == Some(self.last + 1)
    }

    /// What it and another part of the same whole come to, where nothing is missing between them
    /// (RFC 9111 §3.4).
    pub(crate) fn joined(self, other: Self) -> Option<Self> {
        let touches = self.first <= other.last + 1 && other.first <= self.last + 1;
        let of_one_whole = self.complete.is_some() && self.complete == other.complete;
        (touches && of_one_whole).then_some(Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            complete: self.complete,
        })
    }

    /// What of it lies before another part and behind it, counted from its own beginning.
    pub(crate) fn around(self, other: Self) -> [Range<u64>; 2] {
        let length = self.last - self.first + 1;
        let before = other.first.saturating_sub(self.first).min(length);
        let behind = (other.last + 1).saturating_sub(self.first).min(length);
        [0..before, behind..length]
    }

    /// `Content-Range` of all of it.
    pub(crate) fn written(self) -> HeaderValue {
        self.content_range(&(0..self.last - self.first + 1))
    }

    /// `Content-Range` of a piece of it, counted as in [`asked`](Self::asked).
    pub(crate) fn content_range(self, piece: &Range<u64>) -> HeaderValue {
        let (first, last) = (self.first + piece.start, self.first + piece.end - 1);
        let written = match self.complete {
            Some(complete) => format!("bytes {first}-{last}/{complete}"),
            None => format!("bytes {first}-{last}/*"),
        };
        HeaderValue::try_from(written).expect("letters and digits")
    }
}

fn position(digits: &[u8]) -> Option<u64> {
    // Nothing that is stored lies behind this many bytes, and no sum of two such numbers overflows.
    range::position(digits).filter(|number| !digits.is_empty() && *number < 1 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(line: &'static str) -> Option<Part> {
        Part::read(&HeaderValue::from_static(line))
    }

    #[test]
    fn parts_are_joined_where_nothing_is_missing_between_them() {
        let rows = [
            (
                "bytes 0-4/10",
                "bytes 5-9/10",
                Some("bytes 0-9/10"),
                "01234",
                "",
            ),
            (
                "bytes 5-9/10",
                "bytes 0-4/10",
                Some("bytes 0-9/10"),
                "",
                "56789",
            ),
            (
                "bytes 2-6/10",
                "bytes 5-8/10",
                Some("bytes 2-8/10"),
                "234",
                "",
            ),
            (
                "bytes 5-8/10",
                "bytes 2-6/10",
                Some("bytes 2-8/10"),
                "",
                "78",
            ),
            (
                "bytes 0-9/20",
                "bytes 3-4/20",
                Some("bytes 0-9/20"),
                "012",
                "56789",
            ),
            ("bytes 3-4/20", "bytes 0-9/20", Some("bytes 0-9/20"), "", ""),
            ("bytes 3-4/20", "bytes 3-4/20", Some("bytes 3-4/20"), "", ""),
            ("bytes 0-4/10", "bytes 6-9/10", None, "", ""),
            ("bytes 0-4/10", "bytes 5-9/11", None, "", ""),
            ("bytes 0-4/*", "bytes 5-9/*", None, "", ""),
        ];
        for (old, new, expected, before, behind) in rows {
            let (old, new) = (part(old).unwrap(), part(new).unwrap());
            let joined = old.joined(new).map(Part::written);
            assert_eq!(
                joined,
                expected.map(HeaderValue::from_static),
                "{old:?} {new:?}"
            );
            let content: String = (old.first..=old.last)
                .map(|at| (at % 10).to_string())
                .collect();
            if expected.is_some() {
                let [b, a] = old
                    .around(new)
                    .map(|range| content[range.start as usize..range.end as usize].to_owned());
                assert_eq!(
                    (b.as_str(), a.as_str()),
                    (before, behind),
                    "{old:?} {new:?}"
                );
            }
        }
        assert!(part("bytes 0-9/10").unwrap().is_all() && !part("bytes 0-8/10").unwrap().is_all());
        assert!(!part("bytes 1-9/10").unwrap().is_all() && !part("bytes 0-9/*").unwrap().is_all());
    }

    #[test]
    fn content_range_is_read_or_is_none() {
        let read = |first, last, complete| {
            Some(Part {
                first,
                last,
                complete,
            })
        };
        let rows = [
            ("bytes 0-4/10", read(0, 4, Some(10))),
            ("Bytes 5-9/10", read(5, 9, Some(10))),
            ("bytes 5-9/*", read(5, 9, None)),
            ("bytes */10", None),
            ("bytes 5-4/10", None),
            ("bytes 5-10/10", None),
            ("bytes 5-/10", None),
            ("bytes -5/10", None),
            ("bytes 0-4", None),
            ("bytes 0-4/10/2", None),
            ("bytes 0-4-5/10", None),
            ("bytes=0-4/10", None),
            ("lines 0-4/10", None),
            ("bytes 0-99999999999999999999/*", None),
            ("", None),
        ];
        for (line, expected) in rows {
            assert_eq!(part(line), expected, "{line}");
        }
        let two = ["bytes 0-4/10", "bytes 0-4/10"].map(HeaderValue::from_static);
        let mut headers = HeaderMap::new();
        for line in two {
            headers.append(header::CONTENT_RANGE, line);
        }
        assert_eq!(Part::declared(&headers), None);
    }

    /// RFC 9111 §3.3, RFC 9110 §14.1.2.
    #[test]
    fn a_part_answers_what_lies_within_it() {
        let rows = [
            ("bytes 2-6/10", 5, "bytes=2-6", Some((0..5, "bytes 2-6/10"))),
            ("bytes 2-6/10", 5, "bytes=3-4", Some((1..3, "bytes 3-4/10"))),
            ("bytes 2-6/*", 5, "bytes=6-6", Some((4..5, "bytes 6-6/*"))),
            ("bytes 2-6/10", 5, "bytes=0-4", None),
            ("bytes 2-6/10", 5, "bytes=3-8", None),
            ("bytes 2-6/10", 5, "bytes=3-", None),
            ("bytes 2-6/10", 5, "bytes=-2", None),
            ("bytes 2-6/10", 5, "bytes=7-8", None),
            ("bytes 2-6/10", 5, "bytes=2-2, 4-4", None),
            ("bytes 2-6/10", 5, "lines=2-6", None),
            ("bytes 2-6/*", 5, "bytes=2-", None),
            ("bytes 5-9/10", 5, "bytes=5-", Some((0..5, "bytes 5-9/10"))),
            (
                "bytes 5-9/10",
                5,
                "bytes=6-99",
                Some((1..5, "bytes 6-9/10")),
            ),
            ("bytes 5-9/10", 5, "bytes=-3", Some((2..5, "bytes 7-9/10"))),
            ("bytes 5-9/10", 5, "bytes=-6", None),
            ("bytes 5-9/10", 5, "bytes=-0", None),
            ("bytes 5-9/10", 5, "bytes=10-", None),
            (
                "bytes 0-9/10",
                10,
                "bytes=-99",
                Some((0..10, "bytes 0-9/10")),
            ),
            // One byte less than it says.
            ("bytes 5-9/10", 4, "bytes=5-9", Some((0..4, "bytes 5-8/10"))),
            ("bytes 5-9/10", 4, "bytes=-1", Some((3..4, "bytes 8-8/10"))),
            ("bytes 5-9/10", 3, "bytes=5-9", None),
            ("bytes 5-9/10", 6, "bytes=5-9", None),
            ("bytes 5-5/10", 0, "bytes=5-5", None),
        ];
        for (line, length, asked, expected) in rows {
            let part = part(line).unwrap();
            let mut request = HeaderMap::new();
            request.insert(header::RANGE, HeaderValue::from_static(asked));
            let piece = part.asked(&request, length);
            let found = piece.map(|piece| (piece.clone(), part.content_range(&piece)));
            let expected = expected.map(|(piece, line)| (piece, HeaderValue::from_static(line)));
            assert_eq!(found, expected, "{line} of {length}, {asked}");
        }
    }
}
