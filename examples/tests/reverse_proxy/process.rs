//! How the program starts, stops, and what it prints.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::origin::{Origin, Then};
use crate::proxy::{program, Proxy};
use crate::server::eventually;

#[test]
fn flags_that_make_no_sense_stop_the_start_with_a_message() {
    let rows: [(&[&str], &str); 18] = [
        (&[], "--origin is needed: http://HOST:PORT"),
        (&["--origin"], "--origin: needs a value"),
        (&["--origin", "127.0.0.1:80"], "--origin: not of the form"),
        (&["--origin", "ftp://a"], "--origin: not of the form"),
        (&["--origin", "http://a/path"], "--origin: not of the form"),
        (&["--origin", "http://a?b"], "--origin: not of the form"),
        (&["--origin", "http://u@a"], "--origin: not of the form"),
        (&["--origin", "http://"], "--origin: not of the form"),
        (
            &["--origin", "https://a"],
            "--origin: only origins with cleartext",
        ),
        (&["--listen", "here"], "--listen: not an address"),
        (&["--listen", "8080"], "--listen: not an address"),
        (
            &["--profile", "fast"],
            "--profile: there are two: safe, rfc9111",
        ),
        (&["--memory", "1"], "--memory: not a number of MiB"),
        (&["--memory", "64M"], "--memory: not a number of MiB"),
        (&["--timeout", "0"], "--timeout: not a number of seconds"),
        (&["--timeout", "1s"], "--timeout: not a number of seconds"),
        (&["--origins", "x"], "--origins: no such flag"),
        (&["http://a"], "http://a: no such flag"),
    ];
    for (flags, expected) in rows {
        let output = program().args(flags).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with(expected), "{flags:?}: {message}");
        assert!(message.contains("usage: reverse_proxy"), "{message}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn what_cannot_be_had_stops_the_start_with_a_message() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (flag, value) in [("--redis", "127.0.0.1:6379"), ("--listen", &taken)] {
        let output = program()
            .args(["--origin", "http://a", flag, value])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with(flag), "{message}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn help_is_on_standard_output() {
    let output = program().arg("--help").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout)
        .unwrap()
        .starts_with("usage: reverse_proxy"));
}

#[test]
fn each_request_is_logged_with_what_the_cache_did() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nCache-Status: other; hit\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::before(&origin);
    proxy.get("/a?b");
    assert_eq!(
        proxy.next_log_line(),
        "GET /a?b 200 2 larder; fwd=uri-miss; stored"
    );
    proxy.get("/a?b");
    assert!(proxy
        .next_log_line()
        .starts_with("GET /a?b 200 2 larder; hit; ttl="));
    proxy.connect().ask("GET / HTTP/1.1\r\n\r\n");
    assert!(proxy.next_log_line().starts_with("GET / 400 "));
}

#[test]
fn requests_under_way_end_before_the_proxy_does() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")?;
        thread::sleep(Duration::from_millis(800));
        stream.write_all(b"two").map(|()| Then::Keep)
    });
    let mut proxy = Proxy::before(&origin);
    let _idle = proxy.connect();
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(eventually(|| origin.count() == 1));
    proxy.ask_to_stop();
    let answer = client.answer();
    assert_eq!((answer.text(), answer.complete), ("onetwo", true));
    let start = Instant::now();
    assert!(proxy.ended().expect("it ends").success());
    assert!(start.elapsed() < Duration::from_secs(5), "nobody was left");
    assert!(TcpStream::connect(&proxy.address).is_err());
}
