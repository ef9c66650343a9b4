//! `/protected`: so many at once from one address, and as many more in a period.

use std::time::{Duration, Instant};

use crate::support::client::Answer;
use crate::support::server::{eventually, Server};
use crate::support::Quickstart;

/// Three at once, and one more each twenty minutes.
const THREE: [(&str, &str); 2] = [("LIMIT", "3"), ("LIMIT_PERIOD_MS", "3600000")];

fn node(redis: Option<&Server>, limit: [(&str, &str); 2]) -> Quickstart {
    let url = redis.map(Server::url).unwrap_or_default();
    let [a, b] = limit;
    // Patient, so that a busy machine does not make it go on by itself.
    let patient = ("REDIS_DEADLINE_MS", "60000");
    let node = Quickstart::start(&[("REDIS_URL", &url), patient, a, b]);
    if redis.is_some() {
        assert!(eventually(|| node.redis_is_up()));
    }
    node
}

fn statuses(node: &Quickstart, requests: usize) -> Vec<u16> {
    let ask = |_| node.get("/protected").status;
    (0..requests).map(ask).collect()
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 429);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.json()["violated-policies"][0], "protected");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1_200).contains(&wait), "{wait}");
    let standing = format!("\"protected\";r=0;t={wait}");
    assert_eq!(answer.header("ratelimit"), Some(&*standing));
}

#[test]
fn one_address_gets_through_as_often_as_the_limit_says() {
    let redis = Server::start();
    for redis in [None, Some(&redis)] {
        let service = node(redis, THREE);
        let first = service.get("/protected");
        assert_eq!((first.status, &*first.body), (200, "you may pass\n"));
        assert_eq!(
            first.header("ratelimit-policy"),
            Some("\"protected\";q=3;w=3600")
        );
        assert_eq!(first.header("ratelimit"), Some("\"protected\";r=2;t=1200"));
        assert_eq!(statuses(&service, 4), [200, 200, 429, 429]);
        assert_refused(&service.get("/protected"));
        // Who claims to be somebody else is still who they are.
        let fields = [
            ("X-Forwarded-For", "198.51.100.7"),
            ("Forwarded", "for=198.51.100.7"),
        ];
        assert_refused(&service.send("GET", "/protected", &fields, ""));
        assert_eq!(service.get("/posts/1").status, 200, "only that route");
    }
}

#[test]
fn who_waits_as_long_as_told_gets_through_once_more() {
    let service = node(None, [("LIMIT", "2"), ("LIMIT_PERIOD_MS", "2000")]);
    let first = Instant::now();
    assert_eq!(statuses(&service, 2), [200, 200]);
    assert!(eventually(|| service.get("/protected").status == 200));
    // A second for one of two in two seconds.
    let waited = first.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[test]
fn nodes_with_one_redis_share_the_limit() {
    let redis = Server::start();
    let (a, b) = (node(Some(&redis), THREE), node(Some(&redis), THREE));
    assert_eq!(statuses(&a, 2), [200, 200]);
    assert_eq!(statuses(&b, 3), [200, 429, 429]);
    assert_refused(&a.get("/protected"));
}

#[test]
fn a_redis_that_dies_neither_fails_requests_nor_opens_the_gate() {
    let mut redis = Server::start();
    let service = node(Some(&redis), THREE);
    assert_eq!(statuses(&service, 2), [200, 200]);
    redis.kill();
    assert_eq!(statuses(&service, 4), [200, 429, 429, 429]);
}

#[test]
fn a_limit_that_cannot_be_meant_stops_the_start() {
    for limit in ["0", "many"] {
        let output = crate::support::program()
            .env("LIMIT", limit)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("LIMIT"), "{said}");
    }
}
