//! Which responses are worth a content coding, and what a coding makes of their fields.
//!
//! | left as it is | why |
//! | --- | --- |
//! | `Content-Encoding` | it has a coding |
//! | 1xx, 204, 205, 206, 304, `Content-Range` | there is no content, or a part of it (RFC 9110 §14.4) |
//! | `Cache-Control: no-transform` | it says so (RFC 9111 §5.2.2.6) |
//! | `text/event-stream`, `multipart/*`, `Incremental: ?1` | it is read as it comes |
//! | other types than text and its like | they are compressed by themselves |

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::StatusCode;

use crate::error::ConfigError;
use crate::header::accept_encoding::Coding;
use crate::header::list;

/// What is encoded, and into what.
#[derive(Clone)]
pub(crate) struct Rules {
    /// The most wanted first.
    pub(crate) offered: Vec<Coding>,
    /// The least content that is worth it, in bytes, where its length is known.
    pub(crate) least: u64,
    pub(crate) types: Types,
}

type Types = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Rules {
    /// Less does not leave earlier: it fits into one packet as it is.
    pub(crate) const LEAST: u64 = 600;

    pub(crate) fn new(offered: Vec<Coding>) -> Self {
        Self {
            offered,
            least: Self::LEAST,
            types: Arc::new(is_worth_encoding),
        }
    }

    /// Whether a response is one of those that clients get in the coding they ask for.
    pub(crate) fn suit(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        !self.offered.is_empty()
            && media_type(headers).is_some_and(|known| !is_stream(known) && (self.types)(known))
            && may_be_encoded(status, headers)
    }

    /// The first coding on offer whose feature is off.
    pub(crate) fn unavailable(&self, is_available: fn(Coding) -> bool) -> Option<ConfigError> {
        let off = |coding: &&Coding| !is_available(**coding);
        let coding = self.offered.iter().find(off)?;
        let feature = coding.as_str();
        Some(ConfigError::new(
            format!("the coding {feature} needs the feature `{feature}`"),
            format!(
                "`larder = {{ features = [\"{feature}\"] }}`, or no {coding:?} among the codings"
            ),
        ))
    }
}

/// Whether a coding may be put on a response at all, whatever its type and size.
pub(crate) fn may_be_encoded(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_content = !status.is_informational() && !matches!(status.as_u16(), 204..=206 | 304);
    has_content
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !headers
            .get("incremental")
            .is_some_and(|value| value.as_bytes().starts_with(b"?1"))
        && !forbids_transforming(headers)
}

fn forbids_transforming(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let mut members = lines.flat_map(|line| list::members(line.as_bytes()));
    members.any(|member| member.eq_ignore_ascii_case(b"no-transform"))
}

/// The media type of a response, without its parameters, where it has one that can be read.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

/// Whether content of this type usually becomes much smaller.
pub(crate) fn is_worth_encoding(media_type: &str) -> bool {
    let lower = media_type.to_ascii_lowercase();
    let Some((kind, name)) = lower.split_once('/') else {
        return false;
    };
    let is_text = ["+json", "+xml", "+yaml", "+text"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    match kind {
        "text" => name != "event-stream",
        "application" => {
            is_text
                || matches!(
                    name,
                    "json"
                        | "javascript"
                        | "x-javascript"
                        | "ecmascript"
                        | "xml"
                        | "xml-dtd"
                        | "wasm"
                        | "x-ndjson"
                        | "jsonl"
                        | "json-seq"
                        | "graphql"
                        | "yaml"
                        | "toml"
                        | "sql"
                        | "rtf"
                        | "x-sh"
                        | "vnd.ms-fontobject"
                        | "x-font-ttf"
                )
        }
        "image" => is_text || matches!(name, "bmp" | "x-icon" | "vnd.microsoft.icon"),
        "font" => matches!(name, "ttf" | "otf" | "collection"),
        "model" | "message" => is_text,
        _ => false,
    }
}

/// Whether a type is a stream that is read as it comes, which no choice of types encodes.
pub(crate) fn is_stream(media_type: &str) -> bool {
    let is = |start: &str| {
        let head = media_type.get(..start.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    is("text/event-stream") || is("multipart/")
}

/// Names `Accept-Encoding` in `Vary` (RFC 9110 §12.5.5), unless it stands there already.
pub(crate) fn tell_vary(headers: &mut HeaderMap) {
    if !varies(headers) {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Whether `Vary` says that a response differs by what codings a client accepts.
pub(crate) fn varies(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::VARY).iter();
    lines
        .flat_map(|line| list::members(line.as_bytes()))
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// Fields that describe the bytes without the coding. Digests are of the content as it is sent, or of
/// the representation with its coding (RFC 9530 §2, §3); ranges would be of the coded bytes, which are
/// not the same each time.
pub(crate) const UNTRUE: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether a field of the form without a coding is not one of the form with it.
pub(crate) fn is_untrue_of_coded(name: &HeaderName) -> bool {
    UNTRUE.contains(name)
}

/// Makes the fields those of the form with this coding. `Vary` is told apart, on both forms.
pub(crate) fn describe(headers: &mut HeaderMap, coding: Coding) {
    for name in &UNTRUE {
        headers.remove(name);
    }
    let coding = HeaderValue::from_static(coding.as_str());
    headers.insert(header::CONTENT_ENCODING, coding);
    if let Some(weak) = headers.get(header::ETAG).and_then(weakened) {
        headers.insert(header::ETAG, weak);
    }
}

/// Makes the fields of a 304 true for whichever form the client holds: `Vary` is what its 200 had
/// (RFC 9110 §15.4.5), and a strong tag must not get onto coded bytes.
pub(crate) fn confirm(headers: &mut HeaderMap, wants_coding: bool) {
    if headers.contains_key(header::CONTENT_ENCODING) || forbids_transforming(headers) {
        return;
    }
    tell_vary(headers);
    if let Some(weak) = headers.get(header::ETAG).and_then(weakened) {
        if wants_coding {
            headers.insert(header::ETAG, weak);
        }
    }
}

/// A strong entity tag as a weak one: it names bytes, and a coding changes them (RFC 9110 §8.8.1).
pub(crate) fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    if tag.as_bytes().first() != Some(&b'"') {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_304_varies_as_its_200_did_and_lends_coded_bytes_no_strong_tag() {
        for (wants_coding, tag) in [(true, "W/\"1\""), (false, "\"1\"")] {
            let mut fields = headers(&[("etag", "\"1\"")]);
            confirm(&mut fields, wants_coding);
            assert_eq!(fields[header::ETAG], tag);
            assert_eq!(fields[header::VARY], "accept-encoding");
        }
        let mut untouched = headers(&[("etag", "\"1\""), ("cache-control", "no-transform")]);
        confirm(&mut untouched, true);
        assert_eq!(
            untouched,
            headers(&[("etag", "\"1\""), ("cache-control", "no-transform")])
        );
    }

    #[test]
    fn parts_coded_content_and_what_must_not_change_are_left_alone() {
        type Row = (u16, &'static [(&'static str, &'static str)], bool);
        let rows: [Row; 18] = [
            (200, &[], true),
            (404, &[], true),
            (500, &[], true),
            (101, &[], false),
            (204, &[], false),
            (205, &[], false),
            (206, &[], false),
            (304, &[], false),
            (200, &[("content-encoding", "gzip")], false),
            (200, &[("content-encoding", "identity")], false),
            (416, &[("content-range", "bytes */9")], false),
            (200, &[("incremental", "?1")], false),
            (200, &[("incremental", "?0")], true),
            (200, &[("cache-control", "no-transform")], false),
            (200, &[("cache-control", "max-age=1, No-Transform")], false),
            (
                200,
                &[("cache-control", "a"), ("cache-control", "no-transform")],
                false,
            ),
            (200, &[("cache-control", "x=\"no-transform, \"")], true),
            (200, &[("cache-control", "no-transforms")], true),
        ];
        for (status, fields, expected) in rows {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                may_be_encoded(status, &headers(fields)),
                expected,
                "{status} {fields:?}"
            );
        }
    }

    #[test]
    fn text_and_its_like_are_worth_it() {
        let rows = [
            ("text/html; charset=utf-8", true),
            ("Text/Plain", true),
            ("text/event-stream", false),
            ("application/json", true),
            ("APPLICATION/Problem+JSON", true),
            ("application/atom+xml;x=y", true),
            ("application/javascript", true),
            ("application/wasm", true),
            ("image/svg+xml", true),
            ("font/ttf", true),
            ("font/woff2", false),
            ("image/png", false),
            ("video/mp4", false),
            ("application/zip", false),
            ("application/octet-stream", false),
            ("application/grpc", false),
            ("multipart/mixed", false),
            ("text", false),
            ("", false),
        ];
        for (value, expected) in rows {
            let headers = headers(&[("content-type", value)]);
            assert_eq!(
                media_type(&headers).is_some_and(is_worth_encoding),
                expected,
                "{value}"
            );
        }
        assert_eq!(media_type(&HeaderMap::new()), None);
        for stream in [
            "text/event-stream",
            "Text/Event-Stream",
            "multipart/x-mixed-replace",
        ] {
            assert!(is_stream(stream));
        }
        assert!(!is_stream("text/html") && !is_stream("text"));
    }

    #[test]
    fn vary_names_the_field_once() {
        let rows: [(&[_], &[_]); 6] = [
            (&[], &["accept-encoding"]),
            (&[("vary", "accept")], &["accept", "accept-encoding"]),
            (&[("vary", "Accept-Encoding")], &["Accept-Encoding"]),
            (
                &[("vary", "a, accept-encoding ,b")],
                &["a, accept-encoding ,b"],
            ),
            (
                &[("vary", "a"), ("vary", "accept-encoding")],
                &["a", "accept-encoding"],
            ),
            (&[("vary", "*")], &["*"]),
        ];
        for (fields, expected) in rows {
            let mut headers = headers(fields);
            tell_vary(&mut headers);
            let lines: Vec<_> = headers.get_all("vary").iter().collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_coded_form_tells_nothing_that_is_true_of_the_other_only() {
        let mut headers = headers(&[
            ("content-length", "9"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:x:"),
            ("repr-digest", "sha-256=:x:"),
            ("digest", "sha-256=x"),
            ("content-md5", "x"),
            ("content-type", "text/css"),
            ("etag", "\"1\""),
        ]);
        describe(&mut headers, Coding::Brotli);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["etag"], "W/\"1\"");
        assert_eq!(headers["content-encoding"], "br");
        describe(&mut headers, Coding::Brotli);
        assert_eq!(headers["etag"], "W/\"1\"", "weak once");
    }
}
