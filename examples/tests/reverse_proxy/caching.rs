//! What the cache does for whoever asks through the proxy; alone, and with others behind one Redis.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::origin::{Origin, Then};
use crate::proxy::Proxy;
use crate::server::{eventually, Server};

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn what_is_fresh_is_answered_from_store_in_each_profile() {
    for profile in ["safe", "rfc9111"] {
        let origin = Origin::saying(FRESH);
        let proxy = Proxy::with(&origin, &["--profile", profile]);
        let mut client = proxy.connect();
        assert_eq!(
            client.get("/").cache_status(),
            "larder; fwd=uri-miss; stored"
        );
        let hit = client.get("/");
        assert!(hit.is_hit() && hit.has("age"), "{hit:?}");
        client.ask("GET / HTTP/1.1\r\nHost: a.example\r\nCookie: a=b\r\n\r\n");
        let expected = if profile == "safe" { 2 } else { 1 };
        assert_eq!(origin.count(), expected, "a cookie, with profile {profile}");
    }
}

#[test]
fn an_unsafe_request_that_succeeds_invalidates_its_target() {
    let origin = Origin::saying(FRESH);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for method in ["POST", "PUT", "DELETE", "PURR"] {
        client.get("/");
        assert!(client.get("/").is_hit());
        client.ask(format!(
            "{method} / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
        ));
        assert!(!client.get("/").is_hit(), "{method}");
    }
}

#[test]
fn many_who_ask_at_once_ask_the_origin_once() {
    let origin = Origin::start(|_, stream| {
        thread::sleep(Duration::from_millis(300));
        stream.write_all(FRESH.as_bytes()).map(|()| Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(proxy.get("/").text(), "ok"));
        }
    });
    assert_eq!(origin.count(), 1);
}

#[test]
fn proxies_with_one_redis_share_what_is_stored_and_invalidated() {
    let redis = Server::start();
    let origin = Origin::saying(FRESH);
    let flags = ["--redis", &redis.url()];
    let (a, b) = (Proxy::with(&origin, &flags), Proxy::with(&origin, &flags));
    a.get("/");
    // Stored there in the background.
    assert!(eventually(|| b.get("/").is_hit()));
    let before = origin.count();
    assert!(b.get("/").is_hit() && origin.count() == before);
    a.connect()
        .ask("DELETE / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(eventually(|| !b.get("/").is_hit()));
}

#[test]
fn a_redis_that_freezes_or_goes_costs_no_answer() {
    let mut redis = Server::start();
    let origin = Origin::saying(FRESH);
    let proxy = Proxy::with(&origin, &["--redis", &redis.url()]);
    redis.freeze();
    for round in 0..5 {
        assert_eq!(proxy.get(&format!("/{round}")).text(), "ok");
    }
    redis.thaw();
    redis.kill();
    for round in 5..10 {
        assert_eq!(proxy.get(&format!("/{round}")).text(), "ok");
    }
}
