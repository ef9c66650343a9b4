//! A Cluster of three real nodes, of which one dies, freezes, is replaced or hands over its keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::masters::Cluster;
use super::server::{cli, eventually as wait_for, free_port, Server};
use super::{cost_of_get, eventually, set, SECOND};
use crate::redis::nodes::slot;
use crate::redis::{Event, NoAnswer, Redis, Script};

async fn connect(cluster: &Cluster) -> Redis {
    // Live nodes must answer however busy this machine is.
    let deadline = SECOND / 4;
    let redis = Redis::builder(cluster.url())
        .deadline(deadline)
        .build()
        .unwrap();
    assert!(redis.connected(10 * SECOND).await, "{redis:?}");
    redis
}

/// A key of each of the three nodes.
fn keys() -> [String; 3] {
    let third = |n: u16| {
        let key = (0..)
            .map(|k| k.to_string())
            .find(|key| slot(key.as_bytes()) / 5462 == n);
        key.unwrap_or_default()
    };
    [third(0), third(1), third(2)]
}

async fn answered(redis: &Redis, key: &str) -> bool {
    redis.get(key.as_bytes()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_asked_of_its_own_node() {
    static SCRIPT: Script = Script::new("return redis.call('GET', KEYS[1])");
    let cluster = Cluster::start();
    let redis = connect(&cluster).await;
    assert_eq!(redis.health().nodes, 3);
    for key in (0..300).map(|key| format!("key:{key}")) {
        redis
            .run(key.as_bytes(), set(&key, &key), SECOND)
            .await
            .unwrap();
        let value = Bytes::from(key.clone());
        assert_eq!(redis.get(key.as_bytes()).await, Ok(Some(value)));
        let answer = redis.script(&SCRIPT, &[key.as_bytes()], &[], SECOND).await;
        assert_eq!(answer, Ok(redis::Value::BulkString(key.into_bytes())));
    }
    let sizes = cluster
        .nodes
        .iter()
        .map(|node| node.cli(&["dbsize"]).parse::<u32>().unwrap());
    let sizes: Vec<_> = sizes.collect();
    assert_eq!(sizes.iter().sum::<u32>(), 300);
    assert!(sizes.iter().all(|size| *size > 50), "{sizes:?}");
    let [a, b, _] = keys();
    assert!(redis.same_server(a.as_bytes(), a.as_bytes()));
    assert!(!redis.same_server(a.as_bytes(), b.as_bytes()));
    assert!(redis.same_server(b"{x}a", b"{x}b"));
    assert_eq!(redis.health().errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_or_freezes_takes_only_its_own_keys_away() {
    let mut cluster = Cluster::start();
    let redis = connect(&cluster).await;
    let [dead, b, c] = keys();

    cluster.nodes[0].kill();
    assert!(eventually(|| async { !answered(&redis, &dead).await }).await);
    let mut worst = std::time::Duration::ZERO;
    for _ in 0..500 {
        let began = Instant::now();
        assert_eq!(redis.get(dead.as_bytes()).await, Err(NoAnswer::Down));
        assert!(answered(&redis, &b).await && answered(&redis, &c).await);
        worst = worst.max(began.elapsed());
        tokio::time::sleep(SECOND / 250).await;
    }
    println!("a node killed: three calls took {worst:?} at most");
    let health = redis.health();
    assert!(
        !health.up && health.nodes == 3 && health.nodes_up == 2,
        "{health:?}"
    );
    cluster.nodes[0].restart();
    let began = Instant::now();
    assert!(redis.connected(10 * SECOND).await);
    println!(
        "a node killed: all in use {:?} after it was back",
        began.elapsed()
    );
    assert!(eventually(|| answered(&redis, &dead)).await);

    cluster.nodes[1].freeze();
    let mut waited = 0;
    while redis.get(b.as_bytes()).await != Err(NoAnswer::Down) {
        waited += 1;
        assert!(answered(&redis, &c).await, "a breaker is each node's own");
    }
    assert!(waited <= 3, "{waited}");
    for _ in 0..500 {
        assert_eq!(redis.get(b.as_bytes()).await, Err(NoAnswer::Down));
        assert!(answered(&redis, &dead).await && answered(&redis, &c).await);
    }
    cluster.nodes[1].thaw();
    assert!(eventually(|| answered(&redis, &b)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_runs_on_the_node_that_gets_its_key() {
    let cluster = Cluster::start();
    let [a, _, c] = keys();
    let redis = Redis::open(cluster.url()).unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let key = a.clone();
    redis.on_connect(a.clone(), move |mut fresh| {
        counted.fetch_add(1, Ordering::Relaxed);
        let key = key.clone();
        async move { fresh.run(set(&key, "synced"), SECOND).await.map(drop) }
    });
    let events = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    redis.subscribe("channel", move |event| heard.lock().push(event));
    assert!(redis.connected(10 * SECOND).await);
    assert_eq!(runs.load(Ordering::Relaxed), 1, "on one node of three");
    assert!(eventually(|| async { *events.lock() == [Event::Subscribed] }).await);

    // The slot moves while it is empty, so that nothing has to be migrated.
    cluster.nodes[0].cli(&["del", &a]);
    let (number, id) = (slot(a.as_bytes()).to_string(), cluster.id(2));
    for node in [2, 0, 1] {
        let done = cluster.nodes[node].cli(&["cluster", "setslot", &number, "node", &id]);
        assert_eq!(done, "OK");
    }
    let moved = redis.get(a.as_bytes()).await;
    assert!(
        matches!(&moved, Err(NoAnswer::Refused(why)) if why.starts_with("MOVED")),
        "{moved:?}"
    );
    assert!(eventually(|| answered(&redis, &a)).await);
    let value = redis.get(a.as_bytes()).await;
    assert_eq!(
        value,
        Ok(Some(Bytes::from_static(b"synced"))),
        "it ran before the first answer"
    );
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert!(redis.same_server(a.as_bytes(), c.as_bytes()));

    // What listens follows the key, and says that it may have missed something.
    assert!(eventually(|| async { events.lock().len() == 3 }).await);
    cluster.nodes[1].cli(&["publish", "channel", "1"]);
    let message = Event::Message(b"1".to_vec());
    let expected = [Event::Subscribed, Event::Lost, Event::Subscribed, message];
    assert!(
        eventually(|| async { *events.lock() == expected }).await,
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_from_a_dead_master() {
    let mut cluster = Cluster::start();
    let [dead, b, c] = keys();
    let replica = Server::on(free_port(), Cluster::NODE);
    let [new, old] = [replica.port, cluster.nodes[0].port].map(|port| format!("127.0.0.1:{port}"));
    let id = cluster.id(0);
    let join = [
        "--cluster",
        "add-node",
        &new,
        &old,
        "--cluster-slave",
        "--cluster-master-id",
        &id,
    ];
    let joined = cli(cluster.nodes[0].port, &join);
    let replicates = || {
        replica
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
    };
    assert!(wait_for(replicates), "{joined}");
    let redis = connect(&cluster).await;
    assert_eq!(redis.health().nodes, 3);
    redis
        .run(dead.as_bytes(), set(&dead, "1"), SECOND)
        .await
        .unwrap();
    assert!(wait_for(|| replica.cli(&["dbsize"]) == "1"));

    cluster.nodes[0].kill();
    let began = Instant::now();
    assert!(eventually(|| async { redis.get(dead.as_bytes()).await.is_err() }).await);
    let back = || async {
        assert!(answered(&redis, &b).await && answered(&redis, &c).await);
        answered(&redis, &dead).await
    };
    assert!(eventually(back).await, "{redis:?}");
    println!(
        "a master killed: its keys answered again after {:?}",
        began.elapsed()
    );
    assert_eq!(
        redis.get(dead.as_bytes()).await,
        Ok(Some(Bytes::from_static(b"1")))
    );
    assert!(redis.connected(10 * SECOND).await, "{redis:?}");
}

#[tokio::test]
async fn a_cluster_that_is_absent_or_is_none_costs_nothing() {
    let server = Server::start();
    let absent = format!("redis+cluster://127.0.0.1:{}", free_port());
    let none = format!("redis+cluster://127.0.0.1:{}", server.port);
    for url in [absent, none] {
        let redis = Redis::open(&url).unwrap();
        assert!(!redis.connected(SECOND / 2).await);
        let cost = cost_of_get(&redis).await;
        assert!(cost < 10_000, "{cost} ns");
    }
}
