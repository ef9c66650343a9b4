//! Fields that are about one connection, and end with it (RFC 9110 §7.6.1).

use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

static ALWAYS: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes them, and those that `Connection` names. It cannot name where a message goes or ends:
/// what comes next would take one message for another.
pub(crate) fn remove(headers: &mut HeaderMap) {
    // Few have any, and looking at each field once is less than looking for each of these.
    if !headers.keys().any(|name| ALWAYS.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(members)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in ALWAYS.iter().chain(&named) {
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
