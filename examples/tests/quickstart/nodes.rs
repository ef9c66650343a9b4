//! Two nodes that share a Redis.

use std::time::Duration;

use serde_json::json;

use crate::support::client::Answer;
use crate::support::server::{eventually, Server};
use crate::support::{within, Quickstart};

/// How soon a node must have heard of what another one has been told.
const SOON: Duration = Duration::from_secs(1);

/// Asks, and waits until what is stored of the answer has arrived in Redis, which nobody else does.
fn ask_and_store(redis: &Server, ask: impl FnOnce() -> Answer) -> Answer {
    let sets = || {
        let stats = redis.cli(&["info", "commandstats"]);
        let set = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_set:calls="));
        let calls = set.and_then(|rest| rest.split(',').next()?.parse().ok());
        calls.unwrap_or(0_u64)
    };
    let before = sets();
    let answer = ask();
    assert!(eventually(|| sets() > before), "nothing was stored");
    answer
}

#[test]
fn what_one_node_has_made_the_other_answers_with() {
    let redis = Server::start();
    let (a, b) = (Quickstart::node(&redis), Quickstart::node(&redis));
    let ada: &[_] = &[("Authorization", "Bearer ada")];
    let json: &[_] = &[("Content-Type", "application/json")];
    let question = r#"{"workspace":"lab","question":"why?"}"#;
    let requests = [
        ("GET", "/posts", &[][..], ""),
        ("GET", "/posts?limit=3&category=tech", &[], ""),
        ("GET", "/posts/7", &[], ""),
        ("GET", "/me", ada, ""),
        ("GET", "/jobs/1", &[], ""),
        ("POST", "/ask", json, question),
    ];
    for (method, target, fields, content) in requests {
        let made = ask_and_store(&redis, || a.send(method, target, fields, content));
        assert_eq!(made.cache_status(), "larder; fwd=uri-miss; stored");
        let kept = b.send(method, target, fields, content);
        assert!(kept.is_hit(), "{target}: {kept:?}");
        assert_eq!((kept.status, &kept.body), (200, &made.body), "{target}");
        assert_eq!(kept.header("cache-control"), made.header("cache-control"));
        assert_eq!(kept.header("content-type"), made.header("content-type"));
    }
    let head = b.send("HEAD", "/posts?category=tech&limit=3", &[], "");
    assert!(head.is_hit(), "{head:?}");
    assert_eq!(b.stat("handler_calls"), 0);
    let stats = b.get("/stats").json();
    assert_eq!(stats["shared"]["hits"], requests.len());
    assert_eq!(stats["shared"]["misses"], 0);
}

#[test]
fn a_user_sees_their_own_on_every_node() {
    let redis = Server::start();
    let (a, b) = (Quickstart::node(&redis), Quickstart::node(&redis));
    let me = |node: &Quickstart, name: &str| {
        let credentials = format!("Bearer {name}");
        node.send("GET", "/me", &[("Authorization", &credentials)], "")
    };
    for name in ["ada", "bob"] {
        ask_and_store(&redis, || me(&a, name));
    }
    for name in ["ada", "bob"] {
        let kept = me(&b, name);
        assert!(kept.is_hit(), "{kept:?}");
        assert_eq!(kept.json(), json!({"user": name, "visits": 1}));
    }
    assert_eq!(b.get("/me").status, 401);
    let eve = me(&b, "eve");
    assert_eq!(eve.json(), json!({"user": "eve", "visits": 1}));
}

#[test]
fn a_post_renamed_on_one_node_is_new_on_both() {
    let redis = Server::start();
    let nodes = [Quickstart::node(&redis), Quickstart::node(&redis)];
    let list = "/posts?limit=100&category=tech";
    let titles = |node: &Quickstart| {
        let post = node.get("/posts/8").json();
        let list = node.get(list).json();
        [&post["title"], &list["items"][3]["title"]].map(|title| title.as_str().unwrap().to_owned())
    };
    for node in &nodes {
        assert_eq!(titles(node), ["Post 8", "Post 8"]);
        assert!(node.get("/posts/8").is_hit() && node.get(list).is_hit());
        node.get("/posts/10");
    }
    for (round, node) in nodes.iter().cycle().take(20).enumerate() {
        let title = format!("News {round}");
        assert_eq!(node.rename(8, &title).status, 200);
        assert_eq!(titles(node), [&*title, &*title], "who has changed it");
        let other = &nodes[1 - round % 2];
        let seen = within(SOON, || titles(other) == [&*title, &*title]);
        assert!(seen.is_some(), "the other one, {round}");
    }
    for node in nodes {
        assert!(node.get("/posts/10").is_hit(), "another post");
    }
}

#[test]
fn a_category_invalidated_on_one_node_is_gone_from_both() {
    let redis = Server::start();
    let (a, b) = (Quickstart::node(&redis), Quickstart::node(&redis));
    let tech = [1, 2, 3].map(|limit| format!("/posts?limit={limit}&category=tech"));
    for address in tech.iter().map(String::as_str) {
        ask_and_store(&redis, || a.get(address));
        assert!(b.get(address).is_hit());
    }
    ask_and_store(&redis, || a.get("/posts?category=life"));

    let invalidated = b.send("POST", "/admin/posts/invalidate?category=tech", &[], "");
    assert_eq!(invalidated.json(), json!({"invalidated": 3}));
    // Neither near there nor in Redis; whoever makes one anew makes it for both.
    assert!(within(SOON, || !a.get(&tech[0]).is_hit()).is_some());
    assert!(!a.get(&tech[1]).is_hit());
    assert!(!b.get(&tech[2]).is_hit());
    assert!(a.get("/posts?category=life").is_hit());
}

#[test]
fn a_webhook_delivered_to_one_node_reaches_both() {
    let redis = Server::start();
    let node = || {
        let url = redis.url();
        Quickstart::start(&[("REDIS_URL", &url), ("WEBHOOK_SECRET", "secret")])
    };
    let (a, b) = (node(), node());
    ask_and_store(&redis, || a.get("/posts/7"));
    assert!(b.get("/posts/7").is_hit());

    let event = r#"{"event":"file.updated","id":7}"#;
    let signature = crate::webhooks::sign("secret", event);
    let fields = [("X-Signature", &*signature)];
    let delivered = b.send("POST", "/webhooks/files", &fields, event);
    assert_eq!(delivered.status, 200);
    assert!(delivered.json()["invalidated"].is_u64());
    let gone = within(SOON, || !a.get("/posts/7").is_hit());
    assert!(gone.is_some());
}

#[test]
fn a_node_that_starts_later_finds_what_the_others_have_made_and_changed() {
    let redis = Server::start();
    let a = Quickstart::node(&redis);
    ask_and_store(&redis, || a.get("/posts/7"));
    a.rename(8, "News");
    ask_and_store(&redis, || a.get("/posts/8"));
    let b = Quickstart::node(&redis);
    assert!(b.get("/posts/7").is_hit());
    assert!(b.get("/posts/8").is_hit());
    assert_eq!(b.get("/posts/8").json()["title"], "News");
    assert_eq!(b.get("/posts/08").json()["title"], "News", "made there");
}
