//! Requests that two readers could understand in two ways: smuggling and splitting.

use crate::origin::Origin;
use crate::proxy::Proxy;

const OK: &str = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok";
const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";

/// What stands after content that ends too early or too late, to see whether somebody takes it for a request.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn what_cannot_be_understood_in_one_way_is_refused_and_nothing_is_forwarded() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let rows: [(&str, &[u16]); 22] = [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", &[400, 431]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[501]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[501]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", &[400]),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", &[400]),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\0\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nX A: 1\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
        ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ];
    for (request, expected) in rows {
        let mut client = proxy.connect();
        client.send(request);
        let answer = client.answer();
        assert!(expected.contains(&answer.status), "{request:?}: {answer:?}");
        assert_eq!(origin.count(), 0, "{request:?}");
    }
}

#[test]
fn a_length_beside_chunks_is_not_forwarded_and_ends_the_connection() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: Chunked\r\nContent-Length: 5",
    ] {
        let before = origin.count();
        let mut client = proxy.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n1\r\nx\r\n0\r\n\r\n{NEXT}"
        ));
        assert_eq!(client.answer().text(), "ok");
        assert!(client.is_closed(), "whoever sent this may mean another end");
        let asked = origin.last();
        assert_eq!(asked.body, b"x");
        assert!(!asked.has("content-length"), "{}", asked.head);
        assert_eq!(origin.count(), before + 1);
    }
}

#[test]
fn broken_chunks_end_the_exchange_on_both_sides() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    for content in [
        "1\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}{NEXT}"
        ));
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("200 OK"), "{content:?}: {rest}");
    }
    assert_eq!(origin.count(), 0, "no request was whole");
}

#[test]
fn chunk_extensions_end_at_the_proxy() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    let answer = client.ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=\"\\\"\"\r\nab\r\n001;y\r\nc\r\n0;z\r\n\r\n",
    );
    assert_eq!(answer.text(), "ok");
    assert_eq!(origin.last().body, b"abc", "its reader knows none");
}

#[test]
fn lines_that_end_in_a_bare_lf_are_forwarded_with_crlf() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.ask("GET / HTTP/1.1\nHost: a\nX-A: 1\n\n");
    let head = origin.last().head;
    assert_eq!(
        head.matches('\n').count(),
        head.matches("\r\n").count(),
        "{head:?}"
    );
    assert!(head.contains("x-a: 1\r\n"));
}

/// CVE-2025-4366: content that a hit leaves unread is taken for the next request.
#[test]
fn content_of_a_request_for_what_is_stored_is_not_the_next_request() {
    let origin = Origin::saying(FRESH);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.get("/");
    assert!(client.get("/").is_hit());
    let length = NEXT.len();
    let of_said_length = format!("Content-Length: {length}\r\n\r\n{NEXT}");
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{NEXT}\r\n0\r\n\r\n");
    let contents = [&of_said_length, &chunked];
    let asked = |method| contents.map(|content| (method, content));
    for (method, content) in [asked("GET"), asked("HEAD")].concat() {
        let before = origin.count();
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: a.example\r\n{content}"
        ));
        match method {
            "HEAD" => client.head(),
            _ => client.answer(),
        };
        let next = client.get("/next");
        assert_eq!(next.text(), "ok");
        let asked = origin.asked();
        assert!(asked.iter().all(|asked| asked.target() != "/smuggled"));
        assert_eq!(
            asked[before].body,
            NEXT.as_bytes(),
            "{method}: as content, to the origin"
        );
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|asked, stream| {
        let content = asked.target();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        );
        std::io::Write::write_all(stream, answer.as_bytes()).map(|()| crate::origin::Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    proxy.get("/b");
    let mut client = proxy.connect();
    let targets = ["/a", "/b", "/c", "/a", "/b"];
    let requests =
        targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    client.send(requests.concat());
    for target in targets {
        assert_eq!(client.answer().text(), target);
    }
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_tunnel_is_not_opened() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let answer = proxy
        .connect()
        .ask("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    assert!(answer.is_problem(501), "{answer:?}");
    assert_eq!(origin.count(), 0);
}
