//! Connections that change their protocol.

use std::io::{Read, Write};

use crate::origin::{Origin, Then};
use crate::proxy::Proxy;

/// Greets, and echoes until the client is done.
fn echoing() -> Origin {
    Origin::start(|asked, stream| {
        if !asked.has("upgrade") {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok",
            )?;
            return Ok(Then::Keep);
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-A: 1\r\n\r\nhello ")?;
        let mut bytes = [0; 1024];
        loop {
            match stream.read(&mut bytes)? {
                0 => break,
                read => stream.write_all(&bytes[..read])?,
            }
        }
        stream.write_all(b"bye")?;
        Ok(Then::Close)
    })
}

const OFFER: &str =
    "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\nSec-WebSocket-Key: x\r\n\r\n";

#[test]
fn bytes_pass_both_ways_until_both_sides_are_done() {
    let origin = echoing();
    let proxy = Proxy::before(&origin);
    for _ in 0..2 {
        let mut client = proxy.connect();
        client.send(OFFER);
        let answer = client.head();
        assert_eq!(answer.status, 101);
        assert_eq!(answer.field("upgrade"), Some("echo"));
        assert_eq!(answer.field("connection"), Some("upgrade"));
        assert_eq!(answer.field("x-a"), Some("1"));
        client.send("one\r\n\r\n");
        let mut echoed = [0; 13];
        client.stream.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"hello one\r\n\r\n");
        client.send("two");
        client
            .stream
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        let mut rest = String::new();
        client.stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "twobye");
    }
    let asked = origin.last();
    assert_eq!(asked.fields("connection").collect::<Vec<_>>(), ["upgrade"]);
    assert_eq!(asked.fields("upgrade").collect::<Vec<_>>(), ["echo"]);
    assert_eq!(origin.count(), 2);
    assert_eq!(
        proxy.next_log_line(),
        "GET /ws 101 - larder; fwd=bypass; detail=upgrade"
    );
}

#[test]
fn an_offer_that_is_not_taken_is_answered() {
    let origin = Origin::saying("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: other\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    assert_eq!(client.ask(OFFER).status, 426);
    assert_eq!(client.ask(OFFER).status, 426, "on the same connection");
}

#[test]
fn nobody_leaves_for_a_protocol_whose_requests_would_pass_unseen() {
    let origin = echoing();
    let proxy = Proxy::before(&origin);
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade\r\nUpgrade: websocket, H2C",
        "Connection: Upgrade\r\nUpgrade: echo\r\nUpgrade: h2c",
        "Upgrade: echo",
        "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 1",
    ] {
        let mut client = proxy.connect();
        let content = if fields.contains("Content-Length") {
            "x"
        } else {
            ""
        };
        let answer = client.ask(format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n{content}"
        ));
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{fields}");
        let asked = origin.last();
        assert!(
            !asked.has("upgrade") && !asked.has("http2-settings"),
            "{}",
            asked.head
        );
    }
}
