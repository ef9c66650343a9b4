//! Mixed traffic of clients who know what every answer may be: no wrong byte, nobody else's, and nothing older
//! than what a POST through the same proxy was told to have changed.
//!
//! `SOAK_SECONDS` (2 by default) is how long each of the four runs takes.

mod client;
mod resources;

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::proxy::Proxy;
use crate::server::{eventually, Server};
use client::{Checker, Seen};
use resources::World;

/// Half of them speak HTTP/1.1, the others HTTP/2.
const CLIENTS: u64 = 8;

fn duration() -> Duration {
    let seconds = env::var("SOAK_SECONDS").map_or(Ok(2), |text| text.parse());
    Duration::from_secs(seconds.expect("SOAK_SECONDS is a number"))
}

/// Lets clients loose on the proxies, until the time is over or one of them finds something wrong.
fn soak(world: &Arc<World>, proxies: &[Proxy]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let end = Instant::now() + duration();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let proxy = number as usize % proxies.len();
            let address = proxies[proxy].address.clone();
            let mut checker = Checker::new(Arc::clone(world), address, proxy, number);
            runtime.spawn(async move {
                while Instant::now() < end {
                    checker.ask().await;
                }
                checker.seen
            })
        })
        .collect();
    let mut seen = Seen::default();
    for client in clients {
        while !client.is_finished() {
            world.forget_requests();
            std::thread::sleep(Duration::from_millis(50));
        }
        seen += runtime.block_on(client).expect("no answer is wrong");
    }
    eprintln!("{seen:?}");
    let all = [
        seen.whole,
        seen.hits,
        seen.parts,
        seen.confirmed,
        seen.heads,
        seen.posted,
        seen.broken,
        seen.left,
    ];
    assert!(!all.contains(&0), "some were never tried: {seen:?}");

    // What each POST told has arrived everywhere, once nobody changes anything any more.
    for proxy in proxies {
        for target in world.targets_of_public_resources() {
            let is_current = || world.is_current(&target, &proxy.get(&target).body);
            assert!(eventually(is_current), "{target} stays old");
        }
    }
}

#[test]
fn mixed_traffic_brings_no_wrong_byte() {
    for profile in ["safe", "rfc9111"] {
        let world = World::start();
        let proxy = Proxy::start(&world.url(), &["--profile", profile, "--timeout", "5"]);
        soak(&world, &[proxy]);
    }
}

#[test]
fn mixed_traffic_brings_no_wrong_byte_from_proxies_with_one_redis() {
    for profile in ["safe", "rfc9111"] {
        let redis = Server::start();
        let world = World::start();
        let flags = ["--profile", profile, "--redis", &redis.url()];
        let proxies = [(); 2].map(|()| Proxy::start(&world.url(), &flags));
        soak(&world, &proxies);
    }
}
