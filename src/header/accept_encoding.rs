//! `Accept-Encoding`, and the content codings it names.
//!
//! What cannot be read is taken as a refusal: an answer without a coding is right for everybody, a
//! coding that a client did not ask for is not. Of a coding named twice the smaller weight counts.

use http::header::ACCEPT_ENCODING;
use http::HeaderMap;

use super::list;

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// Every coding there is, with or without the feature that makes it.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The token that stands in `Content-Encoding` (RFC 9110 §8.4).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The coding of this token, in any case; `x-gzip` is `gzip` (RFC 9110 §8.4.1.3).
    pub(crate) fn of(token: &[u8]) -> Option<Self> {
        let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        match token.len() {
            2 if is("br") => Some(Self::Brotli),
            4 if is("gzip") => Some(Self::Gzip),
            4 if is("zstd") => Some(Self::Zstd),
            6 if is("x-gzip") => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// In thousandths, 0 to 1000 (RFC 9110 §12.4.2).
type Weight = u16;

/// What a request says of content codings (RFC 9110 §12.5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AcceptEncoding {
    /// By [`Coding`]; `None` where it is not named.
    codings: [Option<Weight>; 3],
    identity: Option<Weight>,
    /// That of `*`.
    others: Option<Weight>,
}

impl AcceptEncoding {
    /// Reads all lines as one list. A request without the field accepts no coding here: it may mean
    /// any, and in practice is sent by clients that decode none.
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for line in headers.get_all(ACCEPT_ENCODING) {
            accepted.read(line.as_bytes());
        }
        accepted
    }

    /// Reads one line more.
    pub(crate) fn read(&mut self, line: &[u8]) {
        for member in list::members(line) {
            let (token, weight) = match member.iter().position(|byte| *byte == b';') {
                None => (member, Some(1000)),
                Some(at) => {
                    let token = member[..at].trim_ascii_end();
                    (token, weight(&member[at + 1..]))
                }
            };
            let place = match Coding::of(token) {
                Some(coding) => {
                    let place = &mut self.codings[coding as usize];
                    note(place, weight.unwrap_or(0));
                    continue;
                }
                None if token == b"*" => &mut self.others,
                None if token.eq_ignore_ascii_case(b"identity") => &mut self.identity,
                None => continue,
            };
            // Unreadable, these refuse nothing: that would leave no answer at all.
            if let Some(weight) = weight {
                note(place, weight);
            }
        }
    }

    /// How much a coding is wanted; 0 if it is not.
    pub(crate) fn weight(&self, coding: Coding) -> Weight {
        let named = self.codings[coding as usize];
        named.or(self.others).unwrap_or(0)
    }

    /// How much an answer without a coding is wanted. Where nothing is said of it, it will do, and
    /// every coding that is wanted comes before it.
    pub(crate) fn identity(&self) -> Weight {
        self.identity.or(self.others).unwrap_or(1)
    }
}

fn note(place: &mut Option<Weight>, weight: Weight) {
    *place = Some(place.map_or(weight, |known| known.min(weight)));
}

/// The weight in a member's parameters, or `None` if that is not what they are. More digits than the
/// three that are allowed do no harm.
fn weight(parameters: &[u8]) -> Option<Weight> {
    let (name, value) = parameters.trim_ascii().split_first()?;
    let value = value.strip_prefix(b"=")?;
    if !name.eq_ignore_ascii_case(&b'q') {
        return None;
    }
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] => (*whole, fraction),
        _ => return None,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let is_more_than_none = fraction.iter().any(|digit| *digit != b'0');
    match whole {
        b'1' if is_more_than_none => None,
        b'1' => Some(1000),
        b'0' if !is_more_than_none => Some(0),
        b'0' => {
            let digit = |at: usize| u16::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
            Some((digit(0) * 100 + digit(1) * 10 + digit(2)).max(1))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn accepting(lines: &[&str]) -> AcceptEncoding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        AcceptEncoding::parse(&headers)
    }

    #[test]
    fn a_coding_has_the_weight_its_client_gave_it() {
        // The lines, and the weights of br, zstd, gzip and identity.
        let rows: &[(&[&str], [u16; 4])] = &[
            (&[], [0, 0, 0, 1]),
            (&[""], [0, 0, 0, 1]),
            (&["identity"], [0, 0, 0, 1000]),
            (&["gzip"], [0, 0, 1000, 1]),
            (&["GZip, BR"], [1000, 0, 1000, 1]),
            (&["x-gzip;q=0.5"], [0, 0, 500, 1]),
            (&["gzip, deflate, br, zstd"], [1000, 1000, 1000, 1]),
            (&["gzip", " zstd ;\tQ=0.25 "], [0, 250, 1000, 1]),
            (&[",, gzip;q=1.000,"], [0, 0, 1000, 1]),
            (&["gzip;q=0.1, gzip"], [0, 0, 100, 1]),
            (&["gzip;q=0"], [0, 0, 0, 1]),
            (&["gzip;q=0.000"], [0, 0, 0, 1]),
            (&["gzip;q=0.0001"], [0, 0, 1, 1]),
            (&["gzip;q=0.12349"], [0, 0, 123, 1]),
            (&["*"], [1000; 4]),
            (&["*;q=0"], [0; 4]),
            (&["gzip, *;q=0"], [0, 0, 1000, 0]),
            (&["identity;q=0, *;q=0.5"], [500, 500, 500, 0]),
            (&["identity, *;q=0"], [0, 0, 0, 1000]),
            (&["br;q=0, *"], [0, 1000, 1000, 1000]),
            (&["identity;q=0"], [0, 0, 0, 0]),
            // What cannot be read.
            (&["gzip;q=2"], [0, 0, 0, 1]),
            (&["gzip;q=1.1"], [0, 0, 0, 1]),
            (&["gzip;q=-1, br"], [1000, 0, 0, 1]),
            (&["gzip;q="], [0, 0, 0, 1]),
            (&["gzip;q"], [0, 0, 0, 1]),
            (&["gzip;"], [0, 0, 0, 1]),
            (&["gzip;level=9"], [0, 0, 0, 1]),
            (&["gzip;q=0.5;x=1"], [0, 0, 0, 1]),
            (&["gzip;q=\"1\""], [0, 0, 0, 1]),
            (&["gzip br"], [0, 0, 0, 1]),
            (&["\"gzip, br\""], [0, 0, 0, 1]),
            (&["*;q=no"], [0, 0, 0, 1]),
            (&["identity;q=no"], [0, 0, 0, 1]),
        ];
        for (lines, expected) in rows {
            let accepted = accepting(lines);
            let [br, zstd, gzip] = Coding::ALL.map(|coding| accepted.weight(coding));
            assert_eq!(
                [br, zstd, gzip, accepted.identity()],
                *expected,
                "{lines:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_coding_that_no_member_names_is_not_accepted(line in "[a-y0-9=;q., \"\t-]{0,40}") {
            prop_assume!(!line.contains("gzip") && !line.contains("zstd") && !line.contains("br"));
            let accepted = accepting(&[&line]);
            for coding in Coding::ALL {
                prop_assert_eq!(accepted.weight(coding), 0);
            }
        }

        #[test]
        fn any_bytes_are_read(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut accepted = AcceptEncoding::default();
            accepted.read(&line);
            prop_assert!(Coding::ALL.iter().all(|coding| accepted.weight(*coding) <= 1000));
        }
    }
}
