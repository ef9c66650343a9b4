//! Origins that break: nothing of it is stored, and no client gets another one's answer.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::origin::{Asked, Origin, Then};
use crate::proxy::Proxy;

/// Breaks `/broken` in the way that is given, and answers everything else.
fn breaking(broken: &'static str, then: Then) -> Origin {
    Origin::start(move |asked, stream| match asked.target() {
        "/broken" => stream.write_all(broken.as_bytes()).map(|()| then),
        _ => ok(asked, stream),
    })
}

/// Tells what it was asked, for a minute.
fn ok(asked: &Asked, stream: &mut TcpStream) -> io::Result<Then> {
    let content = asked.target();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    );
    stream.write_all(answer.as_bytes()).map(|()| Then::Keep)
}

#[test]
fn content_that_is_cut_short_is_seen_to_be_and_is_not_stored() {
    for broken in [
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    ] {
        let origin = breaking(broken, Then::Close);
        let proxy = Proxy::before(&origin);
        for count in [1, 2] {
            let mut client = proxy.connect();
            let answer = client.get("/broken");
            assert!(!answer.complete, "{broken:?}: {answer:?}");
            assert!(client.is_closed());
            assert_eq!(origin.count(), count, "{broken:?}");
        }
        assert_eq!(proxy.get("/whole").text(), "/whole");
    }
}

/// Content of no said length ends with the connection, and a reset is no end.
#[test]
fn content_that_a_reset_ends_is_seen_to_be_cut() {
    // What is unread when a socket closes makes a reset of the close.
    let unread = 1 << 20;
    let origin = Origin::reading(
        |_, _| Ok(()),
        |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nabc")?;
            thread::sleep(Duration::from_millis(300));
            Ok(Then::Close)
        },
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {unread}\r\n\r\n{}",
        "a".repeat(unread)
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.complete), (200, false));
}

#[test]
fn surplus_after_the_declared_length_is_nobodys_answer() {
    const EVIL: &str =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil";
    for broken in [
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\n",
    ] {
        let broken: &'static str = Box::leak(format!("{broken}{EVIL}").into());
        let origin = breaking(broken, Then::Keep);
        let proxy = Proxy::before(&origin);
        let mut client = proxy.connect();
        for round in 0..50 {
            client.get("/broken");
            let target = format!("/{round}");
            assert_eq!(client.get(&target).text(), target, "after {broken:?}");
            assert_eq!(client.get(&target).text(), target);
        }
    }
}

#[test]
fn surplus_that_comes_late_is_nobodys_answer() {
    let origin = Origin::start(|asked, stream| {
        ok(asked, stream)?;
        if asked.target() == "/broken" {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
        }
        Ok(Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.get("/broken");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(client.get("/next").text(), "/next");
}

#[test]
fn content_in_the_answer_to_head_is_nobodys_answer() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\nevil",
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for _ in 0..20 {
        client.ask("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let next = client.get("/");
        assert_eq!(
            (next.status, next.text()),
            (200, "evil"),
            "the origin's answer to GET, whole"
        );
    }
}

#[test]
fn answers_that_are_none_are_502_and_not_stored() {
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "X-A: 1\r\n".repeat(200)
    );
    let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(1 << 20));
    let rows: [&str; 13] = [
        "",
        "HTTP/1.1",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        &many,
        &long,
    ];
    for broken in rows {
        let shown = &broken[..broken.len().min(80)];
        let origin = breaking(Box::leak(broken.into()), Then::Close);
        let proxy = Proxy::before(&origin);
        for count in [1, 2] {
            let answer = proxy.get("/broken");
            assert!(answer.is_problem(502), "{shown:?}: {answer:?}");
            assert!(answer.cache_status().starts_with("larder; fwd=uri-miss"));
            assert!(answer
                .field("proxy-status")
                .unwrap()
                .starts_with("larder; error="));
            assert_eq!(origin.count(), count, "asked once for each: {shown:?}");
        }
    }
}

#[test]
fn fields_without_end_are_given_up() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"X-A: 1\r\n")?;
        }
    });
    let proxy = Proxy::before(&origin);
    assert!(proxy.get("/").is_problem(502));
}

#[test]
fn two_ways_to_end_an_answer_become_one() {
    let rows = [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        ("Content-Length: 2\r\nContent-Length: 2", "ok"),
        ("Content-Length: 2, 2", "ok"),
    ];
    for (fields, content) in rows {
        let origin = Origin::saying(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}\r\n\r\n{content}"
        ));
        let proxy = Proxy::before(&origin);
        let mut client = proxy.connect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.text(), answer.complete), ("ok", true), "{fields:?}");
            let lengths = answer
                .fields
                .iter()
                .filter(|(name, _)| name == "content-length");
            assert!(
                lengths.count() + usize::from(answer.has("transfer-encoding")) == 1,
                "{answer:?}"
            );
        }
        assert!(client.get("/").is_hit());
    }
}

#[test]
fn an_origin_that_keeps_silent_is_504() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |asked, stream| {
        if asked.target() == "/silent" {
            // For as long as the test goes on.
            let _ = told.lock().unwrap().recv();
        }
        ok(asked, stream)
    });
    let proxy = Proxy::with(&origin, &["--timeout", "1"]);
    let answer = proxy.get("/silent");
    assert!(answer.is_problem(504), "{answer:?}");
    assert!(answer.cache_status().starts_with("larder; fwd=uri-miss"));
    assert!(answer.has("proxy-status"));
    assert_eq!(proxy.get("/next").text(), "/next");
    drop(go_on);
}

#[test]
fn an_origin_that_is_not_there_is_502() {
    let nowhere = Proxy::start("http://127.0.0.1:1", &[]);
    let answer = nowhere.get("/");
    assert!(answer.is_problem(502), "{answer:?}");
    let said = answer.field("proxy-status");
    assert_eq!(said, Some("larder; error=destination_unavailable"));
}

#[test]
fn a_502_lends_no_fields_of_what_is_stored() {
    let origin = Origin::start(|asked, stream| {
        if asked.connection == 0 {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=1, must-revalidate\r\nETag: \"a\"\r\nX-A: 1\r\n\
                  Content-Length: 2\r\nConnection: close\r\n\r\nok",
            )?;
        }
        Ok(Then::Close)
    });
    let proxy = Proxy::before(&origin);
    assert_eq!(proxy.get("/").text(), "ok");
    thread::sleep(Duration::from_millis(2100));
    let answer = proxy.get("/");
    assert!(answer.is_problem(502), "{answer:?}");
    assert!(!answer.has("x-a") && !answer.has("etag"), "{answer:?}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

#[test]
fn a_request_is_sent_once_whatever_becomes_of_it() {
    let origin = Origin::start(|asked, stream| match asked.target() {
        "/gone" => Ok(Then::Close),
        _ => ok(asked, stream),
    });
    let proxy = Proxy::before(&origin);
    // Over a connection that was used before, where a client would be tempted to try again.
    for _ in 0..5 {
        proxy.get("/a?warm");
        assert!(proxy.get("/gone").is_problem(502));
    }
    let gone = origin
        .asked()
        .iter()
        .filter(|asked| asked.target() == "/gone")
        .count();
    assert_eq!(gone, 5);
}

#[test]
fn a_connection_that_the_origin_closed_meanwhile_costs_no_request() {
    let origin = Origin::start(|asked, stream| {
        ok(asked, stream)?;
        Ok(Then::Close)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for round in 0..20 {
        assert_eq!(client.get(&format!("/{round}")).status, 200);
        // The close arrives; it was not announced.
        thread::sleep(Duration::from_millis(20));
        let posted = client.ask(format!(
            "POST /{round}/p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx"
        ));
        assert_eq!(posted.status, 200);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(origin.count(), 40);
}

/// Many servers close a connection that is idle for five seconds: a request must not meet the close.
#[test]
fn a_connection_is_not_used_after_five_idle_seconds() {
    let origin = Origin::start(ok);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.get("/a");
    client.get("/b");
    thread::sleep(Duration::from_millis(4900));
    client.get("/c");
    let connections: Vec<usize> = origin
        .asked()
        .iter()
        .map(|asked| asked.connection)
        .collect();
    assert_eq!(connections, [0, 0, 1]);
}
