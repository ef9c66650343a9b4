//! Origins that never come to the point, or leave in the middle: each costs its own client an answer, and nobody else.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::origin::{Origin, Then};
use crate::proxy::Proxy;

const FRESH: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";

/// Goes on with `piece` until the proxy leaves, where that is asked for; answers everything else.
fn repeating(first: &'static [u8], piece: &'static [u8], pause: Duration) -> Origin {
    Origin::start(move |asked, stream| {
        if asked.target() != "/endless" {
            return stream.write_all(FRESH).map(|()| Then::Keep);
        }
        stream.write_all(first)?;
        while stream.write_all(piece).is_ok() {
            thread::sleep(pause);
        }
        Ok(Then::Close)
    })
}

#[test]
fn a_head_that_drips_is_504() {
    let origin = repeating(b"HTTP/1.1 200 OK\r\nX-A: ", b"a", Duration::from_millis(50));
    let proxy = Proxy::with(&origin, &["--timeout", "1"]);
    assert!(proxy.get("/endless").is_problem(504));
    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn hints_without_end_are_504() {
    let origin = repeating(b"", HINTS, Duration::from_millis(1));
    let proxy = Proxy::with(&origin, &["--timeout", "1"]);
    let mut client = proxy.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut answer = client.answer();
    while answer.status == 103 {
        answer = client.answer();
    }
    assert!(answer.is_problem(504), "{answer:?}");
    assert_eq!(client.get("/").text(), "ok", "on the same connection");
}

/// Many more than are kept for a client: which of them it gets is luck, the answer is not.
#[test]
fn a_flood_of_hints_delays_no_answer_and_is_not_stored() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(&HINTS.repeat(10_000))?;
        stream.write_all(FRESH).map(|()| Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for hits in [false, true] {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let mut answer = client.answer();
        while answer.status == 103 {
            assert!(!hits, "what is stored has none");
            answer = client.answer();
        }
        assert_eq!((answer.text(), answer.is_hit()), ("ok", hits));
        assert!(!answer.has("link"));
    }
}

/// Its client may leave when it has enough; others are answered meanwhile, and it is never stored.
#[test]
fn content_that_drips_holds_up_nobody_else() {
    let origin = repeating(
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
        Duration::from_millis(20),
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for _ in 0..10 {
        assert_eq!(client.chunk().unwrap(), b"a");
        assert_eq!(proxy.get("/").text(), "ok");
    }
    drop(client);
    let mut again = proxy.connect();
    again.send("GET /endless HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!again.head().is_hit());
}

/// What is unread when a socket closes makes a reset of the close.
#[test]
fn a_reset_in_place_of_an_answer_is_502() {
    let origin = Origin::reading(
        |asked, stream| match asked.target() {
            "/reset" => Ok(()),
            _ => std::io::Read::read_exact(stream, &mut [0; 1]),
        },
        |asked, stream| match asked.target() {
            "/reset" => Ok(Then::Close),
            _ => stream.write_all(FRESH).map(|()| Then::Keep),
        },
    );
    let proxy = Proxy::before(&origin);
    let post = |target| format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    for _ in 0..5 {
        let mut client = proxy.connect();
        let answer = client.ask(post("/reset"));
        assert!(answer.is_problem(502), "{answer:?}");
        assert_eq!(client.ask(post("/")).text(), "ok");
    }
}
