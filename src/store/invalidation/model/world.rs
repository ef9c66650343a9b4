//! Processes, a server, and what lies between them: every delay, loss and fault comes from a seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::super::correction::{Correction, Undone};
use super::super::journal::Ticket;
use super::super::protocol::Asked;
use super::super::strict::Before;
use super::super::wire::Header;
use super::super::Reach;
use super::node::{CacheRule, Process};
use super::oracle::Oracle;
use super::server::{Entry, Server, ServerRule};
use crate::policy::tag::TagHash;

pub(super) const START: u64 = 10_000_000_000_000;
pub(super) const MS: u64 = 1_000;
const KEYS: u64 = 10;
/// What is made from the response of a key.
pub(super) const DERIVED: u64 = 1_000;

/// The one thing that is wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    Protocol(Correction),
    Server(ServerRule),
    Cache(CacheRule),
}

pub(super) enum Request {
    Sync,
    Load,
    Invalidate(Reach),
    Get(u64),
    /// The entry, if it is not near, and the header of the clock.
    Strict(Option<u64>),
    Buckets(Vec<usize>),
    Set(u64, Entry),
}

pub(super) enum Reply {
    Bytes(Vec<u8>),
    Entry(Option<Entry>, Vec<u8>),
    Buckets(Vec<u8>, Vec<Vec<u8>>),
    Refused,
}

/// What a process does with a reply.
pub(super) enum Waiting {
    Sync(Asked),
    Load(Asked),
    /// The entry in the oracle's history, unless its caller was told already.
    Invalidation(Ticket, Option<usize>),
    Lookup(u64, u64),
    Strict(StrictLookup),
    Nobody,
}

#[derive(Clone)]
pub(super) struct StrictLookup {
    pub(super) key: u64,
    pub(super) began: u64,
    pub(super) before: Before,
    pub(super) entry: Option<Entry>,
    pub(super) first: Option<Header>,
    /// A follower goes alone when it is refused.
    pub(super) follows: bool,
}

pub(super) enum Event {
    Arrive {
        process: usize,
        link: u64,
        life: u64,
        id: u64,
        request: Request,
    },
    Answer {
        process: usize,
        id: u64,
        reply: Reply,
    },
    Timeout {
        process: usize,
        id: u64,
    },
    Push {
        process: usize,
        link: u64,
        message: Vec<u8>,
    },
    Beat(usize),
    Reconnect(usize),
    Subscribe(usize, u64),
    Made {
        process: usize,
        key: u64,
        entry: Entry,
    },
    Operate,
    Disturb,
    Replicate,
}

impl Event {
    /// The process at which it happens.
    fn process(&self) -> Option<usize> {
        match self {
            Event::Answer { process, .. }
            | Event::Timeout { process, .. }
            | Event::Push { process, .. }
            | Event::Made { process, .. }
            | Event::Beat(process)
            | Event::Reconnect(process)
            | Event::Subscribe(process, _) => Some(*process),
            _ => None,
        }
    }
}

pub(super) struct World {
    pub(super) now: u64,
    random: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    pub(super) next: u64,
    pub(super) waiting: HashMap<u64, (usize, Waiting)>,
    pub(super) server: Server,
    pub(super) replica: Server,
    /// The master before the last failover, which lives on.
    pub(super) former: Option<Server>,
    /// Which incarnation of the server this is.
    pub(super) life: u64,
    pub(super) frozen_until: u64,
    pub(super) processes: Vec<Process>,
    pub(super) oracle: Oracle,
    pub(super) mistake: Option<Mistake>,
    pub(super) is_calm: bool,
    /// Some histories are wild and some are mild: a rare fault needs quiet around it to show. How
    /// mild the faults are, and the invalidations.
    pub(super) mildness: (u64, u64),
}

impl World {
    pub(super) fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let undone = match mistake {
            Some(Mistake::Protocol(correction)) => Undone::only(correction),
            _ => Undone::default(),
        };
        let counts_sleep = mistake != Some(Mistake::Cache(CacheRule::CountSleep));
        let server = Server {
            may_publish: true,
            undone: match mistake {
                Some(Mistake::Server(rule)) => Some(rule),
                _ => None,
            },
            ..Server::default()
        };
        let process = |bits| Process::new(bits, undone, counts_sleep, START);
        let mut world = Self {
            now: START,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next: 0,
            waiting: HashMap::new(),
            replica: server.clone(),
            former: None,
            server,
            life: 0,
            frozen_until: 0,
            processes: [10, 12, 10].map(process).into(),
            oracle: Oracle::default(),
            mistake,
            is_calm: false,
            mildness: [(1, 1), (4, 4), (12, 12), (4, 60)][(seed % 4) as usize],
        };
        for process in 0..world.processes.len() {
            world.after(process as u64 * 3 * MS, Event::Reconnect(process));
            world.after(50 * MS, Event::Beat(process));
        }
        world.after(20 * MS, Event::Operate);
        world.after(100 * MS, Event::Disturb);
        world.after(5 * MS, Event::Replicate);
        world
    }

    pub(super) fn run_until(&mut self, end: u64) {
        while let Some(&Reverse((at, id))) = self.queue.peek() {
            if at > end || self.oracle.violations.len() >= 5 {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            if let Some(event) = self.events.remove(&id) {
                self.handle(event);
            }
        }
        self.now = end;
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.random(100) < percent
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.next += 1;
        self.events.insert(self.next, event);
        self.queue.push(Reverse((self.now + delay, self.next)));
    }

    pub(super) fn undone(&self, rule: CacheRule) -> bool {
        self.mistake == Some(Mistake::Cache(rule))
    }

    fn handle(&mut self, event: Event) {
        // What arrives at a process that sleeps waits until it wakes.
        if let Some(wakes) = event
            .process()
            .map(|process| self.processes[process].asleep_until)
        {
            if wakes > self.now {
                let delay = wakes - self.now + 3 * MS + self.random(20 * MS);
                return self.after(delay, event);
            }
        }
        match event {
            Event::Arrive {
                process,
                link,
                life,
                id,
                request,
            } => {
                self.arrive(process, link, life, id, request);
            }
            Event::Answer { process, id, reply } => {
                if let Some((_, waiting)) = self.waiting.remove(&id) {
                    self.answered(process, waiting, Some(reply));
                }
            }
            Event::Timeout { process, id } => {
                if let Some((_, waiting)) = self.waiting.remove(&id) {
                    self.oracle.count("timeouts");
                    self.answered(process, waiting, None);
                }
            }
            Event::Push {
                process,
                link,
                message,
            } => self.pushed(process, link, &message),
            Event::Beat(process) => self.beat(process),
            Event::Reconnect(process) => self.reconnect(process),
            Event::Subscribe(process, link) => {
                if self.processes[process].link == Some(link) {
                    self.processes[process].hears = true;
                    let next = self.processes[process].mirror.subscribed();
                    self.follow(process, next);
                }
            }
            Event::Made {
                process,
                key,
                entry,
            } => self.made(process, key, entry),
            Event::Operate => self.operate(),
            Event::Disturb => self.disturb(),
            Event::Replicate => {
                let Server { clock, entries, .. } = self.server.clone();
                (self.replica.clock, self.replica.entries) = (clock, entries);
                let delay = 2 * MS + self.random(40 * MS);
                self.after(delay, Event::Replicate);
            }
        }
    }
}

/// Each key has a tag of its own, one that it shares with half of the others, and one of all.
pub(super) fn tags_of(key: u64) -> Vec<TagHash> {
    let names = [
        format!("key:{}", key % DERIVED),
        format!("half:{}", key % 2),
        "all".to_owned(),
    ];
    names.iter().map(|name| TagHash::named(name)).collect()
}

pub(super) const fn keys() -> u64 {
    KEYS
}

pub(super) const fn derived(key: u64) -> u64 {
    key + DERIVED
}
