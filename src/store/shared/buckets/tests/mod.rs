//! Buckets in real servers.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs them")]

mod leases;
mod leasing;
#[allow(clippy::duplicate_mod, reason = "integration tests use it too")]
#[path = "../../../../../tests/support/ledger.rs"]
mod ledger;
mod lines;
mod masters;
mod model;
mod outages;
mod takes;
mod windows;

use std::future::Future;
use std::time::Duration;

use super::handle::SharedBuckets;
use super::{Charge, Policy};
use crate::policy::bucket::Quota;
use crate::redis::Redis;
use crate::store::shared::tests::server::{self, Server};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % sides
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize]
    }
}

/// How many steps a random test takes: more where `LARDER_STEPS` says so.
fn steps(usually: usize) -> usize {
    let told = std::env::var("LARDER_STEPS").ok();
    told.and_then(|steps| steps.parse().ok()).unwrap_or(usually)
}

/// One process, connected, and patient with a busy machine: what it is told does not depend on when.
async fn node(url: &str) -> SharedBuckets {
    waiting(url, MINUTE).await
}

/// One that waits for no answer for longer than this.
async fn waiting(url: &str, deadline: Duration) -> SharedBuckets {
    let redis = Redis::builder(url).prefix("test").deadline(deadline);
    let redis = redis.build().unwrap();
    assert!(redis.connected(MINUTE).await, "{redis:?}");
    SharedBuckets::new(redis)
}

/// Waits until it has happened, however busy the machine is.
async fn eventually<F, Happened>(mut happened: F)
where
    F: FnMut() -> Happened,
    Happened: Future<Output = bool>,
{
    let waiting = async {
        while !happened().await {
            tokio::time::sleep(SECOND / 200).await;
        }
    };
    let waited = tokio::time::timeout(MINUTE, waiting).await;
    waited.expect("it does not happen");
}

/// So much an hour that nothing is refilled while a test runs.
fn still(name: &str, capacity: u64) -> Policy {
    Policy::new(name, &Quota::new(1, HOUR).capacity(capacity))
}

fn charge(principal: u128, policy: &Policy, cost: u64) -> Charge<'_> {
    Charge {
        principal,
        policy,
        cost,
    }
}

/// How often a server was asked to run a script.
fn calls(server: &Server) -> u64 {
    let stats = server.cli(&["info", "commandstats"]);
    let of = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(name))?;
        let calls = line.split(',').next()?;
        calls.parse::<u64>().ok()
    };
    ["cmdstat_evalsha:calls=", "cmdstat_eval:calls="]
        .iter()
        .filter_map(|name| of(name))
        .sum()
}
