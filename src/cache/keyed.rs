//! From a request to its key: whether it may be looked up at all, and under which bytes.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{request, Method, Uri};
use http_body::Body;

use super::core::Shared;
use super::route::Route;
use super::user;
use crate::header::first_line;
use crate::policy::decision::{Decision, Forward, Reason};
use crate::policy::key::{
    canonical_query, order_query, pair_name, Class, KeyWriter, Label, QueryRule,
};
use crate::policy::range;
use crate::policy::request::{Fact, RequestFacts, RequestFields};

/// Requests are keyed by their head: target, host, user and further parts.
#[derive(Clone, Copy, Debug)]
pub enum HeadKeyed {}

/// Requests are keyed by their head and, where the method gives it meaning, their content.
#[derive(Clone, Copy, Debug)]
pub enum BodyKeyed {}

/// What keys a request with a body of type `B`. Sealed.
pub trait KeyedBy<B>: sealed::Sealed {
    /// Makes the body that is forwarded of the content that was read.
    #[doc(hidden)]
    fn rebuild(content: Bytes) -> Option<B>;
}

impl<B> KeyedBy<B> for HeadKeyed {
    fn rebuild(_: Bytes) -> Option<B> {
        None
    }
}

impl<B: From<Bytes>> KeyedBy<B> for BodyKeyed {
    fn rebuild(content: Bytes) -> Option<B> {
        Some(B::from(content))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::HeadKeyed {}
    impl Sealed for super::BodyKeyed {}
}

/// The target URI before any router stripped a prefix from it.
#[inline]
pub(crate) fn original_uri(parts: &request::Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}

/// The pattern of the route that matched, such as `/posts/{id}`.
pub(crate) fn matched_pattern(parts: &request::Parts) -> Option<&str> {
    #[cfg(feature = "axum")]
    if let Some(matched) = parts.extensions.get::<axum::extract::MatchedPath>() {
        return Some(matched.as_str());
    }
    let _ = parts;
    None
}

/// The host a request names; a contradiction is an error.
pub(crate) fn host(parts: &request::Parts) -> Result<Option<&[u8]>, Reason> {
    let field = first_line(&header::HOST, &parts.headers);
    host_of(original_uri(parts), field)
}

#[inline]
fn host_of<'a>(uri: &'a Uri, field: Option<&'a HeaderValue>) -> Result<Option<&'a [u8]>, Reason> {
    let field = field.map(HeaderValue::as_bytes);
    let authority = uri.authority();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    match (authority, field) {
        (Some(authority), Some(field)) if authority != field => Err(Reason::HostConflict),
        (authority, field) => Ok(authority.or(field)),
    }
}

/// Whether a request is looked up, and as what; otherwise the decision to forward it.
pub(crate) fn admit<B: Body>(
    route: &Route,
    parts: &request::Parts,
    facts: RequestFacts,
    body: &B,
) -> Result<Class, Decision> {
    let class = class_of(route, &parts.method)?;
    if class == Class::Get && !body.is_end_stream() {
        return Err(bypass(Reason::RequestContent));
    }
    if let Some(reason) = facts.bypass() {
        return Err(bypass(reason));
    }
    // Parts are cut from answers to GET; other units than bytes are known to the handler alone.
    let cuts = || class == Class::Get && range::is_in_bytes(&parts.headers);
    if facts.has(Fact::Range) && !cuts() {
        return Err(bypass(Reason::Range));
    }
    if route.bypasses_credentials() {
        if facts.has(Fact::Authorization) {
            return Err(bypass(Reason::Authorization));
        }
        if facts.has(Fact::Cookie) && !only_ignored_cookies(route, parts) {
            return Err(bypass(Reason::Cookie));
        }
    }
    if route.skip_if.iter().any(|skip| skip(parts)) {
        return Err(bypass(Reason::Skipped));
    }
    Ok(class)
}

fn bypass(reason: Reason) -> Decision {
    Decision::because(Forward::Bypass, reason)
}

/// Whether this route caches the method at all.
pub(crate) fn caches(route: &Route, method: &Method) -> bool {
    class_of(route, method).is_ok()
}

#[inline]
fn class_of(route: &Route, method: &Method) -> Result<Class, Decision> {
    match *method {
        Method::GET | Method::HEAD => Ok(Class::Get),
        Method::POST if route.key_body.is_some() && route.key_post => Ok(Class::Post),
        _ if method.as_str() == "QUERY" && route.key_body.is_some() => Ok(Class::Query),
        _ => Err(Decision::forward(Forward::Method)),
    }
}

fn only_ignored_cookies(route: &Route, parts: &request::Parts) -> bool {
    let is_ignored = |name: &str| {
        route
            .ignored_cookies
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            })
    };
    user::cookies(parts).all(|cookie| cookie.is_ok_and(|(name, _)| is_ignored(name)))
}

/// The fields that say what content means: the same bytes in another coding are other content.
static DESCRIPTIONS: [(header::HeaderName, Label); 3] = [
    (header::CONTENT_TYPE, Label::ContentType),
    (header::CONTENT_ENCODING, Label::ContentEncoding),
    (header::CONTENT_LANGUAGE, Label::ContentLanguage),
];

/// Writes the key of a request into `out`.
pub(crate) fn write_key(
    shared: &Shared,
    route: &Route,
    parts: &request::Parts,
    class: Class,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let fields = RequestFields::read(&parts.headers);
    draft_key(shared, route, parts, &fields, class, None, out)?;
    put_in_order(route, out);
    Ok(())
}

/// Puts the query of a draft in the order of keys, and answers whether it was in another.
pub(crate) fn put_in_order(route: &Route, key: &mut [u8]) -> bool {
    route.query == QueryRule::All && order_query(key)
}

/// Writes the key of a request into `out`, with the query in the order in which it came. Most come in
/// the order of keys, and where something is stored under such a draft, it is the key: so a hit need
/// not look. `content` is the digest of what keys a request beside its head.
#[inline]
pub(crate) fn draft_key(
    shared: &Shared,
    route: &Route,
    parts: &request::Parts,
    fields: &RequestFields<'_>,
    class: Class,
    content: Option<&[u8; 32]>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let uri = original_uri(parts);
    let mut key = KeyWriter::new(out, class, shared.limits.key);
    if !shared.namespace.is_empty() {
        key.part(Label::Namespace, shared.namespace.as_bytes());
    }
    if route.is_rfc9111() {
        key.part(Label::Rfc9111, b"");
    }
    if route.host {
        if let Some(scheme) = uri.scheme_str() {
            key.part(Label::Scheme, scheme.as_bytes());
        }
        if let Some(host) = host_of(uri, fields.first(&header::HOST))? {
            key.part(Label::Host, host);
        }
    }
    key.part(Label::Path, uri.path().as_bytes());
    let query = uri.query().and_then(|query| match route.query {
        QueryRule::All => Some(query.into()),
        _ => canonical_query(query, &route.query),
    });
    if let Some(query) = query {
        key.part(Label::Query, query.as_bytes());
    }
    // What an outer layer made of the target may depend on fields that no key knows.
    if !std::ptr::eq(uri, &parts.uri) {
        write_routed_target(uri, &parts.uri, &mut key);
    }
    if let Some(user) = &route.user {
        let user = user(parts).map_err(|error| refused(&error))?;
        match user.filter(|user| !user.is_empty()) {
            Some(user) => key.part(Label::User, user.as_bytes()),
            None => return Err(Reason::NoUser),
        }
    }
    for part in &route.extra {
        match part(parts).map_err(|error| refused(&error))? {
            Some(part) => key.part(Label::Extra, part.as_bytes()),
            None => key.part(Label::ExtraAbsent, b""),
        }
    }
    if let Some(digest) = content {
        for (name, label) in &DESCRIPTIONS {
            for line in parts.headers.get_all(name) {
                key.part(*label, line.as_bytes());
            }
        }
        key.part(Label::Digest, digest);
    }
    key.finish().map_err(|_| Reason::KeyTooLong)
}

/// The target that the route sees, as far as it is not the original one.
fn write_routed_target(original: &Uri, routed: &Uri, key: &mut KeyWriter<'_>) {
    // A URI that no layer touched shares its bytes with the original.
    let same = |a: &str, b: &str| std::ptr::eq(a, b) || a == b;
    if !same(routed.path(), original.path()) {
        key.part(Label::RoutedPath, routed.path().as_bytes());
    }
    let (routed, original) = (routed.query(), original.query());
    if !same(routed.unwrap_or_default(), original.unwrap_or_default())
        || routed.is_some() != original.is_some()
    {
        let query = routed.map(|query| format!("?{query}"));
        key.part(Label::RoutedQuery, query.unwrap_or_default().as_bytes());
    }
}

fn refused(error: &crate::error::KeyError) -> Reason {
    tracing::debug!(%error, "request bypasses the cache");
    Reason::KeyError
}

/// Removes from a request what its key does not cover (see [`CacheLayer::narrow`](crate::CacheLayer::narrow)).
pub(crate) fn narrow(route: &Route, parts: &mut request::Parts) {
    let per_user = route.user.is_some();
    let has_content = !matches!(parts.method, Method::GET | Method::HEAD);
    let describes_content = |name: &header::HeaderName| {
        *name == header::CONTENT_LENGTH || DESCRIPTIONS.iter().any(|(known, _)| known == name)
    };
    let covered: Vec<header::HeaderName> = parts
        .headers
        .keys()
        .filter(|name| {
            (has_content && describes_content(name))
                || (**name == header::HOST && route.host)
                || (per_user && (**name == header::AUTHORIZATION || **name == header::COOKIE))
                || route.vary_on.contains(name)
        })
        .cloned()
        .collect();
    let mut kept = http::HeaderMap::with_capacity(covered.len());
    for name in covered {
        for value in parts.headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    parts.headers = kept;
    parts.uri = narrowed_uri(route, &parts.uri);
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get_mut::<axum::extract::OriginalUri>() {
        original.0 = narrowed_uri(route, &original.0);
    }
}

fn narrowed_uri(route: &Route, uri: &Uri) -> Uri {
    let mut narrowed = uri.clone().into_parts();
    if !route.host {
        narrowed.scheme = None;
        narrowed.authority = None;
    }
    let keeps_all = matches!(route.query, QueryRule::All | QueryRule::Verbatim);
    if let (Some(query), false) = (uri.query(), keeps_all) {
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| route.query.keeps(pair_name(pair)))
            .collect();
        let target: Cow<'_, str> = if kept.is_empty() {
            uri.path().into()
        } else {
            format!("{}?{}", uri.path(), kept.join("&")).into()
        };
        narrowed.path_and_query = target.parse().ok();
    }
    Uri::from_parts(narrowed).unwrap_or_else(|_| uri.clone())
}
