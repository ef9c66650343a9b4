//! Buckets in a Cluster, and behind Sentinels that replace the master.

use tokio::time::Instant;

use super::{charge, node, still, waiting, Duration, MINUTE, SECOND};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::Policy;
use crate::store::shared::tests::masters::Cluster;
use crate::store::shared::tests::server::eventually as wait_for;
use crate::store::shared::tests::watched::Watched;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_buckets_of_one_principal_are_taken_together_on_any_node_of_a_cluster() {
    let cluster = Cluster::start();
    let buckets = node(&cluster.url()).await;
    let (few, many, all) = (still("few", 2), still("many", 5), still("all", 300));
    for principal in 1..=100 {
        let charges = [
            charge(principal, &many, 2),
            charge(principal, &few, 1),
            charge(0, &all, 1),
        ];
        assert!(buckets.take(&charges).await.unwrap().granted);
        assert!(buckets.take(&charges).await.unwrap().granted);
        assert!(!buckets.take(&charges).await.unwrap().granted);
    }
    let (left, _) = buckets
        .take_up_to(&charge(0, &all, 1), 1_000)
        .await
        .unwrap();
    assert_eq!(left, 100, "a refusal takes nothing of what is asked later");
    let sizes: Vec<u64> = cluster
        .nodes
        .iter()
        .map(|node| node.cli(&["dbsize"]).parse().unwrap())
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), 201);
    assert!(sizes.iter().all(|size| *size > 30), "{sizes:?}");
    assert_eq!(buckets.inner.redis.health().errors, 0);
}

/// G11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_admits_at_most_the_capacity_once_more() {
    let mut watched = Watched::start();
    let buckets = waiting(&watched.url(), SECOND / 20).await;
    let quota = Quota::per_second(50).capacity(40);
    let policy = Policy::new("p", &quota);
    let caller = {
        let (buckets, policy) = (buckets.clone(), policy.clone());
        tokio::spawn(async move {
            let (mut admitted, mut silent, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
            let began = Instant::now();
            let mut back = None;
            while back.is_none_or(|back: Instant| back.elapsed() < SECOND) {
                let asked = Instant::now();
                match buckets.take(&[charge(1, &policy, 1)]).await {
                    Ok(taken) => {
                        admitted += u64::from(taken.granted);
                        if silent > 0 {
                            back.get_or_insert(asked);
                        }
                    }
                    Err(_) => silent += 1,
                }
                slowest = slowest.max(asked.elapsed());
                assert!(began.elapsed() < 2 * MINUTE, "there was no failover");
                tokio::time::sleep(SECOND / 500).await;
            }
            (admitted, silent, slowest, began.elapsed())
        })
    };
    tokio::time::sleep(SECOND).await;
    watched.master.kill();
    let (admitted, silent, slowest, lasted) = caller.await.unwrap();
    let most = 40.0 + 50.0 * lasted.as_secs_f64() + 40.0;
    println!("{admitted} of at most {most:.0} admitted, {silent} without an answer, the slowest took {slowest:?}");
    assert!(admitted as f64 <= most);
    assert!(wait_for(|| watched.replica.cli(&["dbsize"]) == "1"));
}
