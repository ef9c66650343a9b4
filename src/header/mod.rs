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
//! | [`no_vary_search`] | `No-Vary-Search` | draft-ietf-httpbis-no-vary-search |
//! | [`rate_limit`] | `RateLimit`, `RateLimit-Policy`: written only | draft-ietf-httpapi-ratelimit-headers |
//! | [`structured`] | structured dictionaries and lists | RFC 9651 |

#[cfg(feature = "compress")]
pub(crate) mod accept_encoding;
pub(crate) mod cache_control;
pub(crate) mod date;
pub(crate) mod entity_tag;
pub(crate) mod list;
pub(crate) mod no_vary_search;
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

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, VARY};

    use super::*;

    /// A stranger may send as much as the server takes. Each of these lines takes some hundredths of a
    /// second; what is quadratic in their length would take a minute, or with few members seconds.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "a bound on time is measured by a clock"
    )]
    fn long_lines_are_read_in_the_time_of_their_length() {
        const LENGTH: usize = 256 << 10;
        let repeated = [
            "a",
            ",",
            "\"",
            "\\",
            "\"\\",
            "a,",
            "a=\"b\",",
            "\"a\",",
            "W/\"a",
            "\"a",
            "a;b=c;",
            "(",
            "a b",
            "no-cache=\"a\",",
            "gzip;q=0,",
            "a=(b c);d,",
            " \t",
            "1",
            "a=1;",
        ];
        let names = (0..LENGTH / 7).map(|n| format!("n{n:05},"));
        let lines = repeated.map(|piece| piece.repeat(LENGTH / piece.len()));
        for line in lines.into_iter().chain([names.collect()]) {
            let start = std::time::Instant::now();
            // A structured field must not end in a comma.
            let line = line.strip_suffix(',').unwrap_or(&line);
            let value = HeaderValue::from_str(line).unwrap();
            let headers = HeaderMap::from_iter([(VARY, value.clone()), (ACCEPT, value.clone())]);
            list::members(value.as_bytes()).for_each(drop);
            cache_control::CacheControl::parse([&value]);
            targeted::parse([&value]);
            structured::parse_list([&value]);
            no_vary_search::NoVarySearch::parse([&value]);
            date::parse(value.as_bytes(), 0);
            entity_tag::EntityTag::parse(value.as_bytes());
            entity_tag::listed([&value]).for_each(drop);
            vary::Vary::parse(&headers);
            let selecting = vary::selecting_value(&ACCEPT, &headers);
            assert!(vary::selecting_value_matches(
                &ACCEPT,
                headers.get(ACCEPT),
                &headers,
                selecting.as_deref()
            ));
            #[cfg(feature = "compress")]
            accept_encoding::AcceptEncoding::default().read(value.as_bytes());
            let took = start.elapsed();
            assert!(took.as_secs() < 2, "{took:?} for {}…", &line[..16]);
        }
    }
}
