//! The same load while Sentinels replace a master, and while a node of a Cluster is down.

use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use super::crew::Crew;
use super::masters::Cluster;
use super::watched::Watched;
use super::{new_seed, tell};

const A_WHILE: Duration = Duration::from_millis(1500);

fn finish(what: &str, mut crew: Crew, seed: u64) {
    let table = crew.end();
    tell(&format!("{what}, with seed {seed}:\n{table}"));
    let history = &crew.fleet.history;
    history.assert_nothing_wrong(seed);
    for origin in ["near hit", "shared hit", "miss", "unconfirmed"] {
        assert!(history.tally.answers(origin) > 0, "never a {origin}");
    }
    assert!(history.tally.deferred() > 0, "nothing was deferred");
}

#[test]
fn no_request_fails_while_sentinels_replace_the_master() {
    let seed = new_seed();
    let mut watched = Watched::start();
    let crew = Crew::start(|_| watched.url(), seed);
    crew.await_sound();
    sleep(A_WHILE);
    let (before, killed) = (crew.reconnects(), Instant::now());
    watched.master.kill();
    crew.await_reconnects(&before);
    let took = killed.elapsed();
    sleep(A_WHILE);
    // It comes back as a master without data, until the Sentinels have it follow the new one.
    watched.master.restart();
    sleep(A_WHILE);
    finish(&format!("failed over within {took:.1?}"), crew, seed);
}

#[test]
fn no_request_fails_while_a_node_of_a_cluster_is_down() {
    let seed = new_seed();
    let mut cluster = Cluster::start();
    let slot = cluster.nodes[0].cli(&["cluster", "keyslot", "larder:c"]);
    let of_clock = slot.parse::<usize>().expect("a number") / 5462;
    let crew = Crew::start(|_| cluster.url(), seed);
    crew.await_sound();
    sleep(A_WHILE);
    // One without the clock, and then the one with it.
    for node in [(of_clock + 1) % 3, of_clock] {
        let before = crew.reconnects();
        cluster.nodes[node].kill();
        sleep(A_WHILE);
        cluster.nodes[node].restart();
        crew.await_reconnects(&before);
        crew.await_sound();
        sleep(A_WHILE);
    }
    finish("a node of the cluster was killed, twice", crew, seed);
}
