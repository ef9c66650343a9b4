//! The same layer on the other side: the example `client`, which has a private cache around hyper's client.

use crate::origin::Origin;
use crate::proxy::example;

/// What the example prints, line by line.
fn asking(origin: &Origin) -> Vec<String> {
    let output = example("client").arg(origin.url() + "/a").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn a_client_keeps_what_is_its_users_own() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: private, max-age=60, s-maxage=0\r\nContent-Length: 2\r\n\r\nok",
    );
    let lines = asking(&origin);
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("2 bytes") && lines[0].contains("fwd=uri-miss; stored"));
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.contains("larder; hit; ttl=")),
        "{lines:?}"
    );
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_asks_whether_what_it_has_still_holds() {
    let origin = Origin::start(|asked, stream| {
        let answer: &[u8] = match asked.has("if-none-match") {
            true => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
            false => b"HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\nok",
        };
        std::io::Write::write_all(stream, answer).map(|()| crate::origin::Then::Keep)
    });
    let lines = asking(&origin);
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.starts_with("200 OK: 2 bytes")),
        "{lines:?}"
    );
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.contains("fwd-status=304")),
        "{lines:?}"
    );
    let validated = origin
        .asked()
        .iter()
        .filter(|asked| asked.has("if-none-match"))
        .count();
    assert_eq!(validated, 2);
}
