//! The nodes together, and the work that is going on in them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use larder::Invalidate;

use super::history::{tag, History, Kind, KEYS, TAGS};
use super::node::{Invalidation, Node, Sort};
use super::seed::Seed;

/// Look-ups of one node that are under way at once.
const READERS: usize = 4;

pub struct Fleet {
    pub history: Arc<History>,
    nodes: RwLock<Vec<Arc<Node>>>,
    over: AtomicBool,
}

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Fleet {
    pub fn new(nodes: usize) -> Arc<Self> {
        Arc::new(Self {
            history: Arc::new(History::of(nodes)),
            nodes: RwLock::default(),
            over: AtomicBool::new(false),
        })
    }

    /// A node is there, or is there again.
    pub fn admit(&self, node: Arc<Node>) {
        let mut nodes = self.nodes.write().unwrap();
        nodes.retain(|other| other.index != node.index);
        nodes.push(node);
    }

    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.read().unwrap().clone()
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst) && !self.history.has_failed()
    }
}

/// What one node does all the time.
pub fn workers(fleet: &Arc<Fleet>, node: &Arc<Node>, seed: u64) -> Vec<Work> {
    let worker = |number: usize| Seed::of(seed, (node.index * 16 + number + 1) as u64);
    let mut work: Vec<Work> = (0..READERS)
        .map(|number| -> Work {
            let (fleet, node) = (Arc::clone(fleet), Arc::clone(node));
            Box::pin(read(fleet, node, worker(number)))
        })
        .collect();
    if node.sort != Sort::Reader {
        let seed = worker(READERS);
        work.push(Box::pin(write(Arc::clone(fleet), Arc::clone(node), seed)));
        work.push(Box::pin(follow_up(Arc::clone(fleet), Arc::clone(node))));
    }
    work
}

async fn read(fleet: Arc<Fleet>, node: Arc<Node>, mut seed: Seed) {
    while fleet.goes_on() {
        let (key, kind, strict) = question(&mut seed);
        let look_up = node.look_up(key, kind, strict);
        if seed.one_in(40) {
            // A client that leaves halfway.
            let left = tokio::time::timeout(seed.up_to(4), look_up).await;
            if left.is_err() {
                fleet.history.tally.dropped();
            }
        } else {
            look_up.await;
        }
        tokio::time::sleep(seed.up_to(5)).await;
    }
}

fn question(seed: &mut Seed) -> (usize, Kind, bool) {
    let kind = match seed.below(10) {
        0 | 1 => Kind::Typed,
        2 | 3 => Kind::Lenient,
        _ => Kind::Fresh,
    };
    // Some keys are asked for more often than others.
    let key = seed.below(KEYS).min(seed.below(KEYS));
    (key, kind, seed.one_in(2))
}

async fn write(fleet: Arc<Fleet>, node: Arc<Node>, mut seed: Seed) {
    while fleet.goes_on() {
        // Bursts, and pauses in which answers can be stored.
        let pause = if seed.one_in(4) { 400 } else { 40 };
        tokio::time::sleep(seed.up_to(pause)).await;
        let invalidation = invalidation(&mut seed);
        let keys = keys_of(&invalidation.things);
        let key = keys[seed.below(keys.len())];
        // The second one overtakes the calls that the first one has made necessary.
        for _ in 0..1 + seed.below(2) {
            node.invalidate(&invalidation, &mut seed).await;
            pounce(&fleet, key, &mut seed);
            tokio::time::sleep(seed.up_to(8)).await;
        }
    }
}

/// Asks all nodes at once for something that was just invalidated: the most likely time to be behind,
/// and to follow a call that began before.
fn pounce(fleet: &Fleet, key: usize, seed: &mut Seed) {
    for node in fleet.nodes() {
        for _ in 0..2 {
            let ((_, kind, strict), pause) = (question(seed), seed.up_to(3));
            let node = Arc::clone(&node);
            node.handle.clone().spawn(async move {
                tokio::time::sleep(pause).await;
                node.look_up(key, kind, strict).await;
            });
        }
    }
}

fn keys_of(things: &[usize]) -> Vec<usize> {
    let is_of = |key: &usize| {
        let parts = super::history::parts_of(*key);
        parts.iter().any(|part| things.contains(part))
    };
    (0..KEYS).filter(is_of).collect()
}

fn invalidation(seed: &mut Seed) -> Invalidation {
    let (one, key) = (seed.below(TAGS), seed.below(KEYS));
    let (what, things) = match seed.below(16) {
        0 => (Invalidate::all(), (0..TAGS + KEYS).collect()),
        1..=3 => {
            let more = [one, (one + 2) % TAGS, (one + 3) % TAGS];
            (Invalidate::tags(more.map(tag)), more.to_vec())
        }
        4..=6 => {
            let [fresh, lenient] = ["f", "l"].map(|way| Invalidate::uri(format!("/{way}/{key}")));
            (fresh.and(lenient), vec![TAGS + key])
        }
        _ => (Invalidate::tag(tag(one)), vec![one]),
    };
    Invalidation {
        what,
        things,
        soft: seed.one_in(4),
    }
}

/// Notes when what was deferred has been acknowledged after all.
async fn follow_up(fleet: Arc<Fleet>, node: Arc<Node>) {
    while fleet.goes_on() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        catch_up(&fleet.history, &node);
    }
}

pub fn catch_up(history: &History, node: &Node) {
    let waiting = history.waiting(node.index);
    if waiting > 0 && node.deferred() == 0 {
        history.caught_up(node.index, waiting);
    }
}
