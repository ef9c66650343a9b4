//! The server of a bucket is replaced while everybody asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use larder::limit::{Decision, Fallback};
use larder::{Limiter, Quota, Redis};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::server::eventually;
use crate::watched::Watched;

const KEYS: usize = 12;
const NODES: u32 = 2;
const CAPACITY: u64 = 40;
const RATE: u64 = 50;

/// Two processes that ask for all keys until they are told to stop.
struct Load {
    limiters: Vec<Limiter>,
    callers: JoinSet<()>,
    admitted: Arc<[AtomicU64; KEYS]>,
    stopped: Arc<AtomicBool>,
    began: Instant,
}

impl Load {
    async fn start(url: &str) -> Self {
        let mut load = Self {
            limiters: Vec::new(),
            callers: JoinSet::new(),
            admitted: Arc::default(),
            stopped: Arc::default(),
            began: Instant::now(),
        };
        for _ in 0..NODES {
            // Patient: what is replaced says so, and only that is an outage here.
            let minute = Duration::from_secs(60);
            let redis = Redis::builder(url).deadline(minute).build().unwrap();
            assert!(redis.connected(minute).await);
            let quota = Quota::per_second(RATE).capacity(CAPACITY);
            let limiter = Limiter::builder(quota).name("api").redis(redis);
            let limiter = limiter.fallback(Fallback::Local { share: NODES });
            load.limiters.push(limiter.build().unwrap());
        }
        for limiter in load.limiters.clone() {
            for key in 0..KEYS {
                let (admitted, stopped) = (Arc::clone(&load.admitted), Arc::clone(&load.stopped));
                let limiter = limiter.clone();
                load.callers.spawn(async move {
                    while !stopped.load(Ordering::Relaxed) {
                        match limiter.take(key.to_string(), 1).await {
                            Decision::Admitted { .. } => {
                                admitted[key].fetch_add(1, Ordering::Relaxed);
                            }
                            Decision::Refused { .. } => {}
                            other => panic!("an error: {other:?}"),
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                });
            }
        }
        load
    }

    /// Decisions that were made without Redis.
    fn alone(&self) -> u64 {
        self.limiters.iter().map(|one| one.stats().alone).sum()
    }

    fn decided(&self) -> u64 {
        let decided = |one: &Limiter| one.stats().admitted + one.stats().refused;
        self.limiters.iter().map(decided).sum()
    }

    /// Waits until Redis has answered so many decisions in a row.
    fn is_answered(&self, decisions: u64) -> bool {
        eventually(|| {
            let (alone, decided) = (self.alone(), self.decided());
            eventually(|| self.alone() > alone || self.decided() >= decided + decisions)
                && self.alone() == alone
        })
    }

    /// Ends it. No key was admitted more often than its bucket allows, and its capacity once more.
    async fn end(mut self, what: &str) {
        self.stopped.store(true, Ordering::Relaxed);
        while let Some(caller) = self.callers.join_next().await {
            caller.unwrap();
        }
        let lasted = self.began.elapsed().as_secs_f64();
        let may = CAPACITY as f64 + RATE as f64 * lasted;
        let admitted = self.admitted.iter().map(|one| one.load(Ordering::Relaxed));
        let most = admitted.max().unwrap() as f64;
        println!(
            "{what}: {} decisions, {} of them without redis, no error; at most {most} of {may:.0} admitted of a key in {lasted:.1} s",
            self.decided(),
            self.alone(),
        );
        assert!(most <= may + CAPACITY as f64, "{most} of {may}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_fail_nobody_and_admit_at_most_a_capacity_more() {
    let cluster = Cluster::start();
    let load = Load::start(&cluster.url()).await;
    tokio::task::block_in_place(|| {
        assert!(load.is_answered(200), "before");
        let names = cluster.nodes[0].cli(&["keys", "*:api"]);
        assert!(!names.is_empty(), "some keys lie there");
        for name in names.lines() {
            cluster.migrate(name, 0, 1);
        }
        assert_eq!(cluster.nodes[0].cli(&["keys", "*:api"]), "");
        assert!(load.is_answered(200), "after");
        println!("{} buckets moved", names.lines().count());
    });
    load.end("slots moved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_under_load_fails_nobody_and_admits_at_most_a_capacity_more() {
    let mut watched = Watched::start();
    let load = Load::start(&watched.url()).await;
    tokio::task::block_in_place(|| {
        assert!(load.is_answered(200), "before");
        watched.master.kill();
        let alone = load.alone();
        assert!(eventually(|| load.alone() > alone), "nobody answers");
        assert!(load.is_answered(200), "after");
        // There, where it was not before.
        let buckets = KEYS.to_string();
        assert!(eventually(|| watched.replica.cli(&["dbsize"]) == buckets));
    });
    load.end("a new master").await;
}
