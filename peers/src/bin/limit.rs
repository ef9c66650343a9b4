//! What does a limit cost in this process, beside governor and tower_governor?
//!
//! Decisions: `String` keys, ours by the precise clock, governor's by its own and by `Instant`, and both by a clock
//! that stands, which leaves the decision alone. Layers: a service
//! that clones prebuilt fields and a body, limited by peer address with fields on. Memory: a million keys,
//! each seen once, where there is room for 64 thousand. Everything takes turns; ratios are taken round by round.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use governor::clock::{FakeRelativeClock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use http::{Request, Response};
use larder::{Clock, LimitLayer, Limiter, ManualClock, Quota};
use larder_peers::origin::{Origin, Requests};
use larder_peers::stats::{median, median_ratio};
use tower::{Layer, Service, ServiceExt};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::PeerIpKeyExtractor;
use tower_governor::GovernorLayer;

/// More than any run takes.
const PLENTY: (u32, u32) = (1_000_000_000, 4_000_000_000);

fn main() {
    decisions();
    layers();
    flood();
}

fn decisions() {
    println!(
        "| decision | larder, ns | governor, ns | over governor | the same, both by `Instant` | the same, both by a \
         clock that stands |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (keys, rounds) in [(1, 41), (1_000, 41), (1_000_000, 9)] {
        let names: Vec<String> = (0..keys).map(|n| format!("client-{n:08}")).collect();
        for threads in [1, 2] {
            compare(&names, threads, rounds);
        }
    }
}

fn compare(names: &[String], threads: usize, rounds: usize) {
    let (rate, burst) = PLENTY;
    let limiter = |clock| {
        let quota = Quota::per_second(rate.into()).capacity(burst.into());
        let limiter = Limiter::builder(quota).clock(clock);
        let limiter = limiter.max_keys(names.len().max(1_000)).build();
        limiter.expect("the quota is one")
    };
    let quota = governor::Quota::per_second(more_than_zero(rate));
    let quota = quota.allow_burst(more_than_zero(burst));
    let theirs: DefaultKeyedRateLimiter<String> = RateLimiter::dashmap(quota);
    let by_instant: RateLimiter<String, _, MonotonicClock, NoOpMiddleware<Instant>> =
        RateLimiter::dashmap_with_clock(quota, MonotonicClock);
    let still: RateLimiter<String, _, FakeRelativeClock, NoOpMiddleware<Nanos>> =
        RateLimiter::dashmap_with_clock(quota, FakeRelativeClock::default());
    let mut subjects: [Box<dyn FnMut() -> f64>; 5] = [
        taking(limiter(Clock::system()), names, threads),
        Box::new(|| {
            time(names, threads, |name| {
                assert!(theirs.check_key(name).is_ok())
            })
        }),
        Box::new(|| {
            time(names, threads, |name| {
                assert!(by_instant.check_key(name).is_ok())
            })
        }),
        taking(limiter(ManualClock::new().clock()), names, threads),
        Box::new(|| {
            time(names, threads, |name| {
                assert!(still.check_key(name).is_ok())
            })
        }),
    ];
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        for (times, subject) in times.iter_mut().zip(&mut subjects) {
            times.push(subject());
        }
    }
    let [ours, theirs, by_instant, ours_still, theirs_still] = &times;
    println!(
        "| {} keys, {threads} threads | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        names.len(),
        median(ours.clone()),
        median(theirs.clone()),
        median_ratio(ours, theirs),
        median_ratio(ours, by_instant),
        median_ratio(ours_still, theirs_still),
    );
}

fn taking(limiter: Limiter, names: &[String], threads: usize) -> Box<dyn FnMut() -> f64 + '_> {
    Box::new(move || {
        time(names, threads, |name| {
            let mut cx = Context::from_waker(Waker::noop());
            let take = std::pin::pin!(limiter.take(name, 1));
            assert!(matches!(take.poll(&mut cx), Poll::Ready(d) if d.is_admitted()));
        })
    })
}

fn more_than_zero(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("more than zero")
}

/// Nanoseconds for one check, on so many threads at once.
fn time(names: &[String], threads: usize, check: impl Fn(&String) + Sync) -> f64 {
    let each = names.len().clamp(200_000, 1_000_000);
    let barrier = Barrier::new(threads);
    let spent: Vec<f64> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, check) = (&barrier, &check);
                scope.spawn(move || {
                    let mut at = thread;
                    barrier.wait();
                    let start = Instant::now();
                    for _ in 0..each {
                        // A step that visits them all, in an order that no cache foresees.
                        at = (at + 7_919) % names.len();
                        check(black_box(&names[at]));
                    }
                    start.elapsed().as_nanos() as f64 / each as f64
                })
            })
            .collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, f64>| handle.join();
        let times = handles.into_iter().map(join);
        times
            .map(|time| time.expect("a check does not panic"))
            .collect()
    });
    spent.iter().sum::<f64>() / threads as f64
}

fn layers() {
    const ROUNDS: usize = 301;
    let origin = Origin::prebuilt(4096);
    let service = || origin.service().map_response(|r| r.map(Body::new));
    let (rate, burst) = (1_000_000_000_u64, 4_000_000_000_u64);
    let plenty = Quota::per_second(rate).capacity(burst);
    let mut limit = service();
    let mut ours = LimitLayer::new(plenty).by_peer_ip().layer(service());
    let mut refusing = LimitLayer::new(Quota::per_hour(1))
        .by_peer_ip()
        .layer(service());
    let config = |nanos, burst| {
        let mut builder = GovernorConfigBuilder::default();
        let builder = builder.per_nanosecond(nanos).burst_size(burst);
        let builder = builder
            .key_extractor(PeerIpKeyExtractor)
            .use_headers()
            .finish();
        GovernorLayer::new(builder.expect("more than zero"))
    };
    let mut theirs = config(1, PLENTY.1).layer(service());
    let mut their_refusal = config(3_600_000_000_000, 1).layer(service());
    send(&mut refusing);
    send(&mut their_refusal);
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        times[0].push(send(&mut limit));
        times[1].push(send(&mut ours));
        times[2].push(send(&mut theirs));
        times[3].push(send(&mut refusing));
        times[4].push(send(&mut their_refusal));
    }
    println!("\n| layer | ns | over limit |\n| --- | --- | --- |");
    let names = [
        "limit",
        "larder",
        "tower_governor",
        "larder, refused",
        "tower_governor, refused",
    ];
    for (name, each) in names.iter().zip(&times) {
        let ratio = median_ratio(each, &times[0]);
        println!("| {name} | {:.0} | {ratio:.2} |", median(each.clone()));
    }
}

fn send<S, B>(service: &mut S) -> f64
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    const BATCH: usize = 500;
    let mut requests = Requests::for_one_page().batch(BATCH);
    let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711)));
    for request in &mut requests {
        request.extensions_mut().insert(peer);
    }
    let mut cx = Context::from_waker(Waker::noop());
    let start = Instant::now();
    for request in requests {
        let mut answer = std::pin::pin!(service.call(request));
        match answer.as_mut().poll(&mut cx) {
            Poll::Ready(Ok(response)) => drop(black_box(response)),
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => panic!("nothing has to be waited for"),
        }
    }
    start.elapsed().as_nanos() as f64 / BATCH as f64
}

fn flood() {
    let names: Vec<String> = (0..1_000_000).map(|n| format!("flood-{n:08}")).collect();
    println!("\n| a million keys, each once | ns | memory grows by |\n| --- | --- | --- |");
    let limiter = Limiter::builder(Quota::per_hour(10)).max_keys(65_536);
    let limiter = limiter.build().expect("the quota is one");
    // Its table is there from the first request on.
    let _ = limiter.stats();
    row("larder, for 65 536", &names, |name| {
        let mut cx = Context::from_waker(Waker::noop());
        let take = std::pin::pin!(limiter.take(name, 1));
        let _ = black_box(take.poll(&mut cx));
    });
    let quota = governor::Quota::per_hour(more_than_zero(10));
    let theirs: DefaultKeyedRateLimiter<String> = RateLimiter::dashmap(quota);
    row("governor", &names, |name| {
        let _ = black_box(theirs.check_key(name));
    });
}

fn row(name: &str, names: &[String], check: impl Fn(&String)) {
    let before = resident();
    let start = Instant::now();
    names.iter().for_each(check);
    let each: Duration = start.elapsed() / names.len() as u32;
    let more = resident().saturating_sub(before) as f64 / 1024.0;
    println!("| {name} | {} | {more:.1} MiB |", each.as_nanos());
}

/// The memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}
