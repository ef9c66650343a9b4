//! The shared tier in a Cluster: the clock, a response, its lease and the lists of its tags lie on
//! different nodes.

use std::time::Duration;

use tokio::time::Instant;

use super::index::{indexed_at, MINUTE};
use super::leases::named;
use super::masters::Cluster;
use super::processes::{eventually, now};
use crate::store::invalidation::Strength::{Hard, Soft};
use crate::store::shared::lease::Taken;

fn number_of_keys(cluster: &Cluster) -> usize {
    let sizes = cluster.nodes.iter().map(|node| node.cli(&["dbsize"]));
    sizes.map(|size| size.parse::<usize>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_are_counted_and_many_are_freed_on_all_nodes() {
    let cluster = Cluster::start();
    let a = indexed_at(&cluster.url()).await;
    let mut kept = 0;
    // A long list, and a short one of which all are in the long one too.
    for round in 0..34_u32 {
        for n in 0..40_u32 {
            let key = [round.to_be_bytes(), n.to_be_bytes()].concat();
            let tags: &[&str] = if round == 0 {
                &["few", "many"]
            } else {
                &["many"]
            };
            let stored = a.make_of(&key, Vec::new(), tags, MINUTE);
            a.responses.store(&stored, now(), None);
            kept += 1;
        }
        let entered = || async {
            let many = a.reached(&["many"], Soft).await;
            many == Some(kept)
        };
        assert!(
            eventually(entered).await,
            "{round}: {:?}",
            a.reached(&["many"], Soft).await
        );
    }
    assert_eq!(number_of_keys(&cluster), 1 + 34 * 40 + 2);
    assert!(cluster
        .nodes
        .iter()
        .all(|node| node.cli(&["dbsize"]).parse::<u32>().unwrap() > 300));
    assert_eq!(a.reached(&["few"], Soft).await, Some(40));
    assert_eq!(a.reached(&["few"], Hard).await, Some(40));
    assert_eq!(number_of_keys(&cluster), 1 + 33 * 40 + 1);
    assert_eq!(
        a.reached(&["many"], Hard).await,
        Some(34 * 40),
        "not more than"
    );
    let left = || number_of_keys(&cluster);
    assert!(eventually(|| async { left() == 1 }).await, "{}", left());
    assert_eq!(a.driver.redis().health().errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_heard_from_every_node() {
    let cluster = Cluster::start();
    let (a, b) = (
        indexed_at(&cluster.url()).await,
        indexed_at(&cluster.url()).await,
    );
    let limit = Duration::from_millis(500);
    // So that both listen.
    drop(
        b.responses
            .lease(b"first", &[], Instant::now(), limit)
            .await,
    );
    let (mut fastest, mut slow) = (MINUTE, 0);
    for key in 0..30_u32 {
        let key = key.to_be_bytes();
        let mine = a.responses.lease(&key, &[], Instant::now(), limit).await;
        let theirs = b.responses.lease(&key, &[], Instant::now(), limit).await;
        let (Taken::Mine(lease), Taken::Theirs(waiting)) = (mine, theirs) else {
            panic!("a has it, and b waits");
        };
        let released = Instant::now();
        lease.stored();
        assert_eq!(named(&waiting.next().await), "stored");
        let woken = released.elapsed();
        fastest = fastest.min(woken);
        slow += usize::from(woken > Duration::from_millis(50));
    }
    println!("woken after {fastest:?} at best, {slow} of 30 by a poll");
    assert!(slow < 5, "{slow} of 30 were not woken");
}
