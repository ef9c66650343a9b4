//! Lists of those who always pass, or never.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::key::{Key, Whose};
use crate::policy::client_address::Network;

/// Addresses, networks and names, for [`allow`](crate::LimitLayer::allow) and
/// [`deny`](crate::LimitLayer::deny). Its clones are the same list, so it can be changed while it is used.
///
/// ```
/// use larder::limit::List;
/// use larder::{LimitLayer, Quota};
///
/// let banned = List::new(["203.0.113.0/24", "mallory"]);
/// let layer = LimitLayer::new(Quota::per_minute(120)).by_peer_ip().deny(banned.clone());
/// banned.insert("198.51.100.7"); // from the next request on
/// ```
///
/// What reads as an address or a network is one; everything else is a name, compared whole with the names
/// of a key. Of a key with several parts one is enough. An address is compared whole, however many of them share a
/// bucket: of IPv6, `2001:db8::7` is that address, and `2001:db8::/64` all that have its bucket.
#[derive(Clone, Default)]
pub struct List {
    entries: Arc<RwLock<Entries>>,
}

#[derive(Default)]
struct Entries {
    networks: Vec<Network>,
    names: HashSet<Box<[u8]>>,
}

impl List {
    /// A list of these.
    pub fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Self {
        let list = Self::default();
        list.replace(entries);
        list
    }

    /// Adds one.
    pub fn insert(&self, entry: impl AsRef<str>) {
        self.entries.write().insert(entry.as_ref());
    }

    /// Removes one, written as it was added.
    pub fn remove(&self, entry: impl AsRef<str>) {
        let entry = entry.as_ref();
        let mut entries = self.entries.write();
        match entry.parse::<Network>() {
            Ok(network) => entries.networks.retain(|other| *other != network),
            Err(_) => {
                entries.names.remove(entry.as_bytes());
            }
        }
    }

    /// Puts these in the place of all that are on it, at once.
    pub fn replace<T: AsRef<str>>(&self, entries: impl IntoIterator<Item = T>) {
        let mut new = Entries::default();
        entries
            .into_iter()
            .for_each(|entry| new.insert(entry.as_ref()));
        *self.entries.write() = new;
    }

    pub(super) fn has(&self, whose: &Whose<'_>) -> bool {
        let entries = self.entries.read();
        let has = |address: &IpAddr| entries.networks.iter().any(|n| n.contains(*address));
        whose.addresses.iter().any(has)
            || whose.key.any(&mut |part| match part {
                Key::Name(name) => entries.names.contains(&**name),
                Key::Everyone | Key::Address(_) | Key::All(_) => false,
            })
    }
}

impl Entries {
    fn insert(&mut self, entry: &str) {
        match entry.parse() {
            Ok(network) if self.networks.contains(&network) => {}
            Ok(network) => self.networks.push(network),
            Err(_) => {
                self.names.insert(entry.as_bytes().into());
            }
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.read();
        f.debug_struct("List")
            .field("networks", &entries.networks)
            .field("names", &entries.names.len())
            .finish()
    }
}
