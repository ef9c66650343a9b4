//! HTTP fields as types: parsed once, trusted afterwards.
//!
//! A field value is bytes that a stranger wrote. Text searched for inside it goes wrong sooner or later: `no-store` may
//! stand inside a quoted string, a date in a form nobody tested, a list in three lines of which one is empty. So
//! each module here reads one field, or one syntax that several fields share, into a type that cannot hold nonsense,
//! and the rules above ask the type.
//!
//! Three promises hold throughout. Values are read as bytes, never as UTF-8 first. A parser never fails loudly: what
//! cannot be read takes the reading that reuses less. Nothing here asks what time it is.
//!
//! | module | reads | defined by |
//! | --- | --- | --- |
//! | [`cache_control`] | `Cache-Control`, of requests and responses | RFC 9111 §5.2, RFC 5861, RFC 8246 |
//! | [`targeted`] | `CDN-Cache-Control` and its siblings | RFC 9213 |
//! | [`vary`] | `Vary`, and the request fields it names | RFC 9110 §12.5.5, RFC 9111 §4.1 |
//! | `accept_encoding` | `Accept-Encoding` | RFC 9110 §12.5.3 |
//! | [`date`] | `Date`, `Expires`, `Last-Modified`, … | RFC 9110 §5.6.7 |
//! | [`entity_tag`] | `ETag`, `If-Match`, `If-None-Match` | RFC 9110 §8.8.3 |
//! | [`list`] | comma-separated lists | RFC 9110 §5.6.1 |
//! | [`rate_limit`] | `RateLimit`, `RateLimit-Policy`: written only | draft-ietf-httpapi-ratelimit-headers |
//! | [`structured`] | structured dictionaries and lists | RFC 9651 |

#[cfg(feature = "compress")]
#[allow(dead_code, reason = "the rooms that use it follow")]
pub(crate) mod accept_encoding;
pub(crate) mod cache_control;
pub(crate) mod date;
pub(crate) mod entity_tag;
pub(crate) mod list;
pub(crate) mod rate_limit;
pub(crate) mod structured;
pub(crate) mod targeted;
pub(crate) mod vary;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The first line of a field. Looking at each name of a short map is cheaper than hashing one.
pub(crate) fn first_line<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    if headers.keys_len() > 16 {
        return headers.get(name);
    }
    headers
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, value)| value)
}
