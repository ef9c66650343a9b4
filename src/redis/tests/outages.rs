//! Absent, killed, frozen and restarted.

use std::time::Duration;

use tokio::time::Instant;

use super::server::{free_port, Server};
use super::{connected, cost_of_get, eventually, up_again, SECOND};
use crate::redis::{NoAnswer, Redis};

/// What other processes may do to a measurement.
const SLACK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_absent_server_costs_nothing_and_is_used_once_it_is_there() {
    let port = free_port();
    let redis = Redis::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let began = Instant::now();
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down));
    let first = began.elapsed();
    let cost = cost_of_get(&redis).await;
    println!("absent: the first call took {first:?}, further ones {cost} ns");
    assert!(cost < 10_000, "{cost} ns");
    tokio::time::sleep(SECOND / 2).await;
    let _server = Server::on(port, &[]);
    let spent = up_again(&redis).await;
    println!("absent: in use {spent:?} after it was there");
    assert!(spent < SECOND, "{spent:?}");
    assert_eq!(
        redis.health().reconnects,
        0,
        "this was the first connection"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_noticed_at_once_and_used_again_within_a_second() {
    let mut server = Server::start();
    let redis = connected(&server.url()).await;
    let worst = load(&redis, || server.kill()).await;
    println!("killed: the slowest call took {worst:?}");
    assert!(worst < Duration::from_millis(50) + SLACK, "{worst:?}");
    let cost = cost_of_get(&redis).await;
    println!("killed: a call costs {cost} ns");
    assert!(cost < 10_000, "{cost} ns");
    tokio::time::sleep(SECOND).await;
    server.restart();
    server.wait();
    let spent = up_again(&redis).await;
    println!("killed: in use {spent:?} after the restart");
    assert!(spent < SECOND, "{spent:?}");
    let health = redis.health();
    assert!(health.up && health.reconnects == 1, "{health:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_the_deadline_only_until_the_third_timeout() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    server.freeze();
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(redis.get(b"a").await, Err(NoAnswer::TimedOut));
    }
    let spent = began.elapsed();
    println!("frozen: three calls took {spent:?}");
    assert!(spent >= Duration::from_millis(150) && spent < Duration::from_millis(150) + SLACK);
    let cost = cost_of_get(&redis).await;
    println!("frozen: a further call costs {cost} ns");
    assert!(cost < 10_000, "{cost} ns");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(redis.get(b"a").await, Err(NoAnswer::Down));
    let began = Instant::now();
    server.thaw();
    up_again(&redis).await;
    println!("frozen: in use {:?} after it went on", began.elapsed());
    assert!(began.elapsed() < SECOND);
    assert_eq!(redis.health().timeouts, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_freeze_costs_each_waiting_call_one_deadline() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let worst = load(&redis, || server.freeze()).await;
    println!(
        "frozen under load: the slowest call took {worst:?}, {:?}",
        redis.health()
    );
    assert!(worst < Duration::from_millis(50) + SLACK, "{worst:?}");
    // Those that waited, those that came before the third timeout, and the supervisor's own.
    assert!(redis.health().timeouts < 2 * 64, "{:?}", redis.health());
    server.thaw();
    up_again(&redis).await;
}

#[tokio::test]
async fn a_frozen_or_closed_connection_is_noticed_without_any_call() {
    let mut server = Server::start();
    let redis = connected(&server.url()).await;
    server.freeze();
    assert!(eventually(|| async { !redis.health().up }).await);
    server.thaw();
    assert!(redis.connected(10 * SECOND).await);
    server.kill();
    assert!(eventually(|| async { !redis.health().up }).await);
}

#[tokio::test]
async fn connections_that_the_server_closes_are_made_again() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    for round in 1..=3 {
        server.cli(&["client", "kill", "type", "normal"]);
        assert!(eventually(|| async { redis.health().reconnects == round }).await);
        assert!(redis.connected(10 * SECOND).await);
        up_again(&redis).await;
    }
}

#[tokio::test]
async fn a_call_with_the_rest_of_a_deadline_says_nothing_about_the_server() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    for _ in 0..100 {
        let _ = redis.get_within(b"a", Duration::ZERO).await;
    }
    assert!(redis.health().up);
    assert_eq!(redis.health().reconnects, 0);
    assert_eq!(redis.get(b"a").await, Ok(None));
}

/// 64 callers ask for a second; after a quarter of it, something happens. The slowest call.
async fn load(redis: &Redis, happens: impl FnOnce()) -> Duration {
    let end = Instant::now() + SECOND;
    let callers: Vec<_> = (0..64)
        .map(|caller: usize| {
            let redis = redis.clone();
            tokio::spawn(async move {
                let mut worst = Duration::ZERO;
                while Instant::now() < end {
                    let began = Instant::now();
                    let _ = redis.get(caller.to_string().as_bytes()).await;
                    worst = worst.max(began.elapsed());
                    // As requests do, which have other things to do than to ask Redis.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                worst
            })
        })
        .collect();
    tokio::time::sleep(SECOND / 4).await;
    happens();
    let mut worst = Duration::ZERO;
    for caller in callers {
        worst = worst.max(caller.await.unwrap());
    }
    worst
}
