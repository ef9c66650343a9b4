//! What does a decision of a limiter cost, beside governor's?

use std::future::Future;
use std::hint::black_box;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock, QuantaClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use larder::{Limiter, Quota};
use larder_peers::stats::{median, median_ratio};

fn main() {
    println!("{:?}", Duration::ZERO);
    for (keys, rounds) in [(1, 41), (1_000, 41), (1_000_000, 9)] {
        let names: Vec<String> = (0..keys).map(|n| format!("client-{n:08}")).collect();
        for threads in [1, 2] {
            let mut ours = Vec::new();
            let mut theirs = Vec::new();
            let mut theirs_mono = Vec::new();
            let limiter =
                Limiter::builder(Quota::per_second(1_000_000_000).capacity(4_000_000_000))
                    .max_keys(names.len().max(1000))
                    .build()
                    .unwrap();
            let n = std::num::NonZeroU32::new(1_000_000_000).unwrap();
            let b = std::num::NonZeroU32::new(4_000_000_000).unwrap();
            let quota = governor::Quota::per_second(n).allow_burst(b);
            let governor: DefaultKeyedRateLimiter<String> = RateLimiter::dashmap(quota);
            let mono: RateLimiter<
                String,
                _,
                MonotonicClock,
                governor::middleware::NoOpMiddleware<Instant>,
            > = RateLimiter::dashmap_with_clock(quota, MonotonicClock);
            for _ in 0..rounds {
                ours.push(time(&names, threads, |name| {
                    let mut cx = Context::from_waker(Waker::noop());
                    let take = std::pin::pin!(limiter.take(name, 1));
                    assert!(matches!(take.poll(&mut cx), Poll::Ready(d) if d.is_admitted()));
                }));
                theirs.push(time(&names, threads, |name| {
                    assert!(governor.check_key(name).is_ok());
                }));
                theirs_mono.push(time(&names, threads, |name| {
                    assert!(mono.check_key(name).is_ok());
                }));
            }
            println!(
                "{keys} keys, {threads} threads: {:.1} ns, governor {:.1} (quanta), {:.1} (Instant); ratio {:.2} / {:.2}; evicted {}",
                median(ours.clone()), median(theirs.clone()), median(theirs_mono.clone()),
                median_ratio(&ours, &theirs), median_ratio(&ours, &theirs_mono), limiter.stats().evicted
            );
        }
    }
    let _ = black_box(QuantaClock::default().now());
}

fn time(names: &[String], threads: usize, check: impl Fn(&String) + Sync) -> f64 {
    let each = (names.len()).clamp(200_000, 1_000_000);
    let barrier = Barrier::new(threads);
    let spent: Vec<f64> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|t| {
                let (barrier, check) = (&barrier, &check);
                scope.spawn(move || {
                    let mut at = t * 7919;
                    barrier.wait();
                    let start = Instant::now();
                    for _ in 0..each {
                        at = (at + 7919) % names.len();
                        check(black_box(&names[at]));
                    }
                    start.elapsed().as_nanos() as f64 / each as f64
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    spent.iter().sum::<f64>() / threads as f64
}
