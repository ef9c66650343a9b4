//! All nodes of a run, from their start to the last look at what is left.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::history::{Kind, KEYS};
use super::load::Fleet;
use super::node::{Node, Process, Sort};
use super::server::eventually;

pub const SORTS: [Sort; 4] = [Sort::Usual, Sort::Narrow, Sort::Distant, Sort::Reader];

pub struct Crew {
    pub fleet: Arc<Fleet>,
    processes: Vec<Process>,
}

impl Crew {
    pub fn start(url: impl Fn(usize) -> String, seed: u64) -> Self {
        let fleet = Fleet::new(SORTS.len());
        let start =
            |(index, sort): (usize, &Sort)| Process::start(&fleet, index, *sort, &url(index), seed);
        let processes = SORTS.iter().enumerate().map(start).collect();
        Self { fleet, processes }
    }

    /// Kills the node that invalidates nothing, and starts it again.
    pub fn reboot(&mut self, url: impl Fn(usize) -> String, seed: u64) {
        let last = SORTS.len() - 1;
        self.processes[last] = Process::start(&self.fleet, last, SORTS[last], &url(last), seed);
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.processes.iter().map(|process| &*process.node)
    }

    pub fn await_sound(&self) {
        let sound = || self.nodes().all(Node::is_sound);
        assert!(eventually(sound), "the nodes do not recover");
    }

    pub fn reconnects(&self) -> Vec<u64> {
        self.nodes().map(Node::reconnects).collect()
    }

    /// Waits until every node has a new connection.
    pub fn await_reconnects(&self, before: &[u64]) {
        let all = || {
            before
                .iter()
                .zip(self.reconnects())
                .all(|(old, new)| *old < new)
        };
        assert!(eventually(all), "the nodes do not reconnect");
    }

    /// Everything is healed: ends the load, and looks at what is left behind. The table of the run.
    pub fn end(&mut self) -> String {
        if !self.fleet.history.has_failed() {
            self.settle();
            self.fleet.end();
            self.processes.iter_mut().for_each(Process::end_work);
            self.settle();
            // Pushes have arrived by then, or their absence was noticed.
            sleep(Duration::from_millis(700));
            for process in &self.processes {
                process.run(sweep(&process.node));
            }
        }
        let stats = self.nodes().filter_map(|node| node.cache.stats().shared);
        let (refused, unanswered) = stats.fold((0, 0), |(refused, unanswered), stats| {
            (refused + stats.invalidated, unanswered + stats.unanswered)
        });
        let table = self.fleet.history.tally.table();
        format!("{table}  refused as invalidated: {refused}, not answered by redis: {unanswered}")
    }

    fn settle(&self) {
        let settled = || {
            self.nodes()
                .all(|node| node.is_sound() && node.deferred() == 0)
        };
        assert!(eventually(settled), "the nodes do not settle");
    }
}

async fn sweep(node: &Node) {
    for kind in [Kind::Fresh, Kind::Lenient, Kind::Typed] {
        for key in 0..KEYS {
            node.look_up_at_the_end(key, kind, false).await;
            node.look_up_at_the_end(key, kind, true).await;
        }
    }
}
