//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

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
pub(super) fn everybody<'a>(networks: impl Iterator<Item = &'a Network>) -> bool {
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
