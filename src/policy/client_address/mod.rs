//! Whose address is it? The connection's, or the one that trusted proxies have noted.
//!
//! Anybody can write `X-Forwarded-For`. What holds is only what was added by proxies one trusts, and each of
//! them adds on the right. So the field is read from the right, hop by hop, and what lies beyond
//! the first hop that nobody vouches for is never looked at.

mod network;
mod noted;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{HeaderMap, HeaderName, FORWARDED};

use self::network::everybody;
pub(crate) use self::network::Network;
use self::noted::{forwarded_for, node, FromRight};
use crate::error::ConfigError;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a client's address is read, and which addresses count as one client.
///
/// By default it is the address of the connection. Behind proxies that is a proxy's, so say which are to
/// be believed, by how many there are or by their addresses:
///
/// ```
/// use larder::limit::ClientAddress;
///
/// ClientAddress::behind_hops(1);                              // one load balancer, always
/// ClientAddress::behind(["10.0.0.0/8", "fd00::/8"]);          // whatever comes from these networks
/// ClientAddress::behind_hops(1).forwarded();                  // `Forwarded` (RFC 7239) instead of `X-Forwarded-For`
/// ClientAddress::behind_hops(1).header("cf-connecting-ip");   // or another field with addresses
/// ```
///
/// Of IPv6, the first 64 bits count, since one client has as many addresses as it likes beneath them;
/// IPv4 in IPv6 (`::ffff:1.2.3.4`) is IPv4.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trust: Trust,
    field: Field,
    ipv6_prefix: u8,
    nat64: bool,
}

#[derive(Clone, Debug)]
enum Trust {
    Nobody,
    Hops(usize),
    Networks(Vec<Result<Network, String>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// Addresses, separated by commas.
    Addresses(Result<HeaderName, String>),
    /// RFC 7239.
    Forwarded,
}

impl ClientAddress {
    /// The address of the connection, whatever the request says.
    pub const fn peer() -> Self {
        Self {
            trust: Trust::Nobody,
            field: Field::Addresses(Ok(X_FORWARDED_FOR)),
            ipv6_prefix: 64,
            nat64: false,
        }
    }

    /// The address that the `hops`th proxy has noted, counted from here: 1 for one proxy in front.
    ///
    /// Only where every request comes through so many: whoever reaches the service past them chooses an
    /// address. Where a request has noted fewer, the farthest of them counts.
    pub fn behind_hops(hops: usize) -> Self {
        Self {
            trust: Trust::Hops(hops),
            ..Self::peer()
        }
    }

    /// The first address, from here, that is in none of these networks: `10.0.0.0/8`, `::1`. What a request says
    /// counts only if its connection comes from one of them.
    pub fn behind<N: AsRef<str>>(networks: impl IntoIterator<Item = N>) -> Self {
        let network = |text: N| {
            let text = text.as_ref();
            text.parse().map_err(|_| text.to_owned())
        };
        Self {
            trust: Trust::Networks(networks.into_iter().map(network).collect()),
            ..Self::peer()
        }
    }

    /// Reads `Forwarded` (RFC 7239) and no other field. Default: `X-Forwarded-For` and no other.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.field = Field::Forwarded;
        self
    }

    /// Reads another field of addresses and no other.
    #[must_use]
    pub fn header(mut self, name: &str) -> Self {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        self.field = Field::Addresses(parsed.map_err(|_| name.to_owned()));
        self
    }

    /// How many bits of an IPv6 address tell clients apart, 16 to 128. Default: 64.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = bits;
        self
    }

    /// Takes `64:ff9b::/96` (RFC 6052) for the IPv4 addresses in it. Default: off.
    #[must_use]
    pub fn nat64(mut self) -> Self {
        self.nat64 = true;
        self
    }

    /// Looks for what cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let refuse =
            |problem: String, instead: &'static str| Err(ConfigError::new(problem, instead));
        if let Field::Addresses(Err(name)) = &self.field {
            let problem = format!("`{name}` is not the name of a field");
            return refuse(problem, "`.header(\"x-real-ip\")`");
        }
        if !(16..=128).contains(&self.ipv6_prefix) {
            let problem = format!("an IPv6 prefix of {} bits", self.ipv6_prefix);
            return refuse(problem, "`.ipv6_prefix(64)`, 16 to 128");
        }
        match &self.trust {
            Trust::Nobody => {}
            Trust::Hops(0) => {
                let problem = "zero trusted hops are the connection itself".to_owned();
                return refuse(problem, "`.by_peer_ip()`");
            }
            Trust::Hops(_) => {}
            Trust::Networks(networks) if networks.is_empty() => {
                let problem = "no trusted network is the connection itself".to_owned();
                return refuse(problem, "`.by_peer_ip()`");
            }
            Trust::Networks(networks) => {
                if let Some(text) = networks.iter().find_map(|n| n.as_ref().err()) {
                    let problem = format!("`{text}` is not a network");
                    return refuse(problem, "`ClientAddress::behind([\"10.0.0.0/8\"])`");
                }
                if everybody(networks.iter().flatten()) {
                    let problem = "whoever trusts everybody's field lets clients choose their own \
                                   address";
                    return refuse(
                        problem.to_owned(),
                        "`ClientAddress::behind([\"10.0.0.0/8\"])` with your proxies' network, or \
                         `ClientAddress::behind_hops(1)`",
                    );
                }
            }
        }
        Ok(())
    }

    /// The client, in the one form that all its addresses share. `None` if nobody knows the connection's.
    #[inline]
    pub(crate) fn find(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        self.exactly(peer, headers)
            .map(|client| self.grouped(client))
    }

    /// The one address that the client has.
    #[inline]
    pub(crate) fn exactly(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.map(|peer| self.canonical(peer));
        match &self.trust {
            Trust::Nobody => peer,
            _ => self.behind_proxies(peer, headers),
        }
    }

    fn behind_proxies(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        match &self.trust {
            Trust::Nobody => peer,
            Trust::Hops(hops) => {
                // The connection is a hop too, known or not.
                let noted = self.hops(headers).take(*hops);
                noted.last().or(peer)
            }
            Trust::Networks(networks) => {
                let mut client = peer?;
                let trusts = |address| networks.iter().flatten().any(|n| n.contains(address));
                let mut hops = self.hops(headers);
                while trusts(client) {
                    match hops.next() {
                        Some(next) => client = next,
                        None => break,
                    }
                }
                Some(client)
            }
        }
    }

    /// The hops that proxies have noted, the nearest first, up to the first that is no address.
    fn hops<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = IpAddr> + 'a {
        let (name, address): (_, fn(&[u8]) -> Option<IpAddr>) = match &self.field {
            Field::Forwarded => (&FORWARDED, forwarded_for),
            Field::Addresses(Ok(name)) => (name, node),
            Field::Addresses(Err(_)) => (&X_FORWARDED_FOR, node),
        };
        let lines = headers.get_all(name).iter().rev();
        let elements = lines.flat_map(|line| FromRight(Some(line.as_bytes())));
        elements
            .filter(|element| !element.is_empty())
            .map_while(address)
            .map(|address| self.canonical(address))
    }

    #[inline]
    fn canonical(&self, address: IpAddr) -> IpAddr {
        let address = address.to_canonical();
        match address {
            IpAddr::V6(v6) if self.nat64 && v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
                let [.., a, b, c, d] = v6.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            other => other,
        }
    }

    #[inline]
    fn grouped(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => {
                let bits = u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self::peer()
    }
}
