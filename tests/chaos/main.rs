//! Chaos: several nodes, one Redis, and everything that can go wrong between them.
//!
//! Handlers read a database of version numbers; invalidations follow commits; answers say what they
//! were made of. So every answer can be judged by what had been acknowledged when it was asked for:
//!
//! - a *strict* answer is never older, whatever goes wrong;
//! - nor is any answer older than what its own node has invalidated;
//! - a *relaxed* one is older than what other nodes have invalidated for the time of a push, at most
//!   for the health limit where the node thinks itself sound, at most for the grace where it does not;
//! - what was deferred holds everywhere as soon as its node has nothing deferred left;
//! - when all is healed, nothing stale is left anywhere;
//! - and no request ever fails.
//!
//! `CHAOS_SECONDS` and `CHAOS_SEED` in the environment make it longer and repeat its choices.

#![cfg(feature = "redis")]
#![allow(unreachable_pub, reason = "these modules are this test's own")]

mod crew;
mod faults;
mod history;
mod load;
#[path = "../support/masters.rs"]
mod masters;
mod node;
mod others;
mod proxy;
mod seed;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod tally;
#[path = "../support/watched.rs"]
mod watched;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use crew::{Crew, SORTS};
use faults::{Fault, Site};
use seed::Seed;
use tokio::time::Instant;

/// Told whether or not the test passes: a run that hangs must have told its seed.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn from_environment(name: &str) -> Option<u64> {
    let said = std::env::var(name).ok()?;
    Some(said.parse().expect("it is a number"))
}

fn new_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    from_environment("CHAOS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000)
}

struct Chaos {
    crew: Crew,
    site: Site,
    seed: Seed,
    /// Of the next node that is started.
    number: u64,
    /// What is broken on the way of a node, until when.
    broken: Vec<(usize, Instant)>,
}

impl Chaos {
    fn start(number: u64) -> Self {
        let site = Site::start(SORTS.len());
        Self {
            crew: Crew::start(|node| site.url(node), number),
            site,
            seed: Seed::of(number, 0),
            number,
            broken: Vec::new(),
        }
    }

    /// Breaks things for as long as is wanted, each of them at least once.
    fn rage(&mut self, limit: Duration) {
        let began = Instant::now();
        let mut all = Fault::ALL;
        for round in 0.. {
            self.seed.shuffle(&mut all);
            let mut next: VecDeque<_> = all.into();
            self.calm_down();
            while let Some(fault) = next.pop_front() {
                let is_over = round > 0 && began.elapsed() >= limit;
                if is_over || self.crew.fleet.history.has_failed() {
                    return;
                }
                self.inject(fault);
                let pause = self.seed.between(20, 250);
                sleep(pause);
                self.mend(Instant::now());
            }
        }
    }

    fn inject(&mut self, fault: Fault) {
        let node = self.seed.below(SORTS.len());
        let tally = &self.crew.fleet.history.tally;
        tally.note(match fault.is_on_the_way() {
            true => format!("{} (node {node})", fault.name()),
            false => fault.name().to_owned(),
        });
        match fault {
            fault if fault.is_on_the_way() => {
                self.site.break_way(fault, node, &mut self.seed);
                let lasts = self.seed.between(50, 1500);
                self.broken.push((node, Instant::now() + lasts));
            }
            Fault::Reboot => {
                self.number += 1;
                self.crew.reboot(|node| self.site.url(node), self.number);
            }
            fault => {
                if fault == Fault::Return {
                    // Whoever cannot reach the replica would not know that there was another life.
                    self.mend_all();
                    self.crew.await_sound();
                }
                self.site.break_server(fault, &mut self.seed, &self.crew);
            }
        }
        let tally = &self.crew.fleet.history.tally;
        tally.note(format!("{}: done", fault.name()));
        tally.fault(fault.name());
    }

    /// Mends what was broken for long enough.
    fn mend(&mut self, now: Instant) {
        let (over, broken) = self.broken.iter().partition(|(_, until)| *until <= now);
        self.broken = broken;
        let over: Vec<(usize, Instant)> = over;
        for (node, _) in over {
            if !self.broken.iter().any(|(other, _)| *other == node) {
                // What was held arrives late, or never.
                if self.seed.one_in(2) {
                    self.site.proxies[node].cut();
                }
                self.site.proxies[node].heal();
                let tally = &self.crew.fleet.history.tally;
                tally.note(format!("node {node} is mended"));
            }
        }
    }

    fn mend_all(&mut self) {
        self.broken.clear();
        self.site.heal();
    }

    /// A time without faults, in which the nodes must recover and can be seen at their best.
    fn calm_down(&mut self) {
        self.mend_all();
        // What vouches at once may be a heartbeat from before, so it is asked again later; and whoever
        // listens may then wait for half a second before it tries again.
        for _ in 0..2 {
            sleep(Duration::from_millis(700));
            self.crew.await_sound();
        }
        let calm = &self.crew.fleet.history.calm;
        calm.store(true, Ordering::Relaxed);
        sleep(Duration::from_millis(1000));
        calm.store(false, Ordering::Relaxed);
    }
}

#[test]
fn nothing_stale_is_answered_and_no_request_fails_whatever_goes_wrong() {
    let number = new_seed();
    let limit = Duration::from_secs(from_environment("CHAOS_SECONDS").unwrap_or(12));
    tell(&format!("chaos with seed {number}"));
    let began = Instant::now();
    let mut chaos = Chaos::start(number);
    chaos.rage(limit);
    chaos.mend_all();
    let table = chaos.crew.end();
    tell(&format!("chaos for {:.1?}:\n{table}", began.elapsed()));
    let history = &chaos.crew.fleet.history;
    history.assert_nothing_wrong(number);
    // A run in which something did not happen proves less.
    for fault in Fault::ALL {
        assert!(history.tally.faults(fault.name()) > 0, "never {fault:?}");
    }
    for origin in [
        "near hit",
        "shared hit",
        "stale",
        "collapsed",
        "miss",
        "unconfirmed",
        "value found",
    ] {
        assert!(history.tally.answers(origin) > 0, "never a {origin}");
    }
    assert!(history.tally.deferred() > 0, "nothing was deferred");
}
