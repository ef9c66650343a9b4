//! Several processes and one quota, in a real Redis.

use std::sync::Arc;

use super::server::Server;
use super::{Duration, Pacer, PacerBuilder, Priority, Quota, SECOND};
use larder::limit::Fallback;
use larder::Redis;
use tokio::time::Instant;

/// A pacer of another process, as far as Redis can tell.
async fn process(
    server: &Server,
    quota: Quota,
    set: impl FnOnce(PacerBuilder) -> PacerBuilder,
) -> Pacer {
    let redis = Redis::open(server.url()).unwrap();
    assert!(redis.connected(10 * SECOND).await);
    let builder = Pacer::builder(quota).name("shop").redis(redis);
    set(builder).build().unwrap()
}

/// How many of so many calls pass within this time.
async fn pass(pacer: &Pacer, priority: Priority, calls: usize, limit: Duration) -> usize {
    let waiting: Vec<_> = (0..calls)
        .map(|_| {
            let pacer = pacer.clone();
            tokio::spawn(async move { pacer.ready_within("a", priority, 1, limit).await.is_ok() })
        })
        .collect();
    let mut passed = 0;
    for call in waiting {
        passed += usize::from(call.await.unwrap());
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_stay_within_one_quota_and_use_it() {
    let server = Server::start();
    let quota = Quota::per_second(200).capacity(20);
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Arc::new(process(&server, quota, |builder| builder).await));
    }
    let began = Instant::now();
    let all: Vec<_> = processes
        .iter()
        .map(|pacer| {
            let pacer = Arc::clone(pacer);
            tokio::spawn(async move { pass(&pacer, Priority::Background, 400, SECOND).await })
        })
        .collect();
    let mut passed = 0;
    for process in all {
        passed += process.await.unwrap();
    }
    let most = 20.0 + 200.0 * began.elapsed().as_secs_f64();
    println!(
        "{passed} of at most {most:.0} calls passed in {:?}",
        began.elapsed()
    );
    assert!(passed as f64 <= most && passed >= 180, "{passed} of {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_call_of_one_process_goes_before_the_background_of_another() {
    let server = Server::start();
    let quota = Quota::per_second(20).capacity(8);
    let (busy, other) = (
        process(&server, quota, |builder| builder).await,
        process(&server, quota, |builder| builder).await,
    );
    let background = tokio::spawn({
        let busy = busy.clone();
        async move { pass(&busy, Priority::Background, 60, SECOND).await }
    });
    tokio::time::sleep(SECOND / 5).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..8 {
        let began = Instant::now();
        other.ready("a", Priority::Critical).await.unwrap();
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(SECOND / 10).await;
    }
    println!("the slowest critical call waited {slowest:?}");
    assert!(
        slowest < SECOND / 5,
        "{slowest:?}: its tokens were left to it"
    );
    background.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_seen_by_all_processes() {
    let server = Server::start();
    let quota = Quota::per_second(1_000);
    let (one, other) = (
        process(&server, quota, |builder| builder).await,
        process(&server, quota, |builder| builder).await,
    );
    other.ready("a", Priority::Critical).await.unwrap();
    let began = Instant::now();
    one.pause("a", SECOND / 2).await;
    other.ready("b", Priority::Critical).await.unwrap();
    assert!(began.elapsed() < SECOND / 2, "another bucket");
    other.ready("a", Priority::Critical).await.unwrap();
    assert!(began.elapsed() > SECOND * 2 / 5, "{:?}", began.elapsed());
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_stop_waiting_have_paid_nothing_in_redis() {
    let server = Server::start();
    let quota = Quota::new(1, 3600 * SECOND).capacity(6_000);
    let pacer = process(&server, quota, |builder| builder.max_queue(20_000)).await;
    for round in 0..20_u32 {
        // Some are served before they go, most are not.
        let limit = Duration::from_micros(u64::from(round) * 100);
        let calls: Vec<_> = (0..500)
            .map(|_| {
                let pacer = pacer.clone();
                tokio::spawn(async move { pacer.ready("a", Priority::Critical).await })
            })
            .collect();
        tokio::time::sleep(limit).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        for call in calls {
            let _ = call.await;
        }
    }
    tokio::time::sleep(SECOND / 5).await;
    let granted = pacer.stats().granted[0];
    let left = 6_000 - usize::try_from(granted).unwrap();
    let more = pass(&pacer, Priority::Critical, left + 10, SECOND).await;
    println!("{granted} of 10000 calls passed before they were stopped, {more} afterwards");
    assert_eq!(more, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_goes_on_with_its_share_and_tells_afterwards() {
    let mut server = Server::start();
    let quota = Quota::new(1, 3600 * SECOND).capacity(400);
    let share = |builder: PacerBuilder| builder.fallback(Fallback::Local { share: 4 });
    let pacer = process(&server, quota, share).await;
    let second = SECOND;
    assert_eq!(pass(&pacer, Priority::Critical, 40, second).await, 40);
    server.kill();
    let passed = pass(&pacer, Priority::Critical, 70, second / 2).await;
    assert_eq!(passed, 60, "its share is 100, of which it had 40");
    // It comes back without its data: what is in the bucket then is what it is told.
    server.restart();
    server.wait();
    let other = process(&server, quota, |builder| builder).await;
    let mut more = 0;
    while more == 0 {
        more = pass(&pacer, Priority::Critical, 1, second / 5).await;
    }
    let left = pass(&other, Priority::Critical, 400, second / 2).await;
    assert_eq!(left, 400 - 60 - 1);
    server.kill();
    let closed = process_without(Fallback::Closed);
    let refused = closed.ready("a", Priority::Critical).await.unwrap_err();
    assert!(refused.is_unavailable());
    let open = process_without(Fallback::Open);
    open.ready("a", Priority::Background).await.unwrap();
    assert_eq!(pass(&open, Priority::Background, 100, second).await, 100);
}

fn process_without(fallback: Fallback) -> Pacer {
    let redis = Redis::open("redis://127.0.0.1:1").unwrap();
    let builder = Pacer::builder(Quota::per_second(1))
        .name("shop")
        .redis(redis);
    builder.fallback(fallback).build().unwrap()
}
