//! The database, what was acknowledged of it, and who was answered with something older.
//!
//! A version is kept of each thing: of each tag, and of each key by its path. An invalidation first
//! raises the versions of what it names, as a transaction that commits, and then tells the cache.
//! An answer says which versions it was made of. Times are taken after an acknowledgement and
//! before a look-up, so a stale answer is at least as old as it is said to be, and bounds on its
//! age need no allowance for a slow machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::tally::Tally;

pub const TAGS: usize = 6;
pub const KEYS: usize = 24;
const THINGS: usize = TAGS + KEYS;

/// The protocol's health limit: how old the last heartbeat may be that vouches for a near answer.
const HEALTH_LIMIT: Duration = Duration::from_millis(600);
/// What the nodes are told to go on for without Redis.
pub const GRACE: Duration = Duration::from_secs(1);
/// The protocol counts whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// What an answer is made of: the tags of its key, and the key itself.
pub fn parts_of(key: usize) -> [usize; 3] {
    [key % TAGS, (key + 1) % TAGS, TAGS + key]
}

pub fn tag(number: usize) -> String {
    format!("tag-{number}")
}

/// What a look-up may be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that was invalidated, hard or softly.
    Fresh,
    /// Softly invalidated answers are allowed, while they are refreshed.
    Lenient,
    /// A typed value: it has tags and no path.
    Typed,
}

type Versions = [u64; THINGS];

/// Something that holds here, or everywhere.
#[derive(Clone, Default)]
struct Noted<T> {
    purged: T,
    /// Purged, or marked stale.
    marked: T,
}

impl<T> Noted<T> {
    fn for_kind(&self, kind: Kind) -> &T {
        match kind {
            Kind::Lenient => &self.purged,
            Kind::Fresh | Kind::Typed => &self.marked,
        }
    }

    fn each(&mut self, soft: bool) -> impl Iterator<Item = &mut T> {
        let purged = (!soft).then_some(&mut self.purged);
        purged.into_iter().chain([&mut self.marked])
    }
}

/// A version, and when everybody had to know it.
type Acknowledged = Vec<(u64, Instant)>;

#[derive(Default)]
struct Books {
    database: Versions,
    /// What was invalidated by any node, whether or not others know it yet.
    told: Noted<Versions>,
    /// What each node has invalidated itself.
    own: Vec<Noted<Versions>>,
    everywhere: Noted<[Acknowledged; THINGS]>,
    /// What each node has deferred, to be acknowledged when it has none left.
    deferred: Vec<Vec<Change>>,
}

/// One invalidation: the versions that it makes obsolete everything before.
#[derive(Clone)]
pub struct Change {
    things: Vec<(usize, u64)>,
    soft: bool,
}

/// One look-up: what it may not be answered with.
pub struct Asked {
    pub node: usize,
    pub key: usize,
    pub kind: Kind,
    pub strict: bool,
    /// Whether the node was sound after it had begun.
    pub sound: bool,
    at: Instant,
    own: [u64; 3],
    everywhere: [u64; 3],
}

pub struct History {
    books: Mutex<Books>,
    wrong: Mutex<Vec<String>>,
    failed: AtomicBool,
    began: Instant,
    /// Whether no fault was injected for a while.
    pub calm: AtomicBool,
    pub tally: Tally,
}

impl History {
    pub fn of(nodes: usize) -> Self {
        Self {
            books: Mutex::new(Books {
                own: vec![Noted::default(); nodes],
                deferred: vec![Vec::new(); nodes],
                ..Books::default()
            }),
            wrong: Mutex::default(),
            failed: AtomicBool::new(false),
            began: Instant::now(),
            calm: AtomicBool::new(false),
            tally: Tally::default(),
        }
    }

    /// What a handler reads for a key.
    pub fn read(&self, key: usize) -> String {
        let books = self.books();
        let versions = parts_of(key).map(|thing| books.database[thing].to_string());
        format!("{key}:{}.", versions.join(","))
    }

    /// The commit that an invalidation follows.
    pub fn commit(&self, things: &[usize], soft: bool) -> Change {
        let mut books = self.books();
        let raise = |thing: &usize| {
            books.database[*thing] += 1;
            (*thing, books.database[*thing])
        };
        let things = things.iter().map(raise).collect();
        Change { things, soft }
    }

    /// The cache of a node was told, and has not said anything yet: there it holds already.
    pub fn told(&self, node: usize, change: &Change) {
        let mut books = self.books();
        let Books { told, own, .. } = &mut *books;
        for versions in told.each(change.soft).chain(own[node].each(change.soft)) {
            for (thing, version) in &change.things {
                versions[*thing] = versions[*thing].max(*version);
            }
        }
    }

    /// The invalidation has returned.
    pub fn returned(&self, node: usize, change: Change, deferred: bool) {
        self.tally.invalidated(deferred);
        if deferred {
            self.books().deferred[node].push(change);
        } else {
            self.acknowledge([change]);
        }
    }

    /// The node had nothing deferred left at a moment after `waiting` was taken.
    pub fn caught_up(&self, node: usize, waiting: usize) {
        let settled: Vec<_> = self.books().deferred[node].drain(..waiting).collect();
        self.acknowledge(settled);
    }

    pub fn waiting(&self, node: usize) -> usize {
        self.books().deferred[node].len()
    }

    fn acknowledge(&self, changes: impl IntoIterator<Item = Change>) {
        let mut books = self.books();
        let now = Instant::now();
        for change in changes {
            for all in books.everywhere.each(change.soft) {
                for (thing, version) in &change.things {
                    let known = &mut all[*thing];
                    if known.last().is_none_or(|(last, _)| last < version) {
                        known.push((*version, now));
                    }
                }
            }
        }
    }

    /// A look-up begins.
    pub fn ask(&self, node: usize, key: usize, kind: Kind, strict: bool) -> Asked {
        let books = self.books();
        let own = parts_of(key).map(|thing| books.own[node].for_kind(kind)[thing]);
        let everywhere = parts_of(key).map(|thing| {
            let known = books.everywhere.for_kind(kind)[thing].last();
            known.map_or(0, |(version, _)| *version)
        });
        Asked {
            node,
            key,
            kind,
            strict,
            sound: false,
            at: Instant::now(),
            own,
            everywhere,
        }
    }

    /// What it was answered with: the text, and what the cache says of where it came from.
    pub fn judge(&self, asked: &Asked, text: &str, origin: &str) {
        let Some(found) = versions(asked.key, text) else {
            return self.wrong(&format!("a broken answer: {text:?}, {origin}"));
        };
        let parts = if asked.kind == Kind::Typed { 2 } else { 3 };
        for part in 0..parts {
            let (found, own) = (found[part], asked.own[part]);
            if found < own {
                let what = format!("version {found}, but {own} was invalidated here");
                return self.stale(asked, &what, origin);
            }
            if found < asked.everywhere[part] {
                let lag = self.lag(asked, part, found);
                let bound = match (asked.strict, asked.sound) {
                    (true, _) => Duration::ZERO,
                    (false, true) => HEALTH_LIMIT + ROUNDING,
                    (false, false) => GRACE.max(HEALTH_LIMIT) + ROUNDING,
                };
                if lag > bound {
                    let known = asked.everywhere[part];
                    let what =
                        format!("version {found}, but {known} was acknowledged; {lag:?} behind");
                    return self.stale(asked, &what, origin);
                }
                self.tally.lagged(lag, self.calm.load(Ordering::Relaxed));
            }
        }
    }

    /// For how long the answer had been obsolete when it was asked for.
    fn lag(&self, asked: &Asked, part: usize, found: u64) -> Duration {
        let books = self.books();
        let known = &books.everywhere.for_kind(asked.kind)[parts_of(asked.key)[part]];
        let first = known.partition_point(|(version, _)| *version <= found);
        asked.at.saturating_duration_since(known[first].1)
    }

    /// Everything is healed and settled: nobody may be behind anything that was ever invalidated.
    pub fn judge_at_the_end(&self, asked: &Asked, text: &str, origin: &str) {
        let told = self.books().told.for_kind(asked.kind).to_owned();
        let floor = parts_of(asked.key).map(|thing| told[thing]);
        let found = versions(asked.key, text).unwrap_or_default();
        let parts = if asked.kind == Kind::Typed { 2 } else { 3 };
        if (0..parts).any(|part| found[part] < floor[part]) {
            let what = format!("left behind: {found:?}, but {floor:?} was invalidated");
            self.stale(asked, &what, origin);
        }
    }

    fn stale(&self, asked: &Asked, what: &str, origin: &str) {
        let Asked {
            node, key, kind, ..
        } = asked;
        let mode = if asked.strict { "strict" } else { "relaxed" };
        let sound = if asked.sound { "sound" } else { "not sound" };
        self.wrong(&format!(
            "stale ({mode}, {kind:?}, {sound}) key {key} at node {node}: {what}; {origin}"
        ));
    }

    pub fn wrong(&self, what: &str) {
        let after = self.began.elapsed();
        let mut wrong = self.wrong.lock().expect("nobody panics with it");
        let before = match wrong.is_empty() {
            true => format!("\n after {}", self.tally.latest()),
            false => String::new(),
        };
        wrong.push(format!("after {after:.1?}: {what}{before}"));
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Whether the run has shown already what it was to show.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn assert_nothing_wrong(&self, seed: u64) {
        let wrong = self.wrong.lock().expect("nobody panics with it");
        let shown: Vec<_> = wrong.iter().take(10).map(String::as_str).collect();
        assert!(
            wrong.is_empty(),
            "with seed {seed}, {} answers were wrong, among them\n  {}",
            wrong.len(),
            shown.join("\n  ")
        );
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect("nobody panics with it")
    }
}

/// The versions in an answer; `None` unless it is whole and for this key.
fn versions(key: usize, text: &str) -> Option<[u64; 3]> {
    let rest = text.strip_prefix(&format!("{key}:"))?.strip_suffix('.')?;
    let versions: Option<Vec<u64>> = rest.split(',').map(|v| v.parse().ok()).collect();
    versions?.try_into().ok()
}
