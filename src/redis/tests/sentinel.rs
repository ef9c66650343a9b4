//! Sentinels that replace a master.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::server::{eventually as wait_for, Server};
use super::watched::{sentinel, Watched};
use super::{set, SECOND};
use crate::redis::Redis;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_load_is_followed_and_no_call_waits_for_it() {
    let mut watched = Watched::start();
    let redis = Redis::open(watched.url()).unwrap();
    assert!(redis.connected(10 * SECOND).await, "{redis:?}");
    redis.run(b"a", set("a", "1"), SECOND).await.unwrap();
    assert_eq!(
        watched.master.cli(&["get", "a"]),
        "1",
        "the master is the one in use"
    );
    assert!(wait_for(|| watched.replica.cli(&["get", "a"]) == "1"));

    let callers: Vec<_> = (0..16)
        .map(|_| {
            let redis = redis.clone();
            tokio::spawn(call_until_back(redis))
        })
        .collect();
    tokio::time::sleep(SECOND / 4).await;
    let killed = Instant::now();
    watched.master.kill();
    let mut worst = Duration::ZERO;
    for caller in callers {
        worst = worst.max(caller.await.unwrap());
    }
    println!(
        "failover: writes again after {:?}, the slowest call took {worst:?}",
        killed.elapsed()
    );
    assert!(worst < SECOND / 5, "{worst:?}");
    assert_eq!(redis.get(b"a").await, Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(
        watched.replica.cli(&["get", "new"]),
        "1",
        "the replica is the one in use"
    );

    // The old master comes back, is told to follow the new one, and is not used again.
    watched.master.restart();
    watched.master.wait();
    let follows = || {
        watched
            .master
            .cli(&["info", "replication"])
            .contains("role:slave")
    };
    let reconnects = redis.health().reconnects;
    for _ in 0..400 {
        redis.run(b"new", set("new", "2"), SECOND).await.unwrap();
        tokio::time::sleep(SECOND / 200).await;
    }
    assert!(wait_for(follows));
    assert_eq!(redis.health().reconnects, reconnects);
}

/// Reads all the time; ends when a write succeeds after one had failed. The slowest call.
async fn call_until_back(redis: Redis) -> Duration {
    let mut worst = Duration::ZERO;
    let mut failed = false;
    for _ in 0..15_000 {
        let began = Instant::now();
        let _ = redis.get(b"a").await;
        let wrote = redis.run(b"new", set("new", "1"), redis.deadline()).await;
        worst = worst.max(began.elapsed() / 2);
        if wrote.is_ok() && failed {
            return worst;
        }
        failed |= wrote.is_err();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("there was no failover: {redis:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_replaced_while_it_lives_is_left() {
    let watched = Watched::start();
    let redis = Redis::open(watched.url()).unwrap();
    assert!(redis.connected(10 * SECOND).await, "{redis:?}");
    let began = Instant::now();
    assert_eq!(
        watched.sentinels[0].cli(&["sentinel", "failover", "shop"]),
        "OK"
    );
    let moved = || async {
        let _ = redis.run(b"a", set("a", "1"), SECOND).await;
        watched.replica.cli(&["get", "a"]) == "1"
            && watched
                .replica
                .cli(&["info", "replication"])
                .contains("role:master")
    };
    assert!(super::eventually(moved).await, "{redis:?}");
    println!("switch-over: in use after {:?}", began.elapsed());
    assert!(redis.run(b"a", set("a", "2"), SECOND).await.is_ok());
}

#[tokio::test]
async fn sentinels_that_do_not_know_the_service_or_are_none_cost_nothing() {
    let server = Server::start();
    let sentinel = sentinel(&server.port.to_string());
    for url in [
        format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port),
        format!("redis+sentinel://127.0.0.1:{}/shop", server.port),
        format!("redis://127.0.0.1:{}", sentinel.port),
    ] {
        let redis = Redis::open(&url).unwrap();
        assert!(!redis.connected(SECOND / 2).await, "{url}");
    }
    let url = format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port);
    let redis = Redis::open(url).unwrap();
    assert!(redis.connected(10 * SECOND).await);
}
