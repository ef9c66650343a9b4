//! Buckets in a Cluster.

use super::{charge, node, still};
use crate::store::shared::tests::masters::Cluster;

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
