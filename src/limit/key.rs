//! Who is asking: what a bucket belongs to.

use std::borrow::Cow;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use http::header::HeaderName;
use http::request::Parts;

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
    /// What is hashed: no two keys feed the same bytes.
    pub(super) fn feed(&self, feed: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Everyone => feed(&[0]),
            Self::Address(address) => {
                let address = match address.to_canonical() {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                let mut bytes = [1; 17];
                bytes[1..].copy_from_slice(&address.octets());
                feed(&bytes);
            }
            Self::Name(name) => {
                let mut head = [2; 9];
                head[1..].copy_from_slice(&(name.len() as u64).to_be_bytes());
                feed(&head);
                feed(name);
            }
            Self::All(parts) => {
                let mut head = [3; 9];
                head[1..].copy_from_slice(&(parts.len() as u64).to_be_bytes());
                feed(&head);
                parts.iter().for_each(|part| part.feed(feed));
            }
        }
    }

    /// Every address and every name of it, as texts.
    pub(super) fn any(&self, test: &mut dyn FnMut(&Self) -> bool) -> bool {
        match self {
            Self::All(parts) => parts.iter().any(|part| part.any(test)),
            one => test(one),
        }
    }
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

/// The address of the connection, for servers that are not axum's: put it into the request's
/// extensions. With the feature `axum`, `ConnectInfo<SocketAddr>` is read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

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
    pub(super) fn read<'a>(&self, parts: &'a Parts) -> Option<Result<Key<'a>, NoKey>> {
        Some(match self {
            Self::Address(rule) => {
                let found = rule.find(peer(parts), &parts.headers);
                found.map(Key::Address).ok_or(NoKey::NoPeer)
            }
            Self::Header(name) => header(parts, name),
            Self::Route => route(parts),
            Self::Name(name) => named(name(parts)),
            Self::Asked(_) => return None,
        })
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
pub(super) fn peer(parts: &Parts) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(info) = parts
        .extensions
        .get::<axum::extract::ConnectInfo<SocketAddr>>()
    {
        return Some(info.0.ip());
    }
    parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}

fn header<'a>(parts: &'a Parts, name: &HeaderName) -> Result<Key<'a>, NoKey> {
    let mut lines = parts.headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.is_empty() => Ok(Key::from(line.as_bytes())),
        _ => Err(NoKey::NoName),
    }
}

/// The method and the route's template, never the raw path: of paths there are as many as clients like.
fn route(parts: &Parts) -> Result<Key<'_>, NoKey> {
    #[cfg(feature = "axum")]
    if let Some(path) = parts.extensions.get::<axum::extract::MatchedPath>() {
        let method = Key::from(parts.method.as_str());
        return Ok(Key::All(vec![method, Key::from(path.as_str())]));
    }
    let _ = parts;
    Err(NoKey::NoName)
}
