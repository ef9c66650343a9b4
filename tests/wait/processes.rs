//! Several processes and one quota, in a real Redis.

use futures_util::future::join_all;

use super::server::Server;
use super::{Duration, Pacer, PacerBuilder, Priority, Quota, SECOND};
use larder::limit::wait::Error;
use larder::limit::Fallback;
use larder::Redis;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Long enough for a busy machine: who passes does not depend on when.
const LONG: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A pacer of another process, as far as Redis can tell.
async fn process(
    server: &Server,
    quota: Quota,
    set: impl FnOnce(PacerBuilder) -> PacerBuilder,
) -> Pacer {
    let redis = Redis::builder(server.url()).deadline(LONG);
    let redis = redis.build().unwrap();
    assert!(redis.connected(LONG).await);
    let builder = Pacer::builder(quota).name("shop").redis(redis);
    set(builder).build().unwrap()
}

type Calls = Vec<JoinHandle<Result<(), Error>>>;

/// So many calls, which wait for as long as it takes.
fn calls(pacer: &Pacer, priority: Priority, number: usize) -> Calls {
    let call = || {
        let pacer = pacer.clone();
        let patient = 1_000 * HOUR;
        tokio::spawn(async move { pacer.ready_within("a", priority, 1, patient).await })
    };
    (0..number).map(|_| call()).collect()
}

/// Of so many calls, so many pass, and the others wait until they are stopped.
async fn pass(pacer: &Pacer, priority: Priority, number: usize, expected: usize) {
    let place = priority as usize;
    let before = pacer.stats().granted[place];
    let calls = calls(pacer, priority, number);
    eventually(|| {
        let stats = pacer.stats();
        let granted = usize::try_from(stats.granted[place] - before).unwrap();
        assert!(granted <= expected, "{granted} of {expected}");
        (granted, stats.waiting[place]) == (expected, number - expected)
    })
    .await;
    stop(calls).await;
}

async fn stop(calls: Calls) {
    calls.iter().for_each(JoinHandle::abort);
    for call in calls {
        let _ = call.await;
    }
}

async fn eventually(happened: impl Fn() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(SECOND / 200).await;
        }
    };
    let waited = tokio::time::timeout(LONG, waiting).await;
    waited.expect("it does not happen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_stay_within_one_quota_and_all_who_wait_pass() {
    let server = Server::start();
    let quota = Quota::per_second(200).capacity(20);
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(process(&server, quota, |builder| builder).await);
    }
    let began = Instant::now();
    let all = processes
        .iter()
        .map(async |pacer| pass(pacer, Priority::Background, 60, 60).await);
    join_all(all).await;
    let took = began.elapsed();
    println!("240 calls passed in {took:?}");
    let most = 20.0 + 200.0 * took.as_secs_f64();
    assert!(240.0 <= most, "of at most {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_call_of_one_process_goes_before_the_background_of_another() {
    let server = Server::start();
    let quota = Quota::new(1, HOUR).capacity(20);
    let patient = |builder: PacerBuilder| builder.starvation(HOUR, 0.05);
    let (busy, other) = (
        process(&server, quota, patient).await,
        process(&server, quota, patient).await,
    );
    let background = calls(&busy, Priority::Background, 60);
    eventually(|| busy.stats().waiting == [0, 0, 45]).await;
    // A quarter of the bucket was left to those.
    pass(&other, Priority::Critical, 8, 5).await;
    assert_eq!(busy.stats().granted, [0, 0, 15]);
    stop(background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_seen_by_all_processes_and_ends() {
    let server = Server::start();
    let quota = Quota::per_second(1_000);
    let (one, other) = (
        process(&server, quota, |builder| builder).await,
        process(&server, quota, |builder| builder).await,
    );
    other.ready("a", Priority::Critical).await.unwrap();
    let began = Instant::now();
    one.pause("a", SECOND / 2).await;
    other.ready("a", Priority::Critical).await.unwrap();
    assert!(began.elapsed() >= SECOND / 2, "{:?}", began.elapsed());
    one.pause("a", 10 * LONG).await;
    other.ready("b", Priority::Critical).await.unwrap();
    pass(&other, Priority::Critical, 10, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_stop_waiting_have_paid_nothing_in_redis() {
    let server = Server::start();
    let quota = Quota::new(1, HOUR).capacity(6_000);
    let pacer = process(&server, quota, |builder| builder.max_queue(20_000)).await;
    for round in 0..20_u32 {
        // Some are served before they go, most are not.
        let limit = Duration::from_micros(u64::from(round) * 100);
        let calls = calls(&pacer, Priority::Critical, 500);
        tokio::time::sleep(limit).await;
        stop(calls).await;
    }
    let granted = pacer.stats().granted[0];
    println!("{granted} of 10000 calls passed before they were stopped");
    // What was granted for those who are gone may still be on its way back.
    let left = 6_000 - usize::try_from(granted).unwrap();
    pass(&pacer, Priority::Critical, left + 10, left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_goes_on_with_its_share_and_tells_afterwards() {
    let mut server = Server::start();
    let quota = Quota::new(1, HOUR).capacity(400);
    let share = |builder: PacerBuilder| builder.fallback(Fallback::Local { share: 4 });
    let pacer = process(&server, quota, share).await;
    pass(&pacer, Priority::Critical, 40, 40).await;
    server.kill();
    // Its share is 100, of which it had 40.
    pass(&pacer, Priority::Critical, 70, 60).await;
    // It comes back without its data: what is in the bucket then is what it is told.
    server.restart();
    server.wait();
    let other = process(&server, quota, |builder| builder).await;
    pass(&pacer, Priority::Critical, 1, 1).await;
    pass(&other, Priority::Critical, 400, 400 - 60 - 1).await;
    let closed = process_without(Fallback::Closed);
    let refused = closed.ready("a", Priority::Critical).await.unwrap_err();
    assert!(refused.is_unavailable());
    let open = process_without(Fallback::Open);
    open.ready("a", Priority::Background).await.unwrap();
    pass(&open, Priority::Background, 100, 100).await;
}

fn process_without(fallback: Fallback) -> Pacer {
    let redis = Redis::open("redis://127.0.0.1:1").unwrap();
    let builder = Pacer::builder(Quota::per_second(1))
        .name("shop")
        .redis(redis);
    builder.fallback(fallback).build().unwrap()
}
