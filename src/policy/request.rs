//! What a request says about caching, read from its fields in one pass.

use http::header::{self, HeaderMap};
use http::Method;

use super::decision::Reason;

/// What one pass over the request's fields found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFacts {
    pub(crate) authorization: bool,
    pub(crate) cookie: bool,
    pub(crate) cache_control: bool,
    pub(crate) pragma: bool,
    pub(crate) range: bool,
    /// `If-Match`, `If-Unmodified-Since` or `If-Range`: only the origin can evaluate them.
    pub(crate) origin_precondition: bool,
    /// `If-None-Match` or `If-Modified-Since`, which a cache may evaluate.
    pub(crate) precondition: bool,
    pub(crate) upgrade: bool,
    pub(crate) method_override: bool,
    pub(crate) host: bool,
    /// `Host` stands in more than one line.
    pub(crate) several_hosts: bool,
}

impl RequestFacts {
    /// Reads the fields once; a request has few, and a cache asks about many.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut facts = Self::default();
        for name in headers.keys() {
            facts.note(name.as_str());
        }
        // Repeated names are rare; only then is it worth asking which they are.
        let repeats = headers.len() != headers.keys_len();
        facts.several_hosts =
            repeats && facts.host && headers.get_all(header::HOST).iter().nth(1).is_some();
        facts
    }

    fn note(&mut self, name: &str) {
        // By length first: most fields of a request are none of these.
        match name.len() {
            4 => self.host |= name == "host",
            5 => self.range |= name == "range",
            6 => {
                self.cookie |= name == "cookie";
                self.pragma |= name == "pragma";
            }
            7 => self.upgrade |= name == "upgrade",
            8 => self.origin_precondition |= matches!(name, "if-match" | "if-range"),
            13 => {
                self.authorization |= name == "authorization";
                self.cache_control |= name == "cache-control";
                self.precondition |= name == "if-none-match";
                self.method_override |= name == "x-http-method";
            }
            17 => {
                self.precondition |= name == "if-modified-since";
                self.method_override |= name == "x-method-override";
            }
            19 => self.origin_precondition |= name == "if-unmodified-since",
            22 => self.method_override |= name == "x-http-method-override",
            _ => {}
        }
    }

    /// Why no route looks such a request up, whatever it covers.
    pub(crate) const fn bypass(&self) -> Option<Reason> {
        if self.upgrade {
            Some(Reason::Upgrade)
        } else if self.method_override {
            Some(Reason::MethodOverride)
        } else if self.range {
            Some(Reason::Range)
        } else if self.origin_precondition {
            Some(Reason::Precondition)
        } else if self.several_hosts {
            Some(Reason::HostConflict)
        } else {
            None
        }
    }
}

/// Whether a method is safe, so that it invalidates nothing (RFC 9110 §9.2.1). Methods that are
/// not known to be safe are taken to be unsafe.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    ) || matches!(method.as_str(), "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(fields: &[(&'static str, &'static str)]) -> RequestFacts {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, header::HeaderValue::from_static(value));
        }
        RequestFacts::read(&headers)
    }

    #[test]
    fn requests_that_a_cache_leaves_alone_are_known_by_their_fields() {
        type Row = (&'static [(&'static str, &'static str)], Option<Reason>);
        let rows: [Row; 9] = [
            (&[], None),
            (&[("accept", "*/*"), ("host", "a")], None),
            (&[("host", "a"), ("host", "b")], Some(Reason::HostConflict)),
            (&[("range", "bytes=0-1")], Some(Reason::Range)),
            (&[("if-match", "*")], Some(Reason::Precondition)),
            (&[("if-none-match", "*")], None),
            (&[("upgrade", "websocket")], Some(Reason::Upgrade)),
            (
                &[("x-http-method-override", "DELETE")],
                Some(Reason::MethodOverride),
            ),
            (
                &[("x-method-override", "PUT")],
                Some(Reason::MethodOverride),
            ),
        ];
        for (fields, expected) in rows {
            assert_eq!(facts(fields).bypass(), expected, "{fields:?}");
        }
    }

    #[test]
    fn unknown_methods_are_taken_to_be_unsafe() {
        let rows = [
            ("GET", true),
            ("HEAD", true),
            ("QUERY", true),
            ("POST", false),
            ("PURR", false),
        ];
        for (method, safe) in rows {
            assert_eq!(
                is_safe(&Method::from_bytes(method.as_bytes()).unwrap()),
                safe,
                "{method}"
            );
        }
    }
}
