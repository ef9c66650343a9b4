//! What proxies have noted: lists of addresses, and `Forwarded` (RFC 7239).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The elements of a list, the last one first. A comma between quotes is none, as seen from the right: what
/// a trusted proxy has added there is read as it wrote it, whatever a client has opened and not closed
/// further left.
pub(super) struct FromRight<'a>(pub(super) Option<&'a [u8]>);

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
pub(super) fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
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
pub(super) fn node(text: &[u8]) -> Option<IpAddr> {
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
