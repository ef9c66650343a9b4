//! Interim answers (1xx).

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::origin::{Origin, Then};
use crate::proxy::Proxy;

const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-A: 1\r\nX-A: \xe9\r\nConnection: x-b\r\nX-B: 1\r\nContent-Length: 9\r\n\r\n";

#[test]
fn hints_arrive_before_the_answer_and_are_not_stored() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
        stream.write_all(HINTS)?;
        told.lock().unwrap().recv().unwrap();
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
        )?;
        Ok(Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.answer().line, "HTTP/1.1 102 Processing");
    let hints = client.answer();
    assert_eq!(hints.line, "HTTP/1.1 103 Early Hints");
    let fields: Vec<(&str, &str)> = hints.fields.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        fields,
        [("link", "</a.css>"), ("x-a", "1"), ("x-a", "\u{e9}")]
    );
    go_on.send(()).unwrap();
    for hits in [false, true] {
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.text(), answer.is_hit()),
            (200, "ok", hits)
        );
        assert!(!answer.has("link") && !answer.has("x-a"));
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
}

#[test]
fn hints_and_the_answer_in_one_piece_keep_their_order() {
    let mut said = HINTS.repeat(3);
    said.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok",
    );
    let origin = Origin::saying(said);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for _ in 0..50 {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let statuses = [(); 4].map(|()| client.answer().status);
        assert_eq!(statuses, [103, 103, 103, 200]);
    }
}

/// A client that reads slowly has the end of one answer in hyper's buffer while the next is asked for.
#[test]
fn hints_never_stand_inside_or_after_an_answer() {
    const LENGTH: usize = 4 << 20;
    let origin = Origin::start(|_, stream| {
        stream.write_all(HINTS)?;
        stream.write_all(
            format!(
                "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {LENGTH}\r\n\r\n"
            )
            .as_bytes(),
        )?;
        stream.write_all(&vec![b'a'; LENGTH])?;
        Ok(Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(5));
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(200));
        assert_eq!(client.head().status, 103);
        let answer = client.head();
        assert_eq!(answer.status, 200);
        let mut content = vec![0; LENGTH];
        for part in content.chunks_mut(1 << 20) {
            thread::sleep(Duration::from_millis(20));
            client.stream.read_exact(part).unwrap();
        }
        assert!(content.iter().all(|byte| *byte == b'a'));
    }
}

#[test]
fn http_1_0_gets_none() {
    let mut said = HINTS.to_vec();
    said.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let origin = Origin::saying(said);
    let proxy = Proxy::before(&origin);
    let answer = proxy
        .connect()
        .ask("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_client_that_expects_to_be_told_to_continue_is_told_once() {
    let mut said = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    said.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let origin = Origin::saying(said);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(client.answer().status, 100);
    client.send("abc");
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.last().body, b"abc");
}
