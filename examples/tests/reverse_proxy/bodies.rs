//! Content on its way: nothing waits for its end, and nobody takes it for something else.

use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::origin::{read_chunk, Origin, Then};
use crate::proxy::Proxy;
use crate::server::Server;

#[test]
fn answers_stream() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")?;
        told.lock().unwrap().recv().unwrap();
        stream
            .write_all(b"3\r\ntwo\r\n0\r\n\r\n")
            .map(|()| Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap(), b"one");
    go_on.send(()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"two");
    assert_eq!(client.chunk().unwrap(), b"");
    let hit = proxy.get("/");
    assert!(hit.is_hit());
    assert_eq!(hit.text(), "onetwo");
}

#[test]
fn requests_stream() {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let origin = Origin::reading(
        move |asked, stream| loop {
            let chunk = read_chunk(stream)?;
            if chunk.is_empty() {
                return Ok(());
            }
            asked.body.extend(&chunk);
            seen.lock().unwrap().send(chunk).unwrap();
        },
        |_, stream| {
            stream
                .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                .map(|()| Then::Keep)
        },
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    );
    let soon = Duration::from_secs(10);
    assert_eq!(sees.recv_timeout(soon).unwrap(), b"one");
    client.send("3;ext=\"\\\"0\"\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(sees.recv_timeout(soon).unwrap(), b"two");
    assert_eq!(client.answer().status, 201);
    assert_eq!(origin.last().body, b"onetwo");
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let origin = Origin::reading(
        |_, _| Ok(()),
        |_, stream| {
            stream.write_all(
                b"HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            )?;
            thread::sleep(Duration::from_millis(500));
            Ok(Then::Close)
        },
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\nabc");
    assert_eq!(client.answer().status, 413);
}

#[test]
fn content_of_no_said_length_ends_with_its_connection_however_late() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\none")?;
        thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"two").map(|()| Then::Close)
    });
    let proxy = Proxy::with(&origin, &["--timeout", "1"]);
    assert_eq!(proxy.get("/").text(), "onetwo");
    assert!(proxy.get("/").is_hit());
}

#[test]
fn content_that_goes_out_slowly_is_waited_for() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::with(&origin, &["--timeout", "1"]);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n");
    for byte in ["a", "b", "c", "d", "e"] {
        thread::sleep(Duration::from_millis(500));
        client.send(byte);
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.last().body, b"abcde");
}

#[test]
fn a_head_request_gets_the_fields_and_no_content() {
    let origin = Origin::start(|asked, stream| {
        let content = if asked.line().starts_with("HEAD") {
            ""
        } else {
            "hello"
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\n{content}"
        );
        stream.write_all(answer.as_bytes()).map(|()| Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for hits in [false, true] {
        let answer = client.ask("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answer.field("content-length"), Some("5"));
        let whole = client.get("/");
        assert_eq!(
            (whole.text(), whole.is_hit()),
            ("hello", hits),
            "what HEAD got is not stored for GET"
        );
    }
}

#[test]
fn a_part_is_never_the_whole() {
    let origin = Origin::start(|asked, stream| {
        let answer: &[u8] = match asked.has("range") {
            true => b"HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nhe",
            false => b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello",
        };
        stream.write_all(answer).map(|()| Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    let part = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-1\r\n\r\n");
    assert_eq!((part.status, part.text()), (206, "he"));
    let whole = client.get("/");
    assert_eq!((whole.status, whole.text()), (200, "hello"));
    let part = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\nRange: bytes=3-\r\n\r\n");
    assert_eq!(
        (part.status, part.text(), part.field("content-range")),
        (206, "lo", Some("bytes 3-4/5"))
    );
}

#[test]
fn trailers_pass_and_what_has_them_is_not_stored() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: TE\r\nTE: trailers\r\n\r\n");
        assert_eq!(client.head().field("trailer"), Some("X-Sum"));
        assert_eq!(client.chunk().unwrap(), b"ok");
        let mut end = [0; "0\r\nx-sum: 1\r\n\r\n".len()];
        std::io::Read::read_exact(&mut client.stream, &mut end).unwrap();
        assert_eq!(&end, b"0\r\nx-sum: 1\r\n\r\n");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_answer_that_nobody_reads_any_more_is_not_read_from_the_origin() {
    for field in ["no-store", "max-age=60"] {
        let (gone, is_gone) = channel();
        let gone = Mutex::new(gone);
        let origin = Origin::start(move |_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nCache-Control: {field}\r\n\r\n")?;
            while stream.write_all(&[b'a'; 1024]).is_ok() {}
            gone.lock().unwrap().send(()).unwrap();
            Ok(Then::Close)
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.head().status, 200);
        drop(client);
        let told = is_gone.recv_timeout(Duration::from_secs(10));
        assert!(told.is_ok(), "{field}");
    }
}

#[test]
fn content_beyond_the_limit_of_what_is_stored_passes() {
    let content = "a".repeat(3 << 20);
    let redis = Server::start();
    let origin = Origin::saying(format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    ));
    // An eighth of the memory, or 1 MiB where Redis has it too.
    for flags in [["--memory", "16"], ["--redis", &redis.url()]] {
        let proxy = Proxy::with(&origin, &flags);
        let mut client = proxy.connect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!(
                answer.cache_status(),
                "larder; fwd=uri-miss; detail=body-too-large"
            );
            assert!(answer.text() == content);
        }
    }
    let proxy = Proxy::with(&origin, &["--memory", "24"]);
    proxy.get("/");
    let answer = proxy.get("/");
    assert!(answer.is_hit() && answer.text() == content);
}
