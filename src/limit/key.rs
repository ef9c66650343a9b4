//! Who is asking: what a bucket belongs to.

use std::borrow::Cow;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::{Extensions, Method, Request};

use crate::error::KeyError;
use crate::policy::client_address::ClientAddress;

/// A function that names who is asking.
pub(super) type KeyFn = Arc<dyn Fn(&Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync>;
/// The same, where somebody else has to be asked.
pub(super) type AsyncKeyFn = Arc<dyn Fn(&Parts) -> Naming + Send + Sync>;
pub(super) type Naming = Pin<Box<dyn Future<Output = Result<Option<String>, KeyError>> + Send>>;

/// What a bucket belongs to, as [`Limiter::take`](crate::Limiter::take) is told: a name, bytes, or an address.
///
/// It is hashed with a secret seed and not kept. An address is one of its own: no text equals it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key<'a> {
    /// Everybody: one bucket for all.
    Everyone,
    /// Whoever has this address. IPv4 in IPv6 is the same as IPv4.
    Address(IpAddr),
    /// Whoever has this name.
    Name(Cow<'a, [u8]>),
    /// Whoever has all of these.
    All(Vec<Key<'a>>),
}

impl Key<'_> {
    /// What is hashed: no two keys feed the same bytes. Read from the end, what was fed says what it is.
    #[inline]
    pub(super) fn feed<F: FnMut(&[u8])>(&self, feed: &mut F) {
        match self {
            Self::Everyone => feed(&[0]),
            Self::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => {
                    let [a, b, c, d] = address.octets();
                    feed(&[a, b, c, d, 1]);
                }
                IpAddr::V6(address) => {
                    let mut bytes = [4; 17];
                    bytes[..16].copy_from_slice(&address.octets());
                    feed(&bytes);
                }
            },
            Self::Name(name) => {
                feed(name);
                feed(&[2]);
            }
            Self::All(parts) => feed_all(parts, feed),
        }
    }

    /// The same, borrowing nothing.
    pub(super) fn into_owned(self) -> Key<'static> {
        match self {
            Self::Everyone => Key::Everyone,
            Self::Address(address) => Key::Address(address),
            Self::Name(name) => Key::Name(Cow::Owned(name.into_owned())),
            Self::All(parts) => Key::All(parts.into_iter().map(Key::into_owned).collect()),
        }
    }

    /// Whether one of its parts passes a test.
    pub(super) fn any(&self, test: &mut dyn FnMut(&Self) -> bool) -> bool {
        match self {
            Self::All(parts) => parts.iter().any(|part| part.any(test)),
            one => test(one),
        }
    }
}

/// Apart, and through a pointer, since the types of closures would nest without end.
fn feed_all(parts: &[Key<'_>], feed: &mut dyn FnMut(&[u8])) {
    for part in parts {
        let mut length = 0_u64;
        part.feed(&mut |bytes: &[u8]| {
            length += bytes.len() as u64;
            feed(bytes);
        });
        feed(&length.to_be_bytes());
    }
    feed(&(parts.len() as u64).to_be_bytes());
    feed(&[3]);
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(Cow::Borrowed(name.as_bytes()))
    }
}

impl<'a> From<&'a String> for Key<'a> {
    fn from(name: &'a String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<String> for Key<'_> {
    fn from(name: String) -> Self {
        Self::Name(Cow::Owned(name.into_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(name: &'a [u8]) -> Self {
        Self::Name(Cow::Borrowed(name))
    }
}

impl From<IpAddr> for Key<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

/// Whose bucket it is, and what lists are asked besides.
pub(super) struct Whose<'a> {
    pub(super) key: Key<'a>,
    /// The addresses that were read for the key, before those of one client were put together. None where there is
    /// no list.
    pub(super) addresses: Vec<IpAddr>,
}

/// The address of the connection, for servers that are not axum's: put it into the request's
/// extensions. With the feature `axum`, `ConnectInfo<SocketAddr>` is read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// What is read of a request. The whole head only where somebody's function asks for it: to take it out of a
/// request and put it back costs as much as a decision.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    pub(super) parts: Option<&'a Parts>,
}

impl<'a> Head<'a> {
    #[inline]
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            headers: request.headers(),
            extensions: request.extensions(),
            parts: None,
        }
    }

    #[inline]
    pub(super) fn whole(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            headers: &parts.headers,
            extensions: &parts.extensions,
            parts: Some(parts),
        }
    }
}

/// One part of a key: where it is read.
#[derive(Clone)]
pub(super) enum Part {
    Address(Arc<ClientAddress>),
    Header(HeaderName),
    Route,
    Name(KeyFn),
    /// Asked one after the other.
    Asked(AsyncKeyFn),
}

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The server does not say from where the request came.
    NoPeer,
    /// The request does not say who is asking, or not clearly.
    NoName,
}

impl Part {
    /// `None` where somebody else has to be asked.
    #[inline]
    pub(super) fn read<'a>(&self, head: Head<'a>) -> Option<Result<Key<'a>, NoKey>> {
        Some(match self {
            Self::Address(rule) => {
                let found = rule.find(peer(head.extensions), head.headers);
                found.map(Key::Address).ok_or(NoKey::NoPeer)
            }
            Self::Header(name) => header(head.headers, name),
            Self::Route => route(head),
            Self::Name(name) => named(name(head.parts?)),
            Self::Asked(_) => return None,
        })
    }

    /// Whether it is read by a function that is given the whole head.
    pub(super) const fn needs_parts(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Asked(_))
    }
}

/// What a key function has said, which is never one name for all who have none.
pub(super) fn named<'a>(name: Result<Option<Cow<'a, str>>, KeyError>) -> Result<Key<'a>, NoKey> {
    match name {
        Ok(Some(Cow::Borrowed(name))) => Ok(Key::from(name)),
        Ok(Some(Cow::Owned(name))) => Ok(Key::from(name)),
        Ok(None) => Err(NoKey::NoName),
        Err(error) => {
            tracing::debug!(%error, "a request has no key");
            Err(NoKey::NoName)
        }
    }
}

/// The address of the connection.
#[inline]
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(info) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(info.0.ip());
    }
    extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Key<'a>, NoKey> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.is_empty() => Ok(Key::from(line.as_bytes())),
        _ => Err(NoKey::NoName),
    }
}

/// The method and the route's template, never the raw path: of paths there are as many as clients like, and so there
/// are of methods.
fn route(head: Head<'_>) -> Result<Key<'_>, NoKey> {
    #[cfg(feature = "axum")]
    if let Some(path) = head.extensions.get::<axum::extract::MatchedPath>() {
        let method = match *head.method {
            // What answers the one answers the other.
            Method::HEAD => "GET",
            Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                head.method.as_str()
            }
            Method::OPTIONS | Method::CONNECT | Method::TRACE => head.method.as_str(),
            _ => "",
        };
        return Ok(Key::All(vec![Key::from(method), Key::from(path.as_str())]));
    }
    let _ = head.method;
    Err(NoKey::NoName)
}
