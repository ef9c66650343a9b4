//! Fields that are about one connection, and end with it (RFC 9110 §7.6.1).

use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING,
};

/// Whether a field is always one of them.
fn is_always(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes them, and those that `Connection` names. It cannot name where a message goes or ends:
/// what comes next would take one message for another.
pub(crate) fn remove(headers: &mut HeaderMap) {
    // Few have any, and they cannot name more.
    if !headers.keys().any(is_always) {
        return;
    }
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(members)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH);
    let always = headers.keys().filter(|name| is_always(name)).cloned();
    for name in named.chain(always).collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// The members of a list of tokens.
pub(crate) fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let members = line.as_bytes().split(|byte| *byte == b',');
    members.map(<[u8]>::trim_ascii)
}

/// Leaves a message one way to say where it ends (RFC 9112 §6.3).
///
/// hyper has read it by these rules already: `chunked` beats a length, and lengths that differ are
/// refused. But it hands on the fields as they came, and who reads them next may have other rules.
pub(crate) fn settle_framing(headers: &mut HeaderMap) -> Result<(), Ambiguous> {
    let frames = |name: &HeaderName| *name == TRANSFER_ENCODING || *name == CONTENT_LENGTH;
    if !headers.keys().any(frames) {
        return Ok(());
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // Content in another coding would go on without the field that says so.
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Ambiguous);
        }
        headers.remove(CONTENT_LENGTH);
        return Ok(());
    }
    let lengths = headers.get_all(CONTENT_LENGTH);
    let Some(line) = lengths.iter().next() else {
        return Ok(());
    };
    let length = members(line).next().unwrap_or_default();
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(Ambiguous);
    }
    if lengths
        .iter()
        .flat_map(members)
        .any(|other| other != length)
    {
        return Err(Ambiguous);
    }
    let length = HeaderValue::from_bytes(length).map_err(|_| Ambiguous)?;
    headers.insert(CONTENT_LENGTH, length);
    Ok(())
}

/// A message in a transfer coding other than `chunked`, or of several lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;
