//! Whose address is it? The connection's, or the one that trusted proxies have noted.
//!
//! Anybody can write `X-Forwarded-For`. What holds is only what was added by proxies one trusts, and each of
//! them adds on the right. So the field is read from the right, hop by hop, and what lies beyond
//! the first hop that nobody vouches for is never looked at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, FORWARDED};

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

/// The elements of a list, the last one first. A comma between quotes is none, as seen from the right: what
/// a trusted proxy has added there is read as it wrote it, whatever a client has opened and not closed
/// further left.
struct FromRight<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.take()?;
        let mut quoted = false;
        let comma = rest.iter().rposition(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let Some(comma) = comma else {
            return Some(rest.trim_ascii());
        };
        self.0 = Some(&rest[..comma]);
        Some(rest[comma + 1..].trim_ascii())
    }
}

/// The `for` of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    // Escapes have no place in an address, and would make quotes ambiguous.
    if element.contains(&b'\\') {
        return None;
    }
    let mut found = None;
    let mut quoted = false;
    let pairs = element.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b';' && !quoted
    });
    for pair in pairs {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), &pair[equals + 1..]);
        if name.eq_ignore_ascii_case(b"for") && found.replace(value.trim_ascii()).is_some() {
            return None;
        }
    }
    match found? {
        [b'"', inner @ .., b'"'] => node(inner),
        bare => node(bare),
    }
}

/// An address, with or without brackets and a port.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// A range of addresses: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same(a.to_bits().into(), b.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

/// Whether all addresses of IPv4, or of IPv6, are in one of these networks.
fn everybody<'a>(networks: impl Iterator<Item = &'a Network>) -> bool {
    let (v4, v6): (Vec<_>, Vec<_>) = networks.partition(|network| network.address.is_ipv4());
    [(v4, 32), (v6, 128)].into_iter().any(|(networks, width)| {
        let range = |network: &&Network| {
            let bits = match network.address {
                IpAddr::V4(v4) => u128::from(v4.to_bits()),
                IpAddr::V6(v6) => v6.to_bits(),
            };
            let rest = width - u32::from(network.bits);
            let hosts = 1_u128.checked_shl(rest).map_or(u128::MAX, |size| size - 1);
            (bits & !hosts, bits | hosts)
        };
        let mut ranges: Vec<_> = networks.iter().map(range).collect();
        ranges.sort_unstable();
        let all = u128::MAX >> (128 - width);
        // The first address that is in none of those before.
        let mut outside = Some(0_u128);
        for (first, last) in ranges {
            match outside {
                Some(address) if (first..=last).contains(&address) => {
                    outside = last.checked_add(1).filter(|next| *next <= all);
                }
                _ => {}
            }
        }
        outside.is_none()
    })
}

/// Whether two addresses of `width` bits begin with the same `bits`.
fn same(a: u128, b: u128, width: u32, bits: u8) -> bool {
    let rest = width.saturating_sub(u32::from(bits));
    (a ^ b).checked_shr(rest).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| NotANetwork)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width || (mapped && bits < 96) {
            return Err(NotANetwork);
        }
        Ok(Self {
            address: address.to_canonical(),
            bits: if mapped { bits - 96 } else { bits },
        })
    }
}

#[derive(Debug)]
pub(crate) struct NotANetwork;

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const XFF: &str = "x-forwarded-for";

    fn found(rule: &ClientAddress, peer: &str, lines: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = (!peer.is_empty()).then(|| peer.parse().unwrap());
        let found = rule.find(peer, &headers);
        found.map_or_else(|| "nobody".to_owned(), |address| address.to_string())
    }

    /// 10.0.0.1 is the nearest proxy; 6.6.6.6 is what a client would like to be.
    #[test]
    fn nobody_chooses_an_address_by_writing_a_field() {
        let peer = ClientAddress::peer();
        let one = ClientAddress::behind_hops(1);
        let two = ClientAddress::behind_hops(2);
        let net = ClientAddress::behind(["10.0.0.0/8", "fd00::/8"]);
        let fwd = ClientAddress::behind_hops(1).forwarded();
        let fnet = net.clone().forwarded();
        let real = ClientAddress::behind_hops(1).header("x-real-ip");
        let f = "forwarded";
        type Row<'a> = (
            &'a ClientAddress,
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a str,
        );
        let table: &[Row<'_>] = &[
            // The connection alone.
            (&peer, "1.1.1.1", &[], "1.1.1.1"),
            (&peer, "1.1.1.1", &[(XFF, "6.6.6.6")], "1.1.1.1"),
            (&peer, "1.1.1.1", &[(f, "for=6.6.6.6")], "1.1.1.1"),
            (&peer, "", &[(XFF, "6.6.6.6")], "nobody"),
            // One proxy, by count.
            (&one, "10.0.0.1", &[(XFF, "1.1.1.1")], "1.1.1.1"),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6, 1.1.1.1")], "1.1.1.1"),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6,1.1.1.1")], "1.1.1.1"),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6"), (XFF, "1.1.1.1")],
                "1.1.1.1",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 6.6.6.6"), (XFF, "5.5.5.5, 1.1.1.1")],
                "1.1.1.1",
            ),
            (&one, "10.0.0.1", &[], "10.0.0.1"),
            (&one, "10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6, ")], "6.6.6.6"),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6, unknown")], "10.0.0.1"),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 1.1.1.1:4711")],
                "1.1.1.1",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, [2001:db8::1]:4711")],
                "2001:db8::",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, [2001:db8::1]")],
                "2001:db8::",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 2001:db8::1")],
                "2001:db8::",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, ::ffff:1.1.1.1")],
                "1.1.1.1",
            ),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6, 1.1.1.1.1")], "10.0.0.1"),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6, 999.1.1.1")], "10.0.0.1"),
            (&one, "10.0.0.1", &[(XFF, "6.6.6.6, 01.1.1.1")], "10.0.0.1"),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, fe80::1%eth0")],
                "10.0.0.1",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, [2001:db8::1")],
                "10.0.0.1",
            ),
            (
                &one,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, \u{a0}1.1.1.1")],
                "10.0.0.1",
            ),
            (&one, "10.0.0.1", &[(f, "for=6.6.6.6")], "10.0.0.1"),
            (&one, "", &[(XFF, "1.1.1.1")], "1.1.1.1"),
            (&one, "", &[], "nobody"),
            // Two proxies.
            (
                &two,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 1.1.1.1, 10.0.0.2")],
                "1.1.1.1",
            ),
            (&two, "10.0.0.1", &[(XFF, "1.1.1.1")], "1.1.1.1"),
            (
                &two,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, junk, 10.0.0.2")],
                "10.0.0.2",
            ),
            (
                &two,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 1.1.1.1"), (XFF, "10.0.0.2")],
                "1.1.1.1",
            ),
            // By networks.
            (
                &net,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 1.1.1.1, 10.0.0.2")],
                "1.1.1.1",
            ),
            (&net, "10.0.0.1", &[(XFF, "1.1.1.1")], "1.1.1.1"),
            (&net, "1.1.1.1", &[(XFF, "6.6.6.6")], "1.1.1.1"),
            (&net, "10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (
                &net,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, junk, 10.0.0.2")],
                "10.0.0.2",
            ),
            (
                &net,
                "10.0.0.1",
                &[(XFF, "6.6.6.6, 1.1.1.1, ::ffff:10.0.0.2")],
                "1.1.1.1",
            ),
            (
                &net,
                "::ffff:10.0.0.1",
                &[(XFF, "6.6.6.6, 1.1.1.1")],
                "1.1.1.1",
            ),
            (&net, "fd00::1", &[(XFF, "6.6.6.6, 1.1.1.1")], "1.1.1.1"),
            (&net, "fe00::1", &[(XFF, "6.6.6.6, 1.1.1.1")], "fe00::"),
            (&net, "", &[(XFF, "1.1.1.1")], "nobody"),
            // `Forwarded`.
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=1.1.1.1;proto=https")],
                "1.1.1.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6;by=x, For=\"1.1.1.1:4711\"")],
                "1.1.1.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=\"[2001:db8:0:1::7]:4711\"")],
                "2001:db8:0:1::",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6;x=\", for=1.1.1.1")],
                "1.1.1.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=\"6.6.6.6, for=\"[2001:db8::1]\"")],
                "2001:db8::",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6"), (f, "for=1.1.1.1")],
                "1.1.1.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=_hidden")],
                "10.0.0.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=unknown")],
                "10.0.0.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, proto=https")],
                "10.0.0.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=1.1.1.1;for=6.6.6.6")],
                "10.0.0.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=\"1.1.1\\.1\"")],
                "10.0.0.1",
            ),
            (
                &fwd,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=1.1.1.1;host=\"a,b;for=6.6.6.6\"")],
                "1.1.1.1",
            ),
            (&fwd, "10.0.0.1", &[(XFF, "6.6.6.6")], "10.0.0.1"),
            (
                &fnet,
                "10.0.0.1",
                &[(f, "for=6.6.6.6, for=1.1.1.1, for=10.0.0.2")],
                "1.1.1.1",
            ),
            // Another field.
            (
                &real,
                "10.0.0.1",
                &[("x-real-ip", "1.1.1.1"), (XFF, "6.6.6.6")],
                "1.1.1.1",
            ),
        ];
        assert!(table.len() >= 40);
        for (rule, peer, lines, expected) in table {
            assert_eq!(
                &found(rule, peer, lines),
                expected,
                "{peer} {lines:?} {rule:?}"
            );
        }
    }

    #[test]
    fn a_client_has_one_bucket_for_all_addresses_of_its_prefix() {
        let rule = ClientAddress::peer();
        let table = [
            (rule.clone(), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            (rule.clone(), "2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            (rule.clone(), "2001:db8:1:3::", "2001:db8:1:3::"),
            (
                rule.clone().ipv6_prefix(48),
                "2001:db8:1:3::",
                "2001:db8:1::",
            ),
            (rule.clone().ipv6_prefix(128), "2001:db8::1", "2001:db8::1"),
            (rule.clone(), "::ffff:1.2.3.4", "1.2.3.4"),
            (rule.clone(), "::ffff:1.2.3.5", "1.2.3.5"),
            (rule.clone(), "64:ff9b::1.2.3.4", "64:ff9b::"),
            (rule.nat64(), "64:ff9b::1.2.3.4", "1.2.3.4"),
        ];
        for (rule, peer, expected) in table {
            assert_eq!(found(&rule, peer, &[]), expected, "{peer}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let wrong = [
            ClientAddress::behind_hops(0),
            ClientAddress::behind([] as [&str; 0]),
            ClientAddress::behind(["everything"]),
            ClientAddress::behind(["10.0.0.0/33"]),
            ClientAddress::behind(["10.0.0.0/8", "0.0.0.0/0"]),
            ClientAddress::behind(["::/0"]),
            ClientAddress::behind(["::ffff:0:0/96"]),
            ClientAddress::behind_hops(1).header("x real ip"),
            ClientAddress::peer().ipv6_prefix(8),
        ];
        for rule in wrong {
            assert!(rule.validate().is_err(), "{rule:?}");
        }
        assert!(ClientAddress::behind(["10.0.0.0/8", "::1"])
            .validate()
            .is_ok());
    }
}
