//! What a run did, counted, and shown at its end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Default)]
pub struct Tally {
    faults: Mutex<BTreeMap<&'static str, u64>>,
    /// The latest things that were done to the nodes and the server, with their times.
    log: Mutex<Vec<(Instant, String)>>,
    /// By what the cache says of where an answer came from.
    origins: Mutex<BTreeMap<&'static str, u64>>,
    invalidations: AtomicU64,
    deferred: AtomicU64,
    dropped: AtomicU64,
    /// How far behind stale answers were, of other nodes' invalidations: in a calm, and otherwise.
    calm: Mutex<Vec<Duration>>,
    rough: Mutex<Vec<Duration>>,
}

impl Tally {
    pub fn fault(&self, name: &'static str) {
        *self.faults.lock().unwrap().entry(name).or_default() += 1;
    }

    pub fn note(&self, what: String) {
        self.log.lock().unwrap().push((Instant::now(), what));
    }

    /// What was done lately, in seconds before now.
    pub fn latest(&self) -> String {
        let log = self.log.lock().unwrap();
        let lines = log.iter().rev().take(24).rev();
        let told = |(at, what): &(Instant, String)| format!("\n  -{:.3?} {what}", at.elapsed());
        lines.map(told).collect()
    }

    pub fn faults(&self, name: &'static str) -> u64 {
        self.faults.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    pub fn answered(&self, origin: &'static str) {
        *self.origins.lock().unwrap().entry(origin).or_default() += 1;
    }

    pub fn answers(&self, origin: &'static str) -> u64 {
        self.origins
            .lock()
            .unwrap()
            .get(origin)
            .copied()
            .unwrap_or(0)
    }

    pub fn invalidated(&self, deferred: bool) {
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        self.deferred
            .fetch_add(u64::from(deferred), Ordering::Relaxed);
    }

    /// A request whose caller went away.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    pub fn lagged(&self, lag: Duration, calm: bool) {
        let lags = if calm { &self.calm } else { &self.rough };
        lags.lock().unwrap().push(lag);
    }

    /// What is worth telling about a run.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let of = |counts: &Mutex<BTreeMap<_, _>>| {
            let counts = counts.lock().unwrap();
            let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        if !self.faults.lock().unwrap().is_empty() {
            let _ = writeln!(table, "  faults: {}", of(&self.faults));
        }
        let _ = writeln!(table, "  answers: {}", of(&self.origins));
        let _ = writeln!(
            table,
            "  invalidations: {}, of them deferred: {}; requests given up by their callers: {}",
            count(&self.invalidations),
            count(&self.deferred),
            count(&self.dropped),
        );
        for (when, lags) in [("in a calm", &self.calm), ("under faults", &self.rough)] {
            let mut lags = lags.lock().unwrap();
            if lags.is_empty() {
                continue;
            }
            lags.sort_unstable();
            let at = |part: f64| {
                let place = (lags.len() as f64 * part) as usize;
                lags.get(place.min(lags.len().saturating_sub(1))).copied()
            };
            let shown = |lag: Option<Duration>| format!("{:.1?}", lag.unwrap_or_default());
            let _ = writeln!(
                table,
                "  relaxed answers behind another node, {when}: {}, by p50 {}, p99 {}, max {}",
                lags.len(),
                shown(at(0.5)),
                shown(at(0.99)),
                shown(lags.last().copied()),
            );
        }
        table
    }
}
