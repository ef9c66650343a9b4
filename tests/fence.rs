//! A model of everything that can interleave with an invalidation, driven by hand with many seeds.
//!
//! Answers say which version of each thing they were made of. An invalidation first changes the
//! thing and then tells the cache, as a handler does after its commit; what is looked up after that
//! must not be older. Nothing here depends on time: futures are polled in an order that the seed
//! decides, now and then one is dropped, and the clock moves only when the seed says so.

#[path = "support/drive.rs"]
mod drive;
mod support;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drive::*;
use http::Response;
use larder::{Cache, CacheLayer, Invalidate, ManualClock, Tags};
use support::*;
use tower::{Layer, ServiceExt};

const KEYS: usize = 4;
const TAGS: usize = 3;
/// Versions are kept of each tag and then of each key.
const THINGS: usize = TAGS + KEYS;

/// What an answer is made of: the tags of its key, and the key itself.
fn parts_of(key: usize) -> [usize; 3] {
    [key % TAGS, (key + 1) % TAGS, TAGS + key]
}

/// A small generator of numbers (SplitMix64).
struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) % limit as u64).unwrap()
    }
}

type Versions = [u64; THINGS];

/// The things themselves, and what was acknowledged of them.
#[derive(Default)]
struct World {
    now: Versions,
    /// No answer looked up from here on may be older.
    purged: Versions,
    /// Nor than this, except where stale answers are allowed.
    marked: Versions,
}

type Shared = Arc<Mutex<World>>;

/// What a look-up promises its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Promise {
    Fresh,
    /// Stale answers are allowed, purged ones are not.
    Lenient,
    /// A typed value: it has tags and no address.
    Typed,
}

impl World {
    fn floor(&self, promise: Promise, key: usize) -> Vec<u64> {
        let floor = match promise {
            Promise::Lenient => &self.purged,
            Promise::Fresh | Promise::Typed => &self.marked,
        };
        let addressed = |thing: usize| promise != Promise::Typed || thing < TAGS;
        let of = |thing: usize| if addressed(thing) { floor[thing] } else { 0 };
        parts_of(key).into_iter().map(of).collect()
    }

    fn read(&self, key: usize) -> String {
        let versions = parts_of(key).map(|thing| self.now[thing].to_string());
        format!("{}.", versions.join(","))
    }
}

fn versions(text: &str) -> Vec<u64> {
    let whole = text.strip_suffix('.').expect("an answer is whole");
    whole
        .split(',')
        .map(|version| version.parse().unwrap())
        .collect()
}

/// Pending a few times.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// An origin that reads the world when it is called and answers later, now and then badly.
fn origin(world: &Shared, seed: u64) -> Origin {
    let (world, calls) = (Arc::clone(world), AtomicU64::new(seed));
    Origin::later(move |request| {
        let mut seed = Seed(calls.fetch_add(1, Ordering::SeqCst));
        let key: usize = request.uri().path()[3..].parse().unwrap();
        let text = world.lock().unwrap().read(key);
        Box::pin(async move {
            turns(seed.below(4)).await;
            let mut response = match seed.below(12) {
                0 => return status(503),
                1 => Response::new(TestBody::new([Step::Data("broken"), Step::Fail])),
                2 => Response::new(TestBody::sized([Step::Bytes(text.into())], 1000)),
                kind => in_pieces(&text, kind % 2 == 0),
            };
            let late = Tags::new([format!("tag {}", (key + 1) % TAGS)]);
            response.extensions_mut().insert(late);
            response
        })
    })
}

fn in_pieces(text: &str, sized: bool) -> Response<TestBody> {
    let mut steps = Vec::new();
    for piece in text.as_bytes().chunks(2) {
        steps.extend([Step::Yield, Step::Bytes(Bytes::copy_from_slice(piece))]);
    }
    let length = text.len() as u64;
    Response::new(if sized {
        TestBody::sized(steps, length)
    } else {
        TestBody::new(steps)
    })
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

struct Model {
    world: Shared,
    cache: Cache,
    clock: ManualClock,
    origin: Origin,
    strict: CacheLayer,
    lenient: CacheLayer,
    seed: Seed,
    running: Vec<Running>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let clock = ManualClock::new();
        let cache = Cache::builder().clock(clock.clock()).build().unwrap();
        let world = Shared::default();
        let tag_of = |parts: &http::request::Parts| {
            let key: usize = parts.uri.path()[3..].parse().unwrap();
            vec![format!("tag {}", key % TAGS)]
        };
        let strict = cache.layer().ttl(Duration::from_secs(10)).tags_by(tag_of);
        let lenient = strict
            .clone()
            .stale_while_revalidate(Duration::from_secs(20))
            .stale_if_error(Duration::from_secs(20));
        Self {
            origin: origin(&world, seed << 32),
            world,
            cache,
            clock,
            strict,
            lenient,
            seed: Seed(seed),
            running: Vec::new(),
        }
    }

    async fn step(&mut self) {
        match self.seed.below(100) {
            0..=15 => self.look_up(),
            16..=18 => self.compute(),
            19 => self.invalidate().await,
            20 if self.seed.below(3) == 0 => self.put().await,
            21 => {
                let seconds = self.seed.below(9) as u64;
                self.clock.advance(Duration::from_secs(seconds));
            }
            22 if !self.running.is_empty() => {
                let one = self.seed.below(self.running.len());
                drop(self.running.swap_remove(one));
            }
            23..=35 => tokio::task::yield_now().await,
            _ => self.poll_one().await,
        }
    }

    async fn poll_one(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let one = self.seed.below(self.running.len());
        if poll_once(&mut self.running[one]).await.is_ready() {
            drop(self.running.swap_remove(one));
        }
    }

    /// A request, which knows when it begins what it may no longer be given.
    fn look_up(&mut self) {
        let key = self.seed.below(KEYS);
        let (layer, promise, path) = match self.seed.below(2) {
            0 => (self.strict.clone(), Promise::Fresh, format!("/s/{key}")),
            _ => (self.lenient.clone(), Promise::Lenient, format!("/l/{key}")),
        };
        let fields: &[_] = match self.seed.below(8) {
            0 => &[("cache-control", "no-cache")],
            1 => &[("cache-control", "max-stale=5")],
            _ => &[],
        };
        let (world, origin) = (Arc::clone(&self.world), self.origin.clone());
        self.running.push(Box::pin(async move {
            let floor = world.lock().unwrap().floor(promise, key);
            let reply = head(&layer, &origin, get(&path, fields)).await;
            let (parts, body) = reply.into_parts();
            let body = http_body_util::BodyExt::collect(body).await;
            if let (200, Ok(body)) = (parts.status.as_u16(), body) {
                let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                let told = parts.headers["cache-status"].to_str().unwrap().to_owned();
                assert_not_older(&versions(&text), &floor, &format!("{promise:?} {told}"));
            }
        }));
    }

    fn compute(&mut self) {
        let key = self.seed.below(KEYS);
        let (world, cache) = (Arc::clone(&self.world), self.cache.clone());
        let (before, fails) = (self.seed.below(4), self.seed.below(6) == 0);
        self.running.push(Box::pin(async move {
            let floor = world.lock().unwrap().floor(Promise::Typed, key);
            let tags = [key, key + 1].map(|tag| format!("tag {}", tag % TAGS));
            let compute = || async {
                let text = world.lock().unwrap().read(key);
                turns(before).await;
                if fails {
                    return Err(());
                }
                Ok(text)
            };
            let ttl = Duration::from_secs(10);
            let value = cache
                .get_or_compute(&format!("{key}"), ttl, tags, compute)
                .await;
            if let Ok(text) = value {
                assert_not_older(&versions(&text), &floor, "typed");
            }
        }));
    }

    /// Changes things, then tells the cache; from then on they are acknowledged.
    async fn invalidate(&mut self) {
        let (tag, key) = (self.seed.below(TAGS), self.seed.below(KEYS));
        let (what, things) = match self.seed.below(8) {
            0 => (Invalidate::all(), (0..THINGS).collect()),
            1 => (
                Invalidate::uri(format!("/s/{key}")).and(Invalidate::uri(format!("/l/{key}"))),
                vec![TAGS + key],
            ),
            2 => (
                Invalidate::tags((0..TAGS).map(|tag| format!("tag {tag}"))),
                (0..TAGS).collect(),
            ),
            _ => (Invalidate::tag(format!("tag {tag}")), vec![tag]),
        };
        let soft = self.seed.below(3) == 0;
        self.change(&things);
        let invalidating = self.cache.invalidate(if soft { what.soft() } else { what });
        self.acknowledge(&things, soft);
        if self.seed.below(2) == 0 {
            let _ = invalidating.await;
        }
    }

    /// A `PUT` that changes a key, through the layer that watches; its answer acknowledges it.
    async fn put(&mut self) {
        let key = self.seed.below(KEYS);
        for path in [format!("/s/{key}"), format!("/l/{key}")] {
            let world = Arc::clone(&self.world);
            let inner = tower::service_fn(move |_: http::Request<_>| {
                world.lock().unwrap().now[TAGS + key] += 1;
                async { Ok::<_, Infallible>(status(204)) }
            });
            let asked = request("PUT", &path, &[], "");
            self.cache
                .watch()
                .layer(inner)
                .oneshot(asked)
                .await
                .unwrap();
        }
        self.acknowledge(&[TAGS + key], false);
    }

    fn change(&self, things: &[usize]) {
        let mut world = self.world.lock().unwrap();
        things.iter().for_each(|thing| world.now[*thing] += 1);
    }

    fn acknowledge(&self, things: &[usize], soft: bool) {
        let mut world = self.world.lock().unwrap();
        for thing in things {
            world.marked[*thing] = world.now[*thing];
            if !soft {
                world.purged[*thing] = world.now[*thing];
            }
        }
    }

    /// Lets everything end, and looks for what was left behind.
    async fn end(mut self) {
        for _ in 0..1000 {
            self.running = still_running(std::mem::take(&mut self.running)).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(self.running.len(), 0, "somebody waits for ever");
        let held = self.cache.stats().entries;
        assert_eq!(self.cache.invalidate_all().await.entries, Some(held));
        let stats = self.cache.stats();
        assert_eq!((stats.entries, stats.bytes), (0, 0));
        let tags = (0..TAGS).map(|tag| format!("tag {tag}"));
        assert_eq!(self.cache.invalidate_tags(tags).await.entries, Some(0));
        for key in 0..KEYS {
            let before = self.origin.calls();
            let path = format!("/s/{key}");
            drop(head(&self.strict, &self.origin, get(&path, &[])).await);
            assert_eq!(self.origin.calls(), before + 1, "a flight was left behind");
        }
    }
}

async fn still_running(running: Vec<Running>) -> Vec<Running> {
    let mut left = Vec::new();
    for mut one in running {
        if poll_once(&mut one).await.is_pending() {
            left.push(one);
        }
    }
    left
}

/// Tells the seed of a run that failed; `FENCE_SEEDS` in the environment asks for more of them.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with seed {}", self.0);
        }
    }
}

fn assert_not_older(found: &[u64], floor: &[u64], what: &str) {
    let older = found.iter().zip(floor).any(|(found, floor)| found < floor);
    assert!(
        !older,
        "{what}: made of {found:?}, but {floor:?} was acknowledged"
    );
}

#[tokio::test]
async fn after_an_invalidation_returned_nothing_begun_before_it_is_served() {
    let seeds = std::env::var("FENCE_SEEDS").map_or(400, |seeds| seeds.parse().unwrap());
    let (mut hits, mut collapsed, mut stale) = (0, 0, 0);
    for seed in 0..seeds {
        let mut model = Model::new(seed);
        let stats = model.cache.clone();
        let _seed = Told(seed);
        for _ in 0..500 {
            model.step().await;
        }
        model.end().await;
        let stats = stats.stats();
        hits += stats.hits;
        collapsed += stats.collapsed;
        stale += stats.stale;
    }
    // A model in which nothing happens proves nothing.
    assert!(
        hits > 10 * seeds && collapsed > seeds && stale > seeds,
        "{hits} {collapsed} {stale}"
    );
}
