//! Two nodes under a steady load while their Redis is killed and started again, ten times: does
//! anybody notice?
//!
//! ```sh
//! cargo build --release --example quickstart
//! cargo test --release --test load -- --ignored --nocapture
//! ```
//!
//! Prints a line for each phase. `behind` is how long after a rename was acknowledged an answer still
//! showed an older title: `here` on the node that was told, `there` on the other one.

#![allow(clippy::print_stdout, reason = "a table is what this is for")]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod titles;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clients::{Client, Sample};
use support::server::Server;
use support::Quickstart;
use titles::Titles;

const OUTAGES: usize = 10;
/// For each node. With [`clients::PACE`], 2,000 requests a second in all.
const CLIENTS: usize = 4;

const WARM_UP: Duration = Duration::from_secs(6);
const UNDISTURBED: Duration = Duration::from_secs(6);
const AWAY: Duration = Duration::from_secs(1);
const BACK: Duration = Duration::from_secs(2);

/// A part of the run, which samples belong to by the moment they were sent.
struct Phase {
    name: String,
    handler_calls: u64,
    took: Duration,
    /// How long after Redis answered each node said that it is up.
    up_after: Vec<Option<Duration>>,
}

#[test]
#[ignore = "takes a minute, and measures"]
fn nobody_notices_that_redis_is_killed_and_started_again() {
    let mut redis = Server::start();
    let url = redis.url();
    let node = || Quickstart::start(&[("REDIS_URL", &url), ("ORIGIN_DELAY_MS", "5")]);
    let nodes = [node(), node()];
    let titles = Titles::new(nodes.len() * CLIENTS);
    let (now, stop) = (AtomicUsize::new(0), AtomicBool::new(false));

    let (phases, samples) = thread::scope(|scope| {
        let clients: Vec<_> = (0..nodes.len() * CLIENTS)
            .map(|number| {
                let node = number % nodes.len();
                let (titles, address) = (&titles, &nodes[node].address);
                let client = Client::new(number, node, address, titles);
                let (now, stop) = (&now, &stop);
                scope.spawn(move || client.run(now, stop))
            })
            .collect();

        let mut phases = Vec::new();
        let mut run = |name: String, length: Duration, back: bool| {
            let calls = || nodes.iter().map(|node| node.stat("handler_calls")).sum();
            let (before, start): (u64, _) = (calls(), Instant::now());
            let up_after = match back {
                true => wait_until_up(&nodes, length),
                false => Vec::new(),
            };
            thread::sleep(length.saturating_sub(start.elapsed()));
            let after: u64 = calls();
            phases.push(Phase {
                name,
                handler_calls: after - before,
                took: start.elapsed(),
                up_after,
            });
            now.fetch_add(1, Ordering::Relaxed);
        };
        run("warm-up".to_owned(), WARM_UP, false);
        run("before".to_owned(), UNDISTURBED, false);
        for outage in 1..=OUTAGES {
            redis.kill();
            run(format!("away {outage}"), AWAY, false);
            redis.restart();
            redis.wait();
            run(format!("back {outage}"), BACK, true);
        }
        run("after".to_owned(), UNDISTURBED, false);
        stop.store(true, Ordering::Relaxed);
        let samples: Vec<Vec<Sample>> = clients
            .into_iter()
            .map(|client| client.join().expect("a client does not panic"))
            .collect();
        (phases, samples.concat())
    });

    print(&phases, &samples);
    let failures = samples.iter().filter(|sample| sample.failed).count();
    assert_eq!(failures, 0);
    let behind_here = samples.iter().filter(|sample| sample.behind_here.is_some());
    assert_eq!(behind_here.count(), 0);
    let slow = phases.iter().flat_map(|phase| &phase.up_after);
    assert_eq!(slow.filter(|up| up.is_none()).count(), 0);
}

/// How long each node takes to say that Redis is up.
fn wait_until_up(nodes: &[Quickstart], limit: Duration) -> Vec<Option<Duration>> {
    let up = |node| support::within(limit, || Quickstart::redis_is_up(node));
    thread::scope(|scope| {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(move || up(node)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("stats answer");
        nodes.into_iter().map(join).collect()
    })
}

fn print(phases: &[Phase], samples: &[Sample]) {
    println!("phase    requests  failed   hits  calls/s  p50 ms  p99 ms  worst ms  behind here  there ms  up after ms");
    for (number, phase) in phases.iter().enumerate() {
        let mine: Vec<_> = samples.iter().filter(|s| s.phase == number).collect();
        let mut latencies: Vec<_> = mine.iter().map(|s| millis(s.latency)).collect();
        latencies.sort_by(f64::total_cmp);
        let at = |q: f64| latencies.get((latencies.len() as f64 * q) as usize);
        let reads: Vec<_> = mine.iter().filter_map(|s| s.hit).collect();
        let hits = reads.iter().filter(|hit| **hit).count() as f64 / reads.len().max(1) as f64;
        let here = mine.iter().filter(|s| s.behind_here.is_some()).count();
        let there = mine.iter().filter_map(|s| s.behind_there).max();
        let up: Vec<_> = phase
            .up_after
            .iter()
            .map(|up| up.map_or("never".to_owned(), |up| format!("{:.0}", millis(up))))
            .collect();
        println!(
            "{:8} {:8}  {:6} {:5.1}%  {:7.0} {:7.2} {:7.2}  {:8.1}  {:11}  {:8.0}  {}",
            phase.name,
            mine.len(),
            mine.iter().filter(|s| s.failed).count(),
            hits * 100.0,
            phase.handler_calls as f64 / phase.took.as_secs_f64(),
            at(0.5).unwrap_or(&0.0),
            at(0.99).unwrap_or(&0.0),
            latencies.last().unwrap_or(&0.0),
            here,
            there.map_or(0.0, millis),
            up.join(", ")
        );
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
