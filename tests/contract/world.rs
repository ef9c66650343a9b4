//! Two nodes of one service, and where they keep what they share.

use std::future::Future;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use larder::cache::KeyedBy;
use larder::{Cache, CacheLayer, ManualClock, Redis};

use crate::masters::Cluster;
use crate::server::{for_all_tests, Server};
use crate::support::{send, status, Answer, Origin};

static SERVER: LazyLock<&Server> = LazyLock::new(|| for_all_tests(Server::start(), |s| vec![s]));
static CLUSTER: LazyLock<&Cluster> =
    LazyLock::new(|| for_all_tests(Cluster::start(), |cluster| cluster.nodes.iter().collect()));

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(10);

/// Where responses are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the memory of one process.
    Memory,
    /// In memory, and in one Redis behind it.
    Redis,
    /// The same, and no answer without a word of the shared clock.
    Strict,
    /// In one Redis alone.
    Far,
    /// The same, and its answers are as late as pushes are.
    Lax,
    /// In memory, and in a Cluster behind it.
    Cluster,
}

/// Two nodes, and one clock for both.
pub(crate) struct World {
    pub(crate) a: Cache,
    pub(crate) b: Cache,
    pub(crate) clock: ManualClock,
    pub(crate) place: Place,
}

impl World {
    pub(crate) async fn new(place: Place) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("w{}-{number}", process::id());
        let clock = ManualClock::new();
        let a = node(place, &prefix, &clock).await;
        let b = match place {
            Place::Memory => a.clone(),
            _ => node(place, &prefix, &clock).await,
        };
        Self { a, b, clock, place }
    }

    /// One route, on both nodes.
    pub(crate) fn route<K>(&self, say: impl Fn(CacheLayer) -> CacheLayer<K>) -> [CacheLayer<K>; 2] {
        [&self.a, &self.b].map(|node| say(node.layer()))
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.place != Place::Memory
    }

    /// Whether an invalidation holds on the other node too when it has returned.
    pub(crate) fn is_strict(&self) -> bool {
        !matches!(self.place, Place::Redis | Place::Lax | Place::Cluster)
    }

    /// Whether no node answers this from store any more.
    pub(crate) async fn is_gone<K>(
        &self,
        nodes: &[CacheLayer<K>; 2],
        request: &Request<Full<Bytes>>,
    ) where
        K: KeyedBy<Full<Bytes>> + 'static,
    {
        for node in nodes {
            let mut shown = ask(node, request).await;
            for _ in 0..1000 {
                if shown.is_none() || self.is_strict() {
                    break;
                }
                tokio::time::sleep(LONG / 5000).await;
                shown = ask(node, request).await;
            }
            assert!(shown.is_none(), "{request:?} is still shown: {shown:?}");
        }
    }
}

async fn node(place: Place, prefix: &str, clock: &ManualClock) -> Cache {
    let builder = Cache::builder().clock(clock.clock());
    let url = match place {
        Place::Memory => return builder.build().unwrap(),
        Place::Cluster => CLUSTER.url(),
        _ => SERVER.url(),
    };
    let redis = Redis::builder(url).prefix(prefix).deadline(LONG);
    let redis = redis.in_flight(512).build().unwrap(); // more than the largest crowd here
    let builder = builder.redis(redis.clone());
    let cache = match place {
        Place::Strict => builder.strict(true),
        Place::Far => builder.near(false),
        Place::Lax => builder.near(false).strict(false),
        _ => builder,
    };
    let cache = cache.build().unwrap();
    assert!(redis.connected(LONG).await, "{redis:?}");
    let sound = || cache.stats().shared.is_some_and(|shared| shared.sound);
    while !sound() {
        tokio::time::sleep(LONG / 5000).await;
    }
    cache
}

/// What the node has in store for this request, if anything. It goes the whole way of a miss.
pub(crate) async fn ask<K>(node: &CacheLayer<K>, request: &Request<Full<Bytes>>) -> Option<Answer>
where
    K: KeyedBy<Full<Bytes>> + 'static,
{
    let absent = Origin::new(|_| status(503));
    let answer = send(node, &absent, request.clone()).await;
    (answer.status != 503).then_some(answer)
}

/// What the node has in store, at the latest when a store that is under way has been done.
pub(crate) async fn served<K>(node: &CacheLayer<K>, request: &Request<Full<Bytes>>) -> Answer
where
    K: KeyedBy<Full<Bytes>> + 'static,
{
    for _ in 0..2000 {
        if let Some(answer) = ask(node, request).await {
            return answer;
        }
        tokio::time::sleep(LONG / 5000).await;
    }
    panic!("{request:?} is not in store");
}

/// Stores are done in the background; this one was made by a refresh, and nobody can be asked for it.
pub(crate) async fn landed() {
    tokio::time::sleep(LONG / 20).await;
}

/// Waits until it happens.
pub(crate) async fn eventually<F, Happened>(mut happened: F)
where
    F: FnMut() -> Happened,
    Happened: Future<Output = bool>,
{
    for _ in 0..2000 {
        if happened().await {
            return;
        }
        tokio::time::sleep(LONG / 5000).await;
    }
    panic!("it does not happen");
}

/// Stores what the origin answers on one node, and waits until both have it.
pub(crate) async fn store<K>(
    nodes: &[CacheLayer<K>; 2],
    origin: &Origin,
    request: &Request<Full<Bytes>>,
) -> Answer
where
    K: KeyedBy<Full<Bytes>> + 'static,
{
    let made = send(&nodes[0], origin, request.clone()).await;
    assert!(made.decision().ends_with("stored"), "{made:?}");
    let read = served(&nodes[1], request).await;
    assert_eq!(read.body, made.body);
    served(&nodes[0], request).await;
    made
}
