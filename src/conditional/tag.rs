//! Making entity tags: from the bytes of a body, or from what a program already knows of them.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::header::date;
use crate::header::entity_tag::{is_tag_byte, EntityTag};
use crate::policy::precondition::Validators;

/// How much of a digest stands in a tag: 144 bits, which are 24 letters without padding.
const SHORTENED: usize = 18;

/// Six bits each; none of them needs quoting anywhere.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The tag of content with this digest.
pub(super) fn of_digest(digest: &[u8], weak: bool) -> HeaderValue {
    let mut opaque = [0; SHORTENED / 3 * 4];
    for (letters, bytes) in opaque.chunks_exact_mut(4).zip(digest.chunks_exact(3)) {
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for (place, letter) in letters.iter_mut().enumerate() {
            *letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
        }
    }
    quoted(&opaque, weak)
}

fn quoted(opaque: &[u8], weak: bool) -> HeaderValue {
    let mut value = Vec::with_capacity(opaque.len() + 4);
    if weak {
        value.extend_from_slice(b"W/");
    }
    value.push(b'"');
    value.extend_from_slice(opaque);
    value.push(b'"');
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
        .expect("bytes of an entity tag are bytes of a field value")
}

/// What names the current representation of a resource: an entity tag, a modification date, or both
/// (RFC 9110 §8.8).
///
/// [`ConditionalLayer::current`](super::ConditionalLayer::current) asks for it before an unsafe
/// request is let through. With feature `axum` a handler can also answer with it, and so set `ETag` and
/// `Last-Modified`:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use larder::conditional::Validator;
///
/// async fn post() -> (Validator, &'static str) {
///     let revision = 7; // of the database
///     (Validator::strong(revision.to_string()), "a post")
/// }
/// # }
/// assert_eq!(larder::conditional::Validator::strong("7").etag().unwrap(), "\"7\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Validator {
    etag: Option<HeaderValue>,
    /// Seconds since 1970.
    last_modified: Option<i64>,
}

impl Validator {
    /// There is a representation, and nothing names it: only `*` matches.
    pub const fn exists() -> Self {
        Self {
            etag: None,
            last_modified: None,
        }
    }

    /// A strong tag: other bytes, other tag. What must not stand in one (quotes, spaces, controls, and
    /// so `%`) is written as `%` and two digits.
    pub fn strong(opaque: impl AsRef<[u8]>) -> Self {
        Self::tagged(opaque.as_ref(), false)
    }

    /// A weak tag: other meaning, other tag. `If-Match` never matches it (RFC 9110 §13.1.1).
    pub fn weak(opaque: impl AsRef<[u8]>) -> Self {
        Self::tagged(opaque.as_ref(), true)
    }

    /// The strong tag that the layer makes of an answer with this content.
    pub fn of_content(content: impl AsRef<[u8]>) -> Self {
        Self {
            etag: Some(of_digest(&Sha256::digest(content), false)),
            ..Self::exists()
        }
    }

    /// When the representation last changed, in whole seconds. Years before 1970 count as that year.
    pub fn last_modified(self, at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            last_modified: Some(since.as_secs().cast_signed()),
            ..self
        }
    }

    /// The value of `ETag`, if there is a tag.
    pub const fn etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref()
    }

    fn tagged(opaque: &[u8], weak: bool) -> Self {
        let mut written = Vec::with_capacity(opaque.len());
        for byte in opaque {
            if is_tag_byte(*byte) && *byte != b'%' {
                written.push(*byte);
            } else {
                written.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        Self {
            etag: Some(quoted(&written, weak)),
            ..Self::exists()
        }
    }

    pub(super) fn validators(&self) -> Validators<'_> {
        let etag = self.etag.as_ref();
        Validators {
            etag: etag.and_then(|etag| EntityTag::parse(etag.as_bytes())),
            last_modified: self.last_modified,
            date: None,
        }
    }

    /// Writes `ETag` and `Last-Modified`, as far as there are any.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        if let Some(etag) = self.etag {
            headers.insert(header::ETAG, etag);
        }
        if let Some(at) = self.last_modified {
            let date = date::format(at.cast_unsigned());
            let date = HeaderValue::from_bytes(&date).expect("a date is visible ASCII and spaces");
            headers.insert(header::LAST_MODIFIED, date);
        }
    }
}

#[cfg(feature = "axum")]
impl axum::response::IntoResponseParts for Validator {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut response: axum::response::ResponseParts,
    ) -> Result<axum::response::ResponseParts, Self::Error> {
        self.write(response.headers_mut());
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_is_the_first_144_bits_of_the_digest() {
        // printf '' | sha256sum | cut -c1-36 | xxd -r -p | base64 | tr '+/' '-_'
        let empty = of_digest(&Sha256::digest(b""), false);
        assert_eq!(empty, "\"47DEQpj8HBSa-_TImW-5JCeu\"");
        let weak = of_digest(&Sha256::digest(b""), true);
        assert_eq!(weak, "W/\"47DEQpj8HBSa-_TImW-5JCeu\"");
    }

    #[test]
    fn what_may_not_stand_in_a_tag_is_escaped() {
        for (opaque, expected) in [
            ("7", "\"7\""),
            ("a,b", "\"a,b\""),
            ("", "\"\""),
            ("a b", "\"a%20b\""),
            ("a\"b", "\"a%22b\""),
            ("a%20b", "\"a%2520b\""),
            ("a\r\nb", "\"a%0D%0Ab\""),
        ] {
            assert_eq!(Validator::strong(opaque).etag().unwrap(), expected);
        }
        assert_eq!(Validator::weak("7").etag().unwrap(), "W/\"7\"");
        assert_eq!(Validator::exists().etag(), None);
    }

    #[test]
    fn a_modification_date_is_written_in_whole_seconds() {
        let mut headers = HeaderMap::new();
        let at = UNIX_EPOCH + Duration::from_millis(784_111_777_999);
        Validator::strong("7").last_modified(at).write(&mut headers);
        assert_eq!(headers["last-modified"], "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(headers["etag"], "\"7\"");
    }

    proptest! {
        #[test]
        fn different_names_make_different_tags_that_can_be_read(
            one in prop::collection::vec(any::<u8>(), 0..12),
            other in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let (first, second) = (Validator::strong(&one), Validator::strong(&other));
            prop_assert_eq!(first == second, one == other);
            prop_assert!(first.validators().etag.is_some());
        }
    }
}
