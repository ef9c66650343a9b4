//! What a connected handle does: calls, scripts, stores, and its bounds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::server::Server;
use super::{connected, eventually, set, store, up_again, SECOND};
use crate::redis::{NoAnswer, Redis, Script};

#[tokio::test]
async fn values_are_stored_and_read_and_expire() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    assert_eq!(redis.get(b"a").await, Ok(None));
    let value = Bytes::from(vec![0xff; 300_000]);
    store(&redis, "a", value.clone(), SECOND);
    assert!(eventually(|| async { redis.get(b"a").await == Ok(Some(value.clone())) }).await);
    let left: i64 = server.cli(&["pttl", "a"]).parse().unwrap();
    assert!((1..=1000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_look_up_is_exactly_one_get() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let commands = || {
        let stats = server.cli(&["info", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_get:"));
        line.map_or(0, |line| {
            let calls = line.split(['=', ',']).nth(1);
            calls.and_then(|calls| calls.parse().ok()).unwrap()
        })
    };
    assert_eq!(commands(), 0);
    for _ in 0..10 {
        redis.get(b"key").await.unwrap();
    }
    assert_eq!(commands(), 10);
}

#[tokio::test]
async fn a_pipeline_answers_in_order_or_is_refused() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg("a").arg("1");
    pipeline.cmd("GET").arg("a");
    let answer = redis.run(b"a", pipeline.clone(), SECOND).await.unwrap();
    let expected = [Value::Okay, Value::BulkString(b"1".to_vec())];
    assert_eq!(answer, Value::Array(expected.to_vec()));

    pipeline.cmd("LPUSH").arg("a").arg("x");
    let refused = redis.run(b"a", pipeline, SECOND).await;
    assert!(matches!(&refused, Err(NoAnswer::Refused(why)) if why.starts_with("WRONGTYPE")));
    assert_eq!(redis.get(b"a").await, Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(redis.health().errors, 1);
}

#[tokio::test]
async fn a_script_is_sent_by_hash_and_once_by_source_when_it_is_not_known() {
    static SCRIPT: Script = Script::new("redis.call('INCR', KEYS[1]) return ARGV[1]");
    let server = Server::start();
    let redis = connected(&server.url()).await;
    for round in 1..=3 {
        let answer = redis.script(&SCRIPT, &[b"n"], &[b"\xff\0"], SECOND).await;
        assert_eq!(answer, Ok(Value::BulkString(b"\xff\0".to_vec())));
        assert_eq!(server.cli(&["get", "n"]), round.to_string());
        if round == 2 {
            server.cli(&["script", "flush"]);
        }
    }
    assert_eq!(redis.health().errors, 0, "an unknown script is no failure");
}

#[tokio::test]
async fn calls_beyond_the_bound_are_not_made_and_given_up_ones_free_their_place() {
    let server = Server::start();
    let redis = Redis::builder(server.url())
        .in_flight(8)
        .deadline(SECOND)
        .build()
        .unwrap();
    assert!(redis.connected(10 * SECOND).await);
    server.freeze();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let redis = redis.clone();
            tokio::spawn(async move { redis.get(b"a").await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Busy));
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Busy));
    assert_eq!(redis.health().skipped, 2);
    calls.iter().for_each(|call| call.abort());
    for call in calls {
        assert!(call.await.unwrap_err().is_cancelled());
    }
    server.thaw();
    assert_eq!(redis.get(b"a").await, Ok(None));
}

#[tokio::test]
async fn stores_beyond_the_bound_are_dropped_and_counted() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    server.freeze();
    for _ in 0..100 {
        store(&redis, "a", Bytes::from_static(b"1"), SECOND);
    }
    assert_eq!(redis.health().dropped, 36);
    server.thaw();
    up_again(&redis).await;
}

#[tokio::test]
async fn a_hook_runs_on_every_new_set_of_connections_before_it_is_used() {
    static SYNC: Script = Script::new("return redis.call('INCR', KEYS[1])");
    let mut server = Server::start();
    let redis = Redis::open(server.url()).unwrap();
    let failing = Arc::new(AtomicUsize::new(2));
    let failures = Arc::clone(&failing);
    redis.on_connect("clock", move |mut fresh| {
        let fails =
            failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        async move {
            if fails.is_ok() {
                return Err(NoAnswer::Refused("not yet".to_owned()));
            }
            let run = fresh.script(&SYNC, &[b"clock"], &[], SECOND);
            run.await.map(drop)
        }
    });
    assert!(redis.connected(10 * SECOND).await);
    assert_eq!(failing.load(Ordering::Relaxed), 0, "it failed twice first");
    assert_eq!(
        redis.get(b"clock").await,
        Ok(Some(Bytes::from_static(b"1")))
    );
    server.restart();
    assert!(eventually(|| async { redis.get(b"clock").await.is_err() }).await);
    up_again(&redis).await;
    assert_eq!(
        redis.get(b"clock").await,
        Ok(Some(Bytes::from_static(b"1")))
    );

    // One that comes later runs, too, before anything else is asked.
    redis.on_connect("late", |mut fresh| async move {
        fresh.run(set("late", "1"), SECOND).await.map(drop)
    });
    up_again(&redis).await;
    assert_eq!(redis.get(b"late").await, Ok(Some(Bytes::from_static(b"1"))));
}

#[test]
fn a_handle_outlives_the_runtime_that_it_was_first_used_on() {
    let server = Server::start();
    let redis = Redis::open(server.url()).unwrap();
    assert!(!redis.health().up, "it does not connect before it is used");
    for round in 0..3 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let spent = up_again(&redis).await;
            assert!(spent < 5 * SECOND, "{spent:?} in round {round}");
        });
    }
    store(&redis, "a", Bytes::new(), Duration::from_secs(1));
    assert_eq!(redis.health().dropped, 1, "there is no runtime");
}

#[tokio::test]
async fn the_last_handle_takes_its_connections_with_it() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    redis.subscribe("channel", |_| {});
    let clients = || server.cli(&["client", "list"]).lines().count();
    assert!(
        eventually(|| async { clients() == 4 }).await,
        "two, one that listens, and redis-cli"
    );
    drop(redis.clone());
    assert_eq!(clients(), 4);
    drop(redis);
    assert!(eventually(|| async { clients() == 1 }).await);
}
