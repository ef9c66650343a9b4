//! Servers that are there and refuse: full, demoted, busy, loading, behind a password.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::server::{Scripted, Server};
use super::{connected, cost_of_get, eventually, set, store, up_again, SECOND};
use crate::redis::{NoAnswer, Redis, Request};

#[tokio::test]
async fn a_full_server_is_read_and_not_written_until_it_takes_writes_again() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    redis.run(b"a", set("a", "1"), SECOND).await.unwrap();
    server.config("maxmemory-policy", "noeviction");
    server.config("maxmemory", "1");
    store(&redis, "b", Bytes::from_static(b"2"), 10 * SECOND);
    assert!(eventually(|| async { redis.health().out_of_memory }).await);
    let dropped = redis.health().dropped;
    for _ in 0..10 {
        store(&redis, "b", Bytes::from_static(b"2"), 10 * SECOND);
        assert_eq!(redis.get(b"a").await, Ok(Some(Bytes::from_static(b"1"))));
    }
    assert_eq!(redis.health().dropped, dropped + 10);
    assert_eq!(
        redis.run(b"c", set("c", "3"), SECOND).await,
        Err(NoAnswer::OutOfMemory)
    );
    assert_eq!(redis.health().reconnects, 0);

    server.config("maxmemory", "0");
    let stored = || async {
        store(&redis, "b", Bytes::from_static(b"2"), 10 * SECOND);
        redis.get(b"b").await == Ok(Some(Bytes::from_static(b"2")))
    };
    assert!(eventually(stored).await);
    assert!(eventually(|| async { !redis.health().out_of_memory }).await);
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_left_until_it_is_a_master_again() {
    let master = Server::start();
    let server = Server::start();
    let redis = connected(&server.url()).await;
    server.cli(&["replicaof", "127.0.0.1", &master.port.to_string()]);
    assert_eq!(
        redis.run(b"a", set("a", "1"), SECOND).await,
        Err(NoAnswer::Down)
    );
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down));
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down));
    assert_eq!(redis.health().reconnects, 0, "it was not used in between");
    server.cli(&["replicaof", "no", "one"]);
    assert!(up_again(&redis).await < SECOND);
    assert!(redis.run(b"a", set("a", "1"), SECOND).await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_is_left_until_it_is_done() {
    let server = Server::with(&["--busy-reply-threshold", "50"]);
    let redis = connected(&server.url()).await;
    let mut spin = redis::cmd("EVAL");
    spin.arg("while true do end").arg(0);
    let busy = {
        let redis = redis.clone();
        tokio::spawn(async move { redis.run(b"a", Request::from(spin), 10 * SECOND).await })
    };
    assert!(eventually(|| async { redis.get(b"b").await == Err(NoAnswer::Down) }).await);
    let cost = cost_of_get(&redis).await;
    println!("busy: a call costs {cost} ns");
    tokio::time::sleep(SECOND / 2).await;
    assert!(!redis.health().up);
    assert_eq!(server.cli(&["script", "kill"]), "OK");
    assert!(up_again(&redis).await < SECOND);
    assert!(busy.await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_that_is_loading_is_not_used() {
    let server = Scripted::answering("-LOADING Redis is loading the dataset in memory");
    let redis = Redis::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let began = Instant::now();
    while began.elapsed() < SECOND {
        let call = Instant::now();
        assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down));
        assert!(call.elapsed() < SECOND / 2);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!redis.health().up);
}

#[tokio::test]
async fn a_server_that_speaks_another_protocol_is_not_used() {
    let server = Scripted::answering("HTTP/1.1 400 Bad Request");
    let redis = Redis::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    assert!(!redis.connected(SECOND / 2).await);
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down));
}

#[tokio::test]
async fn a_wrong_password_is_a_server_that_is_down() {
    let server = Server::with(&["--requirepass", "right"]);
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port);
    for login in ["", ":wrong@", "nobody:right@"] {
        let redis = Redis::open(url(login)).unwrap();
        assert!(!redis.connected(SECOND / 2).await, "{login}");
        assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down), "{login}");
    }
    let redis = connected(&url(":right@")).await;
    assert_eq!(redis.get(b"a").await, Ok(None));
    let redis = connected(&url("default:right@")).await;
    assert_eq!(redis.get(b"a").await, Ok(None));
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::start();
    let rights = "on >secret resetchannels &larder:* ~larder:* -@all +ping +get +set +eval +evalsha +subscribe +publish";
    let command: Vec<_> = ["acl", "setuser", "ann"]
        .into_iter()
        .chain(rights.split(' '))
        .collect();
    assert_eq!(server.cli(&command), "OK");
    let redis = connected(&format!("redis://ann:secret@127.0.0.1:{}", server.port)).await;
    assert_eq!(redis.get(b"larder:a").await, Ok(None));
    // What the user may not do fails alone.
    let refused = redis.get(b"else").await;
    assert!(
        matches!(&refused, Err(NoAnswer::Refused(why)) if why.starts_with("NOPERM")),
        "{refused:?}"
    );
    assert_eq!(redis.get(b"larder:a").await, Ok(None));
    assert!(redis.health().up);
}

#[tokio::test]
async fn foreign_values_and_expiries_out_of_range_break_nothing() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    server.cli(&["lpush", "list", "x"]);
    let refused = redis.get(b"list").await;
    assert!(matches!(&refused, Err(NoAnswer::Refused(why)) if why.starts_with("WRONGTYPE")));
    for (key, ttl) in [("zero", Duration::ZERO), ("max", Duration::MAX)] {
        store(&redis, key, Bytes::from_static(b"1"), ttl);
    }
    assert!(
        eventually(|| async { redis.get(b"max").await.is_ok_and(|value| value.is_some()) }).await
    );
    assert_eq!(redis.health().dropped, 0);
    assert!(redis.health().up);
}

#[tokio::test]
async fn the_database_of_the_url_is_the_one_in_use() {
    let server = Server::start();
    let redis = connected(&format!("{}/3", server.url())).await;
    redis.run(b"a", set("a", "1"), SECOND).await.unwrap();
    assert_eq!(server.cli(&["-n", "3", "get", "a"]), "1");
    assert_eq!(redis.database(), 3);
}

#[tokio::test]
async fn a_socket_works_like_a_port() {
    let dir = Server::start();
    let path = dir.dir().join("redis.sock");
    let _server = Server::with(&["--unixsocket", path.to_str().unwrap()]);
    let redis = connected(&format!("redis+unix://{}", path.display())).await;
    assert_eq!(redis.get(b"a").await, Ok(None));
}
