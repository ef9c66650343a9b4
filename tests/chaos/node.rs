//! One process of the service: a runtime, a handle on Redis, a cache, and its routes.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::Request;
use http_body_util::Full;
use larder::{Cache, CacheLayer, Invalidate, Redis, Tags};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tower::{service_fn, Layer, ServiceExt};

use super::history::{parts_of, tag, Asked, Change, History, Kind, GRACE};
use super::load;
use super::seed::Seed;
use super::support::{get, request, send, text, Origin};

const TTL: Duration = Duration::from_secs(120);

/// What a node is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Usual,
    /// The near tier holds a few responses, so that most are found in Redis.
    Narrow,
    /// Nothing is near: every look-up is strict unless its route says otherwise.
    Distant,
    /// Invalidates nothing, so that it may die at any time.
    Reader,
}

pub struct Node {
    pub index: usize,
    pub sort: Sort,
    pub handle: Handle,
    pub cache: Cache,
    history: Arc<History>,
    origin: Origin,
    /// How many values.
    computed: AtomicU64,
    /// Relaxed and strict.
    fresh: [CacheLayer; 2],
    lenient: [CacheLayer; 2],
}

impl Node {
    fn new(
        index: usize,
        sort: Sort,
        url: &str,
        history: &Arc<History>,
        seed: u64,
        handle: Handle,
    ) -> Self {
        let redis = Redis::open(url).expect("the URL means something");
        let builder = Cache::builder().redis(redis).grace(GRACE);
        let builder = match sort {
            Sort::Usual | Sort::Reader => builder,
            Sort::Narrow => builder.capacity(8 << 10).body_limit(1 << 10),
            Sort::Distant => builder.near(false),
        };
        let cache = builder.build().expect("the settings fit together");
        let first_tag = |parts: &Parts| vec![tag(key_of(parts.uri.path()) % super::history::TAGS)];
        let fresh = cache.layer().ttl(TTL).tags_by(first_tag);
        let lenient = fresh.clone().stale_while_revalidate(TTL);
        let both = |layer: CacheLayer| [layer.clone().strict(false), layer.strict(true)];
        Self {
            index,
            sort,
            handle,
            history: Arc::clone(history),
            origin: origin(Arc::clone(history), seed),
            computed: AtomicU64::new(0),
            fresh: both(fresh),
            lenient: both(lenient),
            cache,
        }
    }

    pub fn is_sound(&self) -> bool {
        self.cache.stats().shared.is_some_and(|shared| shared.sound)
    }

    pub fn deferred(&self) -> u64 {
        self.cache
            .stats()
            .shared
            .map_or(0, |shared| shared.deferred)
    }

    pub fn reconnects(&self) -> u64 {
        let shared = self.cache.stats().shared;
        shared.map_or(0, |shared| shared.redis.reconnects)
    }

    /// One request, judged.
    pub async fn look_up(&self, key: usize, kind: Kind, strict: bool) {
        let (asked, text, origin) = self.answer(key, kind, strict).await;
        self.history.judge(&asked, &text, &origin);
    }

    /// One request when all is over.
    pub async fn look_up_at_the_end(&self, key: usize, kind: Kind, strict: bool) {
        let (asked, text, origin) = self.answer(key, kind, strict).await;
        self.history.judge_at_the_end(&asked, &text, &origin);
    }

    async fn answer(&self, key: usize, kind: Kind, strict: bool) -> (Asked, String, String) {
        // Values are as strict as their cache.
        let strict = match kind {
            Kind::Typed => self.sort == Sort::Distant,
            Kind::Fresh | Kind::Lenient => strict,
        };
        let mut asked = self.history.ask(self.index, key, kind, strict);
        // After the time was taken: what vouches for it now was sent less than the limit before.
        asked.sound = self.is_sound();
        let (layer, path) = match kind {
            Kind::Fresh => (&self.fresh[usize::from(strict)], format!("/f/{key}")),
            Kind::Lenient => (&self.lenient[usize::from(strict)], format!("/l/{key}")),
            Kind::Typed => {
                let (text, origin) = self.value(key).await;
                self.history.tally.answered(origin);
                return (asked, text, origin.to_owned());
            }
        };
        let answer = send(layer, &self.origin, get(&path, &[])).await;
        let (text, told) = (answer.text().to_owned(), answer.decision());
        if answer.status != 200 {
            let what = format!("failed with {}: {told}", answer.status);
            self.history.wrong(&what);
        }
        self.history.tally.answered(origin_of(&told));
        (asked, text, told)
    }

    async fn value(&self, key: usize) -> (String, &'static str) {
        let [one, other, _] = parts_of(key);
        let (name, tags) = (key.to_string(), [one, other].map(tag));
        let mut computed = false;
        let compute = || {
            computed = true;
            let text = self.history.read(key);
            let slow = self
                .computed
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(6);
            async move {
                tokio::time::sleep(Duration::from_millis(if slow { 20 } else { 1 })).await;
                Ok::<_, Infallible>(text)
            }
        };
        let value = self.cache.get_or_compute(&name, TTL, tags, compute);
        let Ok(text) = value.await;
        (
            text,
            if computed {
                "value made"
            } else {
                "value found"
            },
        )
    }

    /// Commits a change and tells the cache.
    pub async fn invalidate(
        &self,
        Invalidation { what, things, soft }: &Invalidation,
        seed: &mut Seed,
    ) {
        let what = match soft {
            true => what.clone().soft(),
            false => what.clone(),
        };
        if seed.one_in(6) {
            return self.change(what, things, *soft).await;
        }
        let change = self.history.commit(things, *soft);
        let invalidating = self.cache.invalidate(what);
        self.history.told(self.index, &change);
        // One whose caller went away is carried out all the same; nobody knows when.
        if seed.one_in(12) {
            return drop(invalidating);
        }
        let invalidated = invalidating.await;
        self.history
            .returned(self.index, change, invalidated.deferred);
    }

    /// A request that changes things, and whose handler says so. Its answer does not tell whether the
    /// invalidation is deferred, so it is waited for as if it were.
    async fn change(&self, what: Invalidate, things: &[usize], soft: bool) {
        let committed = Arc::new(Mutex::new(None));
        let commits = (
            Arc::clone(&self.history),
            Arc::clone(&committed),
            things.to_vec(),
        );
        let handler = service_fn(move |_: Request<Full<Bytes>>| {
            let (history, committed, things) = &commits;
            *committed.lock().unwrap() = Some(history.commit(things, soft));
            let mut response = text("changed");
            response.extensions_mut().insert(what.clone());
            async { Ok::<_, Infallible>(response) }
        });
        let asked = request("PUT", "/admin", &[], "");
        let Ok(answer) = self.cache.watch().layer(handler).oneshot(asked).await;
        if answer.status() != 200 {
            self.history.wrong("a change failed");
        }
        let change: Option<Change> = committed.lock().unwrap().take();
        let change = change.expect("the handler was called");
        self.history.told(self.index, &change);
        self.history
            .returned(self.index, change, self.deferred() > 0);
    }
}

/// What to invalidate, and which things it is about.
pub struct Invalidation {
    pub what: Invalidate,
    pub things: Vec<usize>,
    pub soft: bool,
}

fn key_of(path: &str) -> usize {
    path[3..].parse().expect("paths end with a key")
}

/// Reads the database when it is called, and answers a little later.
fn origin(history: Arc<History>, seed: u64) -> Origin {
    let calls = AtomicU64::new(0);
    Origin::later(move |request| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let mut seed = Seed::of(seed, call);
        let key = key_of(request.uri().path());
        let body = history.read(key);
        Box::pin(async move {
            let slow = seed.one_in(8);
            tokio::time::sleep(seed.up_to(if slow { 30 } else { 3 })).await;
            let mut response = text(body);
            let late = Tags::new([tag(parts_of(key)[1])]);
            response.extensions_mut().insert(late);
            response
        })
    })
}

fn origin_of(told: &str) -> &'static str {
    match told {
        told if told.contains("unconfirmed") => "unconfirmed",
        told if told.starts_with("hit; ttl=-") => "stale",
        told if told.contains("detail=shared") => "shared hit",
        told if told.starts_with("hit") => "near hit",
        told if told.contains("collapsed") => "collapsed",
        told if told.contains("fwd=uri-miss") => "miss",
        told if told.contains("fwd=stale") => "miss after invalidation",
        _ => "other",
    }
}

/// A node, and what it dies with.
pub struct Process {
    pub node: Arc<Node>,
    runtime: Option<Runtime>,
    workers: Vec<JoinHandle<()>>,
}

impl Process {
    pub fn start(fleet: &Arc<load::Fleet>, index: usize, sort: Sort, url: &str, seed: u64) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let node = {
            let _within = runtime.enter();
            let handle = runtime.handle().clone();
            Arc::new(Node::new(index, sort, url, &fleet.history, seed, handle))
        };
        fleet.admit(Arc::clone(&node));
        let workers = load::workers(fleet, &node, seed);
        let workers = workers
            .into_iter()
            .map(|work| runtime.spawn(work))
            .collect();
        Self {
            node,
            runtime: Some(runtime),
            workers,
        }
    }

    pub fn run<F: Future>(&self, work: F) -> F::Output {
        let runtime = self.runtime.as_ref().expect("it is taken at the end only");
        runtime.block_on(work)
    }

    /// Waits for the workers, which end by themselves when the load is over.
    pub fn end_work(&mut self) {
        let workers = std::mem::take(&mut self.workers);
        self.run(async {
            for worker in workers {
                worker.await.expect("no worker panics");
            }
        });
    }
}

/// As a process that is killed: nothing in it is carried on.
impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
