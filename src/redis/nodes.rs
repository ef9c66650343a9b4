//! The servers that are in use, and which of them has a key.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::Client;
use tokio::sync::Notify;

use super::address::{Address, Host, Place};
use super::breaker::Breaker;

/// The keys of a Cluster are spread over so many slots.
pub(crate) const SLOTS: usize = 16_384;

const NOBODY: u16 = u16::MAX;

/// All servers, and in a Cluster who has which slot. Never changed: a new map takes its place.
pub(crate) struct Nodes {
    all: Vec<Arc<Node>>,
    /// Of a Cluster. One server alone has every key.
    owners: Option<Box<[u16]>>,
}

impl Nodes {
    pub(crate) fn of(address: &Address) -> Self {
        let server = match &address.place {
            Place::Single(host) => Server::At(host.clone()),
            Place::Socket(path) => Server::Socket(path.clone()),
            Place::Sentinel { .. } => Server::Master,
            Place::Cluster(_) => return Self::cluster(Vec::new(), &[]),
        };
        Self {
            all: vec![Node::new(server)],
            owners: None,
        }
    }

    /// A Cluster: each range is a first slot, a last slot and the place of its node in `all`.
    pub(crate) fn cluster(all: Vec<Arc<Node>>, ranges: &[(u16, u16, usize)]) -> Self {
        let mut owners = vec![NOBODY; SLOTS].into_boxed_slice();
        for (first, last, node) in ranges {
            let range = owners.get_mut(usize::from(*first)..=usize::from(*last));
            let node = u16::try_from(*node).unwrap_or(NOBODY);
            range.unwrap_or_default().fill(node);
        }
        let owners = Some(owners);
        Self { all, owners }
    }

    pub(crate) fn all(&self) -> &[Arc<Node>] {
        &self.all
    }

    /// The server that has this key. None while a Cluster is not known, or has nobody for it.
    pub(crate) fn of_key(&self, key: &[u8]) -> Option<&Arc<Node>> {
        match &self.owners {
            None => self.all.first(),
            Some(owners) => self.all.get(usize::from(owners[usize::from(slot(key))])),
        }
    }

    /// How many servers there are, and how many of them are connected.
    pub(crate) fn count(&self) -> (usize, usize) {
        let up = self.all.iter().filter(|node| node.set().is_some());
        (self.all.len(), up.count())
    }
}

/// Where a server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    At(Host),
    Socket(PathBuf),
    /// Wherever the Sentinels say that the master is.
    Master,
}

/// One server, with the connections to it while there are any.
pub(crate) struct Node {
    pub(crate) server: Server,
    /// Tells a reconnect from the first connect.
    pub(crate) connected_before: AtomicBool,
    set: RwLock<Option<Arc<Set>>>,
}

impl Node {
    pub(crate) fn new(server: Server) -> Arc<Self> {
        Arc::new(Self {
            server,
            connected_before: AtomicBool::new(false),
            set: RwLock::new(None),
        })
    }

    pub(crate) fn set(&self) -> Option<Arc<Set>> {
        self.set.read().clone()
    }

    /// Puts a set into use, if `still_fits` while nobody else changes it.
    pub(crate) fn install(&self, set: &Arc<Set>, still_fits: impl FnOnce() -> bool) -> bool {
        let mut place = self.set.write();
        let fits = still_fits();
        if fits {
            *place = Some(Arc::clone(set));
        }
        fits
    }

    /// Takes a set out of use. True for the one call that did.
    pub(crate) fn forget(&self, set: &Arc<Set>) -> bool {
        let mut place = self.set.write();
        let mine = place.as_ref().is_some_and(|used| Arc::ptr_eq(used, set));
        if mine {
            *place = None;
        }
        mine
    }

    /// Takes out of use whatever there is, as what an earlier runtime left behind.
    pub(crate) fn clear(&self) -> Option<Arc<Set>> {
        self.set.write().take()
    }
}

/// The connections to one server that were made together, and the breaker that ends them together.
pub(crate) struct Set {
    pub(crate) node: Weak<Node>,
    /// The server's address, for the log.
    pub(crate) server: String,
    /// Makes further connections to the same server.
    pub(crate) client: Client,
    pub(crate) connections: Box<[MultiplexedConnection]>,
    pub(crate) breaker: Breaker,
    /// Tells the supervisor that the breaker opened.
    pub(crate) gone: Notify,
}

impl Set {
    /// Calls for one key share a connection, so that they do not overtake each other.
    pub(crate) fn connection(&self, key: &[u8]) -> MultiplexedConnection {
        let end = key.iter().rev().take(8);
        let sum = end.fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        self.connections[sum % self.connections.len()].clone()
    }
}

/// The slot of a key: CRC16 of what stands in its first braces, or of all of it.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS as u16
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]
    })
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` answers.
        let table: &[(&str, u16)] = &[
            ("", 0),
            ("123456789", 12_739),
            ("foo", 12_182),
            ("a{foo}b", 12_182),
            ("{foo}{bar}", 12_182),
            ("foo{}bar", slot(b"foo{}bar")),
            ("larder:c", slot(b"larder:c")),
        ];
        for (key, expected) in table {
            assert_eq!(slot(key.as_bytes()), *expected, "{key}");
        }
        assert_ne!(slot(b"foo{}bar"), slot(b""), "empty braces are no tag");
    }

    #[test]
    fn a_key_belongs_to_the_node_of_its_slot_or_to_nobody() {
        let host = |port| {
            let name = "h".to_owned();
            Node::new(Server::At(Host { name, port }))
        };
        let nodes = Nodes::cluster(vec![host(1), host(2)], &[(0, 100, 0), (12_182, 12_182, 1)]);
        let port = |key: &[u8]| match &nodes.of_key(key)?.server {
            Server::At(host) => Some(host.port),
            _ => None,
        };
        assert_eq!(port(b"foo"), Some(2));
        assert_eq!(port(b""), Some(1));
        assert_eq!(port(b"123456789"), None);
        assert_eq!(nodes.count(), (2, 0));
    }
}
