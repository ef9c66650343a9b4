//! What a request says about caching, read from its fields in one pass.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::Method;

use super::decision::Reason;
use crate::header::first_line;

/// Something that a request's fields say about caching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Fact {
    Authorization = 1 << 0,
    Cookie = 1 << 1,
    CacheControl = 1 << 2,
    Pragma = 1 << 3,
    Range = 1 << 4,
    /// `If-Match` or `If-Unmodified-Since`: only the origin can evaluate them.
    OriginPrecondition = 1 << 5,
    /// `If-None-Match` or `If-Modified-Since`, which a cache may evaluate.
    Precondition = 1 << 6,
    Upgrade = 1 << 7,
    MethodOverride = 1 << 8,
    /// `Host` stands in more than one line.
    SeveralHosts = 1 << 9,
}

/// What a field says by being there at all.
const FIELDS: [(&str, Fact); 13] = [
    ("range", Fact::Range),
    ("cookie", Fact::Cookie),
    ("pragma", Fact::Pragma),
    ("upgrade", Fact::Upgrade),
    ("if-match", Fact::OriginPrecondition),
    ("authorization", Fact::Authorization),
    ("cache-control", Fact::CacheControl),
    ("if-none-match", Fact::Precondition),
    ("x-http-method", Fact::MethodOverride),
    ("if-modified-since", Fact::Precondition),
    ("x-method-override", Fact::MethodOverride),
    ("if-unmodified-since", Fact::OriginPrecondition),
    ("x-http-method-override", Fact::MethodOverride),
];

/// The lengths of these names, a bit for each: most fields of a request have none of them.
const LENGTHS: u32 = {
    let (mut lengths, mut at) = (0, 0);
    while at < FIELDS.len() {
        lengths |= 1 << FIELDS[at].0.len();
        at += 1;
    }
    lengths
};

impl Fact {
    #[inline]
    fn of(name: &str) -> Option<Self> {
        if name.len() >= 32 || LENGTHS & (1 << name.len()) == 0 {
            return None;
        }
        let found = FIELDS.iter().find(|(known, _)| *known == name);
        found.map(|(_, fact)| *fact)
    }
}

/// A request's fields, and what one pass over them found. A request has few, and a cache asks about many.
#[derive(Clone, Copy)]
pub(crate) struct RequestFields<'a> {
    pub(crate) all: &'a HeaderMap,
    pub(crate) facts: RequestFacts,
    // The first lines of what nearly every look-up asks for.
    host: Option<&'a HeaderValue>,
    accept_encoding: Option<&'a HeaderValue>,
    if_none_match: Option<&'a HeaderValue>,
}

impl<'a> RequestFields<'a> {
    #[inline]
    pub(crate) fn read(all: &'a HeaderMap) -> Self {
        let mut facts = RequestFacts::default();
        let (mut host, mut accept_encoding, mut if_none_match) = (None, None, None);
        for (name, line) in all {
            facts.0 |= Fact::of(name.as_str()).map_or(0, |fact| fact as u16);
            if *name == header::HOST {
                host = host.or(Some(line));
            } else if *name == header::ACCEPT_ENCODING {
                accept_encoding = accept_encoding.or(Some(line));
            } else if *name == header::IF_NONE_MATCH {
                if_none_match = if_none_match.or(Some(line));
            }
        }
        // Repeated names are rare; only then is it worth asking which they are.
        let repeats = all.len() != all.keys_len();
        if repeats && all.get_all(header::HOST).iter().nth(1).is_some() {
            facts.0 |= Fact::SeveralHosts as u16;
        }
        Self {
            all,
            facts,
            host,
            accept_encoding,
            if_none_match,
        }
    }

    /// The first line of a field.
    #[inline]
    pub(crate) fn first(&self, name: &HeaderName) -> Option<&'a HeaderValue> {
        if *name == header::HOST {
            self.host
        } else if *name == header::ACCEPT_ENCODING {
            self.accept_encoding
        } else if *name == header::IF_NONE_MATCH {
            self.if_none_match
        } else {
            first_line(name, self.all)
        }
    }
}

/// What one pass over the request's fields found: a set of [`Fact`]s, in one word because every
/// request hands it on a few times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFacts(u16);

impl RequestFacts {
    /// Reads them once.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        RequestFields::read(headers).facts
    }

    pub(crate) const fn has(self, fact: Fact) -> bool {
        self.0 & fact as u16 != 0
    }

    /// Whether the request may want less than the whole of an answer: a condition, or a range.
    pub(crate) const fn selects(self) -> bool {
        self.0 & (Fact::Precondition as u16 | Fact::Range as u16) != 0
    }

    /// The same request, for the whole of its answer.
    pub(crate) const fn for_the_whole(self) -> Self {
        Self(self.0 & !(Fact::Precondition as u16 | Fact::Range as u16))
    }

    /// Why no route looks such a request up, whatever it covers.
    #[inline]
    pub(crate) fn bypass(self) -> Option<Reason> {
        const BYPASSED: [(Fact, Reason); 4] = [
            (Fact::Upgrade, Reason::Upgrade),
            (Fact::MethodOverride, Reason::MethodOverride),
            (Fact::OriginPrecondition, Reason::Precondition),
            (Fact::SeveralHosts, Reason::HostConflict),
        ];
        let found = BYPASSED.iter().find(|(fact, _)| self.has(*fact));
        found.map(|(_, reason)| *reason)
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
            (&[("range", "bytes=0-1"), ("if-range", "*")], None),
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
