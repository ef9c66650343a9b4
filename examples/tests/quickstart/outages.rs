//! What happens when Redis goes away and comes back.

use std::time::{Duration, Instant};

use crate::support::server::Server;
use crate::support::{within, Quickstart};

/// How soon the nodes must notice that Redis is gone, or there again.
const SOON: Duration = Duration::from_secs(2);

/// Asks every route, and all of them answer, quickly.
fn every_route_answers(node: &Quickstart) {
    let start = Instant::now();
    let ada: &[_] = &[("Authorization", "Bearer ada")];
    let json: &[_] = &[("Content-Type", "application/json")];
    let event = r#"{"event":"file.updated","id":7}"#;
    let signature = crate::webhooks::sign("secret", event);
    let signed: &[_] = &[("X-Signature", &*signature)];
    let question = r#"{"workspace":"lab","question":"why?"}"#;
    let requests = [
        ("GET", "/posts?limit=3", &[][..], ""),
        ("GET", "/posts?limit=3&category=tech", &[], ""),
        ("GET", "/posts/7", &[], ""),
        ("HEAD", "/posts/7", &[], ""),
        ("PUT", "/posts/9", json, r#"{"title":"Nine"}"#),
        ("GET", "/me", ada, ""),
        ("GET", "/jobs/1", &[], ""),
        ("POST", "/ask", json, question),
        ("POST", "/webhooks/files", signed, event),
        ("GET", "/stats", &[], ""),
    ];
    for (method, target, fields, content) in requests {
        let answer = node.send(method, target, fields, content);
        assert_eq!(answer.status, 200, "{method} {target}");
    }
    let target = "/admin/posts/invalidate?category=tech";
    let invalidated = node.send("POST", target, &[], "");
    assert!(
        invalidated.json()["invalidated"].is_u64(),
        "{invalidated:?}"
    );
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

fn node(redis: &Server) -> Quickstart {
    let url = redis.url();
    Quickstart::start(&[("REDIS_URL", &url), ("WEBHOOK_SECRET", "secret")])
}

#[test]
fn every_route_answers_while_redis_is_away_and_stats_tell() {
    let mut redis = Server::start();
    let nodes = [node(&redis), node(&redis)];
    for node in &nodes {
        assert!(node.redis_is_up());
        every_route_answers(node);
    }
    for _ in 0..3 {
        redis.kill();
        for node in &nodes {
            every_route_answers(node);
            assert!(within(SOON, || !node.redis_is_up()).is_some());
            every_route_answers(node);
            node.get("/posts/11");
            assert!(
                node.get("/posts/11").is_hit(),
                "what nobody has changed is kept"
            );
        }
        redis.restart();
        redis.wait();
        for node in &nodes {
            assert!(within(SOON, || node.redis_is_up()).is_some());
            every_route_answers(node);
        }
    }
}

#[test]
fn every_route_answers_while_redis_does_not() {
    let redis = Server::start();
    let node = node(&redis);
    every_route_answers(&node);
    redis.freeze();
    every_route_answers(&node);
    assert!(within(SOON, || !node.redis_is_up()).is_some());
    every_route_answers(&node);
    redis.thaw();
    assert!(within(SOON, || node.redis_is_up()).is_some());
    every_route_answers(&node);
}

#[test]
fn a_rename_while_redis_is_away_is_seen_here_at_once_and_there_when_it_is_back() {
    let mut redis = Server::start();
    let (a, b) = (node(&redis), node(&redis));
    let title = |node: &Quickstart| node.get("/posts/8").json()["title"].clone();
    assert_eq!((title(&a), title(&b)), ("Post 8".into(), "Post 8".into()));
    redis.kill();
    assert!(within(SOON, || !a.redis_is_up() && !b.redis_is_up()).is_some());

    assert_eq!(a.rename(8, "News").status, 200);
    assert_eq!(title(&a), "News");
    redis.restart();
    assert!(within(SOON, || a.redis_is_up() && b.redis_is_up()).is_some());
    assert!(within(SOON, || title(&b) == "News").is_some());
    assert_eq!(title(&a), "News");
}

#[test]
fn a_node_starts_without_its_redis_and_uses_it_once_it_is_there() {
    let mut redis = Server::start();
    redis.kill();
    let (a, b) = (node(&redis), node(&redis));
    assert!(!a.redis_is_up());
    every_route_answers(&a);
    redis.restart();
    assert!(within(SOON, || a.redis_is_up() && b.redis_is_up()).is_some());
    every_route_answers(&a);
    let shared = within(SOON, || {
        a.rename(8, "made anew");
        a.get("/posts/8");
        b.get("/posts/8").is_hit()
    });
    assert!(shared.is_some());
}
