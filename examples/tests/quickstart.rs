//! The quickstart as a stranger meets it: the program is started, and every route of its table is
//! asked over a socket.
//!
//! `cargo test` builds the examples; with `cargo test --test quickstart`, build it first.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::{json, Value};

#[test]
fn lists_are_kept_whatever_the_order_of_their_parameters() {
    let service = Quickstart::start(0);
    let first = service.get("/posts?limit=2&offset=1&category=tech");
    assert_eq!(first.status, 200);
    assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
    assert_eq!(
        first.json(),
        json!({"total": 250, "limit": 2, "offset": 1, "items": [
            {"id": 4, "title": "Post 4", "category": "tech"},
            {"id": 6, "title": "Post 6", "category": "tech"},
        ]})
    );

    let second = service.get("/posts?category=tech&offset=1&limit=2");
    assert!(second.is_hit(), "{second:?}");
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("cache-control"), Some("no-cache"));
    assert!(second.header("age").is_some());

    let head = service.send("HEAD", "/posts?limit=2&offset=1&category=tech", &[], "");
    assert!(head.is_hit(), "{head:?}");
    assert_eq!(
        head.header("content-length"),
        second.header("content-length")
    );
    assert_eq!(head.body, "");

    assert!(!service.get("/posts?category=tech&limit=2").is_hit());
    assert_eq!(service.stat("handler_calls"), 2);
}

#[test]
fn without_a_query_a_list_has_twenty_of_all_posts() {
    let service = Quickstart::start(0);
    let list = service.get("/posts").json();
    assert_eq!(
        (&list["total"], &list["limit"], &list["offset"]),
        (&json!(500), &json!(20), &json!(0))
    );
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 20);
    assert_eq!(
        items[0],
        json!({"id": 1, "title": "Post 1", "category": "life"})
    );
}

#[test]
fn a_limit_out_of_bounds_is_refused_and_not_kept() {
    let service = Quickstart::start(0);
    for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "offset=-1"] {
        for _ in 0..2 {
            let refused = service.get(&format!("/posts?{query}"));
            assert_eq!(refused.status, 422, "{query}");
            assert_eq!(
                refused.cache_status(),
                "larder; fwd=uri-miss; detail=status"
            );
        }
    }
    for query in ["limit=1", "limit=100"] {
        assert_eq!(service.get(&format!("/posts?{query}")).status, 200);
    }
}

#[test]
fn a_renamed_post_is_seen_at_once_alone_and_in_lists() {
    let service = Quickstart::start(0);
    let addresses = ["/posts/8", "/posts/008", "/posts?limit=100&category=tech"];
    for address in addresses {
        assert!(!service.get(address).is_hit());
        assert!(service.get(address).is_hit(), "{address}");
    }
    service.get("/posts/10");

    let renamed = service.send_json("PUT", "/posts/8", r#"{"title":"News"}"#);
    let post = json!({"id": 8, "title": "News", "category": "tech"});
    assert_eq!((renamed.status, renamed.json()), (200, post.clone()));

    assert_eq!(service.get("/posts/8").json(), post);
    assert_eq!(service.get("/posts/008").json(), post);
    assert_eq!(service.get(addresses[2]).json()["items"][3], post);
    assert!(
        service.get("/posts/10").is_hit(),
        "another post is not touched"
    );
}

#[test]
fn a_failed_rename_invalidates_nothing() {
    let service = Quickstart::start(0);
    service.get("/posts/8");
    assert_eq!(service.send_json("PUT", "/posts/8", "{}").status, 422);
    assert_eq!(
        service
            .send_json("PUT", "/posts/501", r#"{"title":"News"}"#)
            .status,
        404
    );
    assert!(service.get("/posts/8").is_hit());
}

#[test]
fn a_post_that_is_missing_is_404_and_not_kept() {
    let service = Quickstart::start(0);
    for address in ["/posts/501", "/posts/0", "/posts/none"] {
        for _ in 0..2 {
            let missing = service.get(address);
            assert_eq!(missing.status, 404);
            assert_eq!(
                missing.cache_status(),
                "larder; fwd=uri-miss; detail=status"
            );
        }
    }
}

#[test]
fn a_category_is_invalidated_in_bulk_and_counted() {
    let service = Quickstart::start(0);
    let tech = [1, 2, 3].map(|limit| format!("/posts?limit={limit}&category=tech"));
    let life = "/posts?limit=1&category=life";
    for address in tech.iter().map(String::as_str).chain([life]) {
        service.get(address);
    }
    let invalidate = || {
        service
            .send("POST", "/admin/posts/invalidate?category=tech", &[], "")
            .json()
    };
    assert_eq!(invalidate(), json!({"invalidated": 3}));
    assert_eq!(invalidate(), json!({"invalidated": 0}));
    assert!(tech.iter().all(|address| !service.get(address).is_hit()));
    assert!(service.get(life).is_hit());
}

#[test]
fn each_user_sees_their_own_visits() {
    let service = Quickstart::start(0);
    let me = |name: &str| {
        let credentials = format!("Bearer {name}");
        service.send("GET", "/me", &[("Authorization", &credentials)], "")
    };
    for name in ["ada", "bob"] {
        let first = me(name);
        assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
        let second = me(name);
        assert!(second.is_hit(), "{second:?}");
        for answer in [first, second] {
            assert_eq!(answer.json(), json!({"user": name, "visits": 1}));
            let downstream = answer.header("cache-control").unwrap();
            assert!(downstream.contains("private"), "{downstream}");
        }
    }
}

#[test]
fn nobody_is_refused_and_not_kept() {
    let service = Quickstart::start(0);
    service.send("GET", "/me", &[("Authorization", "Bearer ada")], "");
    let unclear = [
        ("Authorization", "Bearer ada"),
        ("Authorization", "Bearer bob"),
    ];
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[], "no-user"),
        (&[("Authorization", "Basic YWRh")], "no-user"),
        (&unclear, "key-error"),
    ];
    for (fields, reason) in cases {
        let refused = service.send("GET", "/me", fields, "");
        assert_eq!(refused.status, 401);
        assert_eq!(
            refused.cache_status(),
            format!("larder; fwd=bypass; detail={reason}")
        );
    }
}

#[test]
fn credentials_and_cookies_bypass_what_everybody_shares() {
    let service = Quickstart::start(0);
    service.get("/posts/1");
    for (name, value, reason) in [
        ("Authorization", "Bearer ada", "authorization"),
        ("Cookie", "session=1", "cookie"),
    ] {
        let answer = service.send("GET", "/posts/1", &[(name, value)], "");
        assert_eq!(
            answer.cache_status(),
            format!("larder; fwd=bypass; detail={reason}")
        );
    }
    assert_eq!(service.stat("bypassed"), 2);
}

#[test]
fn a_pending_job_is_kept_for_a_second_and_a_ready_one_longer() {
    let service = Quickstart::start(0);
    let first = service.get("/jobs/1");
    assert_eq!(first.json(), json!({"status": "pending"}));
    assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
    assert!(service.get("/jobs/1").is_hit());

    let mut asked_again = 0;
    let ready = loop {
        thread::sleep(Duration::from_millis(100));
        let answer = service.get("/jobs/1");
        if answer.json() == json!({"status": "ready"}) {
            break answer;
        }
        asked_again += u32::from(!answer.is_hit());
        assert!(
            asked_again < 5,
            "a job is ready three seconds after it was first asked for"
        );
    };
    assert!(asked_again >= 1, "pending was kept for a second only");
    assert_eq!(ready.cache_status(), "larder; fwd=stale; stored");
    thread::sleep(Duration::from_millis(1500));
    assert!(service.get("/jobs/1").is_hit());
}

#[test]
fn a_question_is_answered_once_and_kept_by_its_content() {
    let service = Quickstart::start(0);
    let ask = |content: &str| service.send_json("POST", "/ask", content);
    let why = r#"{"workspace":"lab","question":"why?"}"#;
    let first = ask(why);
    assert_eq!(first.cache_status(), "larder; fwd=uri-miss; stored");
    assert_eq!(first.json()["workspace"], "lab");
    assert_eq!(first.json()["question"], "why?");

    let second = ask(why);
    assert!(
        second.is_hit(),
        "a POST that its route caches does not invalidate itself"
    );
    assert_eq!(second.body, first.body);
    assert!(!ask(r#"{"workspace":"lab","question":"how?"}"#).is_hit());
    assert!(!ask(r#"{"workspace":"shop","question":"why?"}"#).is_hit());
    assert_eq!(service.stat("handler_calls"), 3);
    assert_eq!(ask("{}").status, 422);
}

#[test]
fn a_connection_stays_usable_after_a_post_answered_from_the_cache() {
    let service = Quickstart::start(0);
    let why = r#"{"workspace":"lab","question":"why?"}"#;
    let fields = [("Content-Type", "application/json")];
    let mut connection = service.connect();
    for hit in [false, true, true] {
        let answer = connection.exchange("POST", "/ask", &fields, why);
        assert_eq!((answer.status, answer.is_hit()), (200, hit));
    }
    assert_eq!(
        connection.exchange("GET", "/posts/7", &[], "").json()["id"],
        7
    );
}

#[test]
fn events_arrive_while_the_stream_goes_on() {
    let service = Quickstart::start(0);
    let mut connection = service.connect();
    connection.ask("GET", "/events", &[], "");
    let head = connection.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("cache-status"), None);
    let events = (&mut connection.0)
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with("data: "))
        .take(3);
    assert_eq!(
        events.collect::<Vec<_>>(),
        ["data: 0", "data: 1", "data: 2"]
    );
}

#[test]
fn twenty_requests_at_once_are_one_call_of_the_handler() {
    const REQUESTS: usize = 20;
    let service = Quickstart::start(500);
    let start = Barrier::new(REQUESTS);
    thread::scope(|scope| {
        for _ in 0..REQUESTS {
            scope.spawn(|| {
                let mut connection = service.connect();
                start.wait();
                let answer = connection.exchange("GET", "/posts?limit=50", &[], "");
                assert_eq!(answer.status, 200);
            });
        }
    });
    assert_eq!(service.stat("handler_calls"), 1);
    assert_eq!(service.stat("misses"), 1);
    assert_eq!(service.stat("collapsed") + service.stat("hits"), 19);
}

#[test]
fn stats_tell_what_the_cache_did() {
    let service = Quickstart::start(0);
    service.get("/posts/1");
    service.get("/posts/1");
    let stats = service.get("/stats").json();
    let expected = [
        ("handler_calls", 1),
        ("hits", 1),
        ("misses", 1),
        ("stale", 0),
        ("collapsed", 0),
        ("bypassed", 0),
        ("entries", 1),
    ];
    for (name, count) in expected {
        assert_eq!(stats[name], count, "{name}");
    }
    assert_eq!(stats["redis"], "down");
}

#[test]
fn settings_that_cannot_be_kept_stop_the_start_with_a_message() {
    for (name, value) in [
        ("REDIS_URL", "redis://127.0.0.1:6379"),
        ("LISTEN", "here"),
        ("ORIGIN_DELAY_MS", "soon"),
    ] {
        let output = quickstart().env(name, value).output().unwrap();
        assert!(!output.status.success(), "{name}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with(name), "{message}");
    }
}

/// The program, in an environment of its own.
fn quickstart() -> Command {
    let mut command = Command::new(program());
    command
        .env_remove("REDIS_URL")
        .env_remove("ORIGIN_DELAY_MS")
        .env("LISTEN", "127.0.0.1:0");
    command
}

/// Where cargo puts examples: beside the directory of this test.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = target
        .join("examples")
        .join(format!("quickstart{}", env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "build it first: cargo build --example quickstart"
    );
    program
}

/// A running quickstart, on a port of its own; it ends with this.
struct Quickstart {
    process: Child,
    address: String,
}

impl Quickstart {
    fn start(origin_delay_ms: u32) -> Self {
        let mut process = quickstart()
            .env("ORIGIN_DELAY_MS", origin_delay_ms.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        // The rest is read too, or the program would fail to print it.
        thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let address = line.trim().strip_prefix("listening on http://");
        Self {
            address: address.expect("the address comes first").to_owned(),
            process,
        }
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Connection(BufReader::new(stream))
    }

    fn send(&self, method: &str, target: &str, fields: &[(&str, &str)], content: &str) -> Answer {
        self.connect().exchange(method, target, fields, content)
    }

    fn send_json(&self, method: &str, target: &str, content: &str) -> Answer {
        let fields = [("Content-Type", "application/json")];
        self.send(method, target, &fields, content)
    }

    fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "")
    }

    fn stat(&self, name: &str) -> u64 {
        self.get("/stats").json()[name].as_u64().unwrap()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As much of an HTTP/1.1 client as these tests need.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn exchange(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: &str,
    ) -> Answer {
        self.ask(method, target, fields, content);
        let mut answer = self.head();
        let length = answer.header("content-length").map(|n| n.parse().unwrap());
        if method != "HEAD" {
            let mut body = vec![0; length.expect("these routes know the length of their answers")];
            self.0.read_exact(&mut body).unwrap();
            answer.body = String::from_utf8(body).unwrap();
        }
        answer
    }

    fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)], content: &str) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: posts.example\r\n");
        for (name, value) in fields {
            request += &format!("{name}: {value}\r\n");
        }
        if !content.is_empty() {
            request += &format!("Content-Length: {}\r\n", content.len());
        }
        request += "\r\n";
        request += content;
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn head(&mut self) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut fields = Vec::new();
        loop {
            let field = line();
            let Some((name, value)) = field.split_once(':') else {
                break;
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Answer {
            status: status.expect("a status line"),
            fields,
            body: String::new(),
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.iter().filter(|(field, _)| field == name);
        lines.next().map(|(_, value)| value.as_str())
    }

    fn cache_status(&self) -> &str {
        self.header("cache-status")
            .expect("every cached route sends Cache-Status")
    }

    fn is_hit(&self) -> bool {
        self.cache_status().starts_with("larder; hit; ttl=")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}
