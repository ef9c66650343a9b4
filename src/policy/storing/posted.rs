//! When the answer to `POST` is what `GET` would get (RFC 9110 §9.3.3).

use http::header::{self, HeaderMap};
use http::{StatusCode, Uri};

use crate::clock::Timestamp;
use crate::policy::freshness::Directives;
use crate::policy::profile::Audience;

/// Whether an answer to `POST` says that it is the representation of the target itself: a success with an
/// explicit lifetime, whose `Content-Location` is the target as it was written.
pub(crate) fn stands_for_get(
    audience: Audience,
    host: Option<&[u8]>,
    target: &Uri,
    status: StatusCode,
    headers: &HeaderMap,
    now: Timestamp,
) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LOCATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let Ok(named) = Uri::try_from(line.as_bytes()) else {
        return false;
    };
    let same_host = named.authority().is_none_or(|named| {
        host.is_some_and(|host| named.as_str().as_bytes().eq_ignore_ascii_case(host))
    });
    status == StatusCode::OK
        && line.as_bytes().contains(&b'/')
        && same_host
        && (named.path(), named.query()) == (target.path(), target.query())
        && Directives::read(audience, headers)
            .lifetime(headers, now)
            .is_some()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_to_post_stands_for_get_where_it_says_so() {
        let rows = [
            ("/a?b", "max-age=9", 200, true),
            ("http://api.test/a?b", "max-age=9", 200, true),
            ("//api.test/a?b", "max-age=9", 200, false), // not a URI as the target is written
            ("http://other.test/a?b", "max-age=9", 200, false),
            ("/a", "max-age=9", 200, false),
            ("/a?c", "max-age=9", 200, false),
            ("a?b", "max-age=9", 200, false),
            ("", "max-age=9", 200, false),
            ("/a?b", "public", 200, false),
            ("/a?b", "max-age=9", 201, false),
            ("/a?b", "max-age=9", 404, false),
        ];
        for (location, said, status, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_LOCATION, HeaderValue::from_static(location));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(said));
            let found = stands_for_get(
                Audience::Everybody,
                Some(b"api.test"),
                &Uri::from_static("/a?b"),
                StatusCode::from_u16(status).unwrap(),
                &headers,
                Timestamp::from_millis(0),
            );
            assert_eq!(found, expected, "{location} {said} {status}");
        }
    }
}
