//! Connections that change their protocol (RFC 9110 §7.8), as WebSocket does: from the 101 on, the
//! proxy copies bytes both ways and knows nothing of them.

use hyper::body::Body;
use hyper::header::{HeaderMap, HeaderValue, CONNECTION, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Version};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::hop_by_hop;

/// The protocol that a request may change to.
///
/// Not to HTTP/2: its requests would pass the proxy unseen, and what they change, the cache would
/// not hear of. Nor after content, which would have to end first. Who offers these is answered in
/// HTTP/1.1, as any server may.
pub(crate) fn offered<B: Body>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let protocol = headers.get(UPGRADE)?;
    let http2 = |member: &[u8]| member.to_ascii_lowercase().starts_with(b"h2");
    let wanted = request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && names_upgrade(headers)
        && headers.get_all(UPGRADE).iter().nth(1).is_none()
        && !hop_by_hop::members(protocol).any(http2);
    wanted.then(|| protocol.clone())
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    lines
        .flat_map(hop_by_hop::members)
        .any(|name| name.eq_ignore_ascii_case(b"upgrade"))
}

/// Says on the next connection that it changes too.
pub(crate) fn offer(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
}

/// Copies both ways, until both sides are done or one of them breaks.
pub(crate) fn tunnel(client: OnUpgrade, origin: OnUpgrade) {
    tokio::spawn(async move {
        let (Ok(client), Ok(origin)) = tokio::join!(client, origin) else {
            return;
        };
        let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
        let _ = copy_bidirectional(&mut client, &mut origin).await;
    });
}
