//! Requests in HTTP/2 that would be two, or another one, if their fields were written down in HTTP/1.1 unseen.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::origin::Origin;
use crate::proxy::Proxy;

const OK: &str = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let head = [
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    [&head, content].concat()
}

/// Literal, without the tables and codes of HPACK, so that any byte can be said.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        field.push(u8::try_from(text.len()).expect("a short one"));
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// Sends one request, and waits until it is answered or given up.
fn send(proxy: &Proxy, fields: &[(&str, &str)], content: Option<&str>) {
    let mut stream = TcpStream::connect(&proxy.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let block: Vec<u8> = fields.iter().flat_map(|(n, v)| literal(n, v)).collect();
    let end_headers = 4;
    let flags = end_headers | if content.is_none() { END_STREAM } else { 0 };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(HEADERS, flags, 1, &block));
    if let Some(content) = content {
        bytes.extend(frame(DATA, END_STREAM, 1, content.as_bytes()));
    }
    stream.write_all(&bytes).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut content = vec![0; length as usize];
        let _ = stream.read_exact(&mut content);
        let (kind, flags) = (head[3], head[4]);
        let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if ends || matches!(kind, RST_STREAM | GO_AWAY) {
            return;
        }
    }
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/"),
];

/// [`GET`], with one of its fields said otherwise.
fn saying(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let instead = |field: (&'static str, &'static str)| match field.0 == name {
        true => (name, value),
        false => field,
    };
    GET.into_iter().map(instead).collect()
}

#[test]
fn a_request_that_is_well_formed_passes() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    send(&proxy, &GET, None);
    send(&proxy, &saying(":method", "POST"), Some("content"));
    let lines: Vec<String> = origin.asked().iter().map(|a| a.line().to_owned()).collect();
    assert_eq!(lines, ["GET / HTTP/1.1", "POST / HTTP/1.1"]);
    assert_eq!(origin.last().body, b"content");
}

#[test]
fn fields_that_would_be_another_request_in_http_1_1_are_refused() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let mut rows = vec![
        saying(":path", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /smuggled"),
        saying(":path", "/ HTTP/1.1"),
        saying(":path", "/\r\nX-A: 1"),
        saying(":path", "smuggled"),
        saying(":path", ""),
        saying(":method", "GET /smuggled HTTP/1.1\r\nX-A:"),
        saying(":method", "GET "),
        saying(":authority", "a.example\r\nX-A: 1"),
        saying(":authority", "user@a.example"),
        saying(":authority", "a example"),
        GET[..3].to_vec(),
        [&GET[..], &[(":path", "/smuggled")]].concat(),
        [&GET[..], &[("x-a", "1"), (":method", "POST")]].concat(),
        [&GET[..], &[("host", "b.example")]].concat(),
    ];
    let fields = [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\rx-b: 2"),
        ("x-a", "1\n\nGET /smuggled HTTP/1.1"),
        ("x-a", "1\0"),
        ("x-a: 1\r\nx-b", "2"),
        ("x-a:", "1"),
        ("x a", "1"),
        ("X-A", "1"),
        ("", "1"),
        ("connection", "x-a"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("content-length", "1, 2"),
        ("content-length", "+0"),
    ];
    rows.extend(fields.map(|field| [&GET[..], &[field]].concat()));
    for fields in rows {
        send(&proxy, &fields, None);
        assert_eq!(origin.count(), 0, "{fields:?}: {}", origin.last().head);
    }
}

/// The length that is said, and the content that comes, are two ways to end a request.
#[test]
fn content_of_another_length_than_is_said_is_no_second_request() {
    const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    for length in ["0", "1", "42", "999"] {
        for extra in [("content-length", length), ("transfer-encoding", "chunked")] {
            let fields = [
                &saying(":method", "POST")[..],
                &[extra, ("content-length", length)],
            ];
            send(&proxy, &fields.concat(), Some(NEXT));
        }
        send(
            &proxy,
            &[
                &saying(":method", "POST")[..],
                &[("content-length", length)],
            ]
            .concat(),
            Some(NEXT),
        );
        assert_eq!(proxy.get("/next").text(), "ok");
    }
    let asked = origin.asked();
    let next = |asked: &crate::origin::Asked| asked.target() == "/next";
    assert!(asked.iter().all(next), "{asked:?}");
    assert_eq!(asked.len(), 4);
}
