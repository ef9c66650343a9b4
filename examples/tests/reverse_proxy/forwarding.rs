//! What passes the proxy, and what ends there.

use std::io::Write;

use crate::origin::{Origin, Then};
use crate::proxy::Proxy;

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
const OK: &str = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn methods_and_targets_reach_the_origin_as_they_came() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for (method, target) in [
        ("GET", "/a?b=%20c&b=&&a"),
        ("GET", "//other.example/x?y?z"),
        ("GET", "/%2e%2E/../a/./b;c=1?%zz"),
        ("PURR", "/?"),
        ("PATCH", "/a\"{b}|"),
        ("TRACE", "/"),
        ("OPTIONS", "*"),
        ("DELETE", "/a?"),
    ] {
        let answer = client.ask(format!(
            "{method} {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"
        ));
        assert_eq!(answer.status, 200, "{method} {target}");
        assert_eq!(origin.last().line(), format!("{method} {target} HTTP/1.1"));
    }
}

#[test]
fn fields_pass_both_ways_repeated_ones_in_order_and_bytes_as_bytes() {
    let said = b"HTTP/1.1 200 OK\r\nX-B: 2\r\nX-A: 1\r\nX-B:  \xff\xe9\t3 \r\nCDN-Cache-Control: max-age=1\r\n\
                 Cache-Control: no-store\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::saying(*said);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    let answer = client.ask(
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX-B: 2\r\nCookie: a=b\r\nX-B: \xff\xe9\t3\r\nX-Empty:\r\nForwarded: for=_x\r\n\r\n",
    );
    let of = |name| -> Vec<&str> {
        let lines = answer.fields.iter().filter(|(field, _)| field == name);
        lines.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(of("x-b"), ["2", "\u{ff}\u{e9}\t3"]);
    assert_eq!(of("x-a"), ["1"]);
    assert_eq!(of("x-empty"), [""]);
    assert_eq!(of("cdn-cache-control"), ["max-age=1"]);
    let asked = origin.last();
    assert_eq!(
        asked.fields("x-b").collect::<Vec<_>>(),
        ["2", "\u{ff}\u{e9}\t3"]
    );
    assert_eq!(asked.fields("cookie").collect::<Vec<_>>(), ["a=b"]);
    assert_eq!(asked.fields("forwarded").collect::<Vec<_>>(), ["for=_x"]);
    assert_eq!(asked.fields("host").collect::<Vec<_>>(), ["a.example"]);
    assert!(!asked.has("x-forwarded-for"));
}

const OF_ONE_CONNECTION: &str = "Connection: keep-alive, X-Named\r\nConnection: ,X-Also\r\nX-Named: 1\r\n\
    X-Also: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
    Proxy-Authentication-Info: x\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\nUpgrade: x\r\nX-Kept: 1\r\n";

#[test]
fn fields_of_one_connection_end_at_the_proxy_both_ways_and_are_not_stored() {
    let origin = Origin::saying(FRESH.replace("\r\n\r\n", &format!("\r\n{OF_ONE_CONNECTION}\r\n")));
    let proxy = Proxy::before(&origin);
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{OF_ONE_CONNECTION}\r\n");
    let first = proxy.connect().ask(request);
    let hit = proxy.get("/");
    assert!(hit.is_hit(), "{}", hit.cache_status());
    let asked = origin.last();
    let ended = OF_ONE_CONNECTION
        .lines()
        .filter_map(|line| line.split_once(':'));
    for (name, _) in ended.filter(|(name, _)| *name != "X-Kept") {
        let name = name.to_ascii_lowercase();
        assert!(!asked.has(&name), "{name} in {}", asked.head);
        assert!(!first.has(&name) && !hit.has(&name), "{name}");
    }
    assert!(asked.has("x-kept") && first.has("x-kept") && hit.has("x-kept"));
}

#[test]
fn connection_does_not_take_away_where_a_message_goes_or_ends() {
    let said = OK.replace("\r\n\r\n", "\r\nConnection: content-length\r\n\r\n");
    let origin = Origin::saying(said);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    let answer = client.ask(
        "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: host, content-length\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(
        (answer.text(), answer.field("content-length")),
        ("ok", Some("2"))
    );
    let asked = origin.last();
    assert_eq!(asked.fields("host").collect::<Vec<_>>(), ["a.example"]);
    assert_eq!(asked.body, b"abc");
}

#[test]
fn any_status_passes_with_its_reason() {
    let origin = Origin::start(|asked, stream| {
        let status = asked.target().trim_start_matches('/').replace('-', " ");
        let answer =
            format!("HTTP/1.1 {status}\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).map(|()| Then::Keep)
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for status in [
        "200-Fine",
        "205-Reset-Content",
        "299-",
        "304-Not-Modified",
        "418-I'm-a-teapot",
        "599-X",
        "999-Y",
    ] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!(
            answer.line,
            format!("HTTP/1.1 {}", status.replace('-', " "))
        );
    }
}

#[test]
fn via_names_the_proxy_and_the_version_that_was_received() {
    let said = FRESH
        .replace("1.1 200", "1.0 200")
        .replace("\r\n\r\n", "\r\nVia: 1.1 x\r\n\r\n");
    let origin = Origin::parting(said);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\nVia: 1.1 a, 1.1 b\r\n\r\n");
    let answer = client.answer();
    let asked = origin.last();
    assert_eq!(
        asked.fields("via").collect::<Vec<_>>(),
        ["1.1 a, 1.1 b", "1.0 larder"]
    );
    for answer in [answer, proxy.get("/")] {
        let via = answer.fields.iter().filter(|(name, _)| name == "via");
        let via: Vec<&str> = via.map(|(_, value)| value.as_str()).collect();
        assert_eq!(via, ["1.1 x", "1.0 larder"], "{}", answer.cache_status());
    }
}

#[test]
fn an_absolute_target_names_the_host_and_finds_what_its_path_has_stored() {
    let origin = Origin::saying(FRESH);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.ask("GET http://a.example/x?y HTTP/1.1\r\nHost: b.example\r\n\r\n");
    let asked = origin.last();
    assert_eq!(asked.line(), "GET /x?y HTTP/1.1");
    assert_eq!(asked.fields("host").collect::<Vec<_>>(), ["a.example"]);
    assert!(client.get("/x?y").is_hit());
    let other = client.ask("GET /x?y HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert!(!other.is_hit(), "another host, another response");
}

#[test]
fn an_http_1_0_client_is_answered_in_its_way() {
    let origin =
        Origin::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert!(!answer.has("transfer-encoding"));
    assert_eq!(answer.text(), "ok");
    let asked = origin.last();
    assert_eq!(asked.line(), "GET / HTTP/1.1");
    let host = asked
        .fields("host")
        .next()
        .map(|host| format!("http://{host}"));
    assert_eq!(host, Some(origin.url()), "it named none");
}

#[test]
fn max_forwards_is_counted_and_asks_nobody_at_zero() {
    let origin = Origin::saying(OK);
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for (method, said, passed) in [("OPTIONS", 2, 1), ("TRACE", 1, 0), ("GET", 3, 3)] {
        client.ask(format!(
            "{method} / HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: {said}\r\n\r\n"
        ));
        assert_eq!(
            origin.last().fields("max-forwards").next(),
            Some(&*format!("{passed}"))
        );
    }
    let answer = client.ask("TRACE / HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 0\r\n\r\n");
    assert!(answer.is_problem(501), "{answer:?}");
    assert_eq!(origin.count(), 3);
}
