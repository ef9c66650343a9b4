//! Processes that take tokens in advance, in a time that does not pass by itself: what they exceed, what they call
//! and what they lose.

use std::sync::Arc;

use tokio::time::Instant;

use super::{steps, Dice, Duration, SECOND};
use crate::policy::bucket::{Bucket, Quota, Terms};
use crate::store::shared::buckets::policy::Leasing;
use crate::store::shared::buckets::prepaid::{Prepaid, Turn};
use crate::store::shared::buckets::shards::Key;
use crate::store::shared::buckets::Policy;

const NODES: u32 = 4;
const RATE: u64 = 2_000;
const CAPACITY: u64 = 200;

/// Processes and the bucket that they ask, which answers at once.
struct World {
    dice: Dice,
    /// Nanoseconds.
    now: u64,
    began: Instant,
    terms: Terms,
    bucket: Bucket,
    lease: Leasing,
    key: Key,
    processes: Vec<Process>,
    calls: u64,
    decisions: u64,
    admitted: u64,
    /// The most that any window saw beyond what the quota allows in it, which began lowest.
    excess: f64,
    lowest: f64,
}

#[derive(Default)]
struct Process {
    prepaid: Prepaid,
    /// When its turn ends, if it has one.
    turn_ends: Option<u64>,
}

impl World {
    fn new(seed: u64, part: f64, capped: bool) -> Self {
        let quota = Quota::per_second(RATE).capacity(CAPACITY);
        let policy = Policy::new("p", &quota).leased(NODES, part, capped);
        Self {
            dice: Dice(0x9e37_79b9_7f4a_7c15 ^ (seed << 20 | 1)),
            now: 1_000_000_000,
            began: Instant::now(),
            terms: Terms::of(policy.quota()).unwrap(),
            bucket: Bucket::default(),
            lease: policy.lease().unwrap(),
            key: Arc::from(&b"key"[..]),
            processes: (0..NODES).map(|_| Process::default()).collect(),
            calls: 0,
            decisions: 0,
            admitted: 0,
            excess: f64::MIN,
            lowest: f64::MAX,
        }
    }

    fn instant(&self) -> Instant {
        self.began + Duration::from_nanos(self.now)
    }

    /// Time goes on, and turns end.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time.as_nanos() as u64;
        let turn = self.lease.turn.as_nanos() as u64;
        while let Some((ends, place)) = self.next_turn().filter(|(ends, _)| *ends <= until) {
            self.now = ends;
            let now = self.instant();
            let process = &mut self.processes[place];
            process.turn_ends = Some(ends + turn);
            match process.prepaid.turn(&self.key, self.lease.turn, now) {
                Turn::Next => {}
                Turn::Last => process.turn_ends = None,
                Turn::Return { tokens, .. } => {
                    let moment = self.terms.at(self.now);
                    self.bucket = self.bucket.refund(self.terms.price(tokens), moment);
                }
            }
        }
        self.now = until;
    }

    fn next_turn(&self) -> Option<(u64, usize)> {
        let turns = self.processes.iter().enumerate();
        turns
            .filter_map(|(place, process)| Some((process.turn_ends?, place)))
            .min()
    }

    fn ask(&mut self, place: usize) -> bool {
        self.decisions += 1;
        let now = self.instant();
        let held = self.processes[place].prepaid.spend(&self.key, 1, now);
        let granted = held.is_some() || self.call(place, now);
        if granted {
            self.admit();
        }
        granted
    }

    fn call(&mut self, place: usize, now: Instant) -> bool {
        self.calls += 1;
        let process = &mut self.processes[place];
        let wanted = process.prepaid.wanted(&self.key, 1, &self.lease, now);
        if wanted.is_new {
            process.turn_ends = Some(self.now + self.lease.turn.as_nanos() as u64);
        }
        let mut granted = 0;
        let moment = self.terms.at(self.now);
        while granted <= wanted.tokens {
            let (bucket, decision) = self.bucket.take(&self.terms, 1, moment);
            if !decision.is_admitted() {
                break;
            }
            self.bucket = bucket;
            granted += 1;
        }
        let process = &mut self.processes[place].prepaid;
        if granted > 1 {
            process.deposit(&self.key, granted - 1, 0.0, self.lease.turn, now);
        }
        process.came(&self.key, wanted.tokens);
        granted > 0
    }

    fn admit(&mut self) {
        let refilled = RATE as f64 * self.now as f64 / 1e9;
        self.lowest = self.lowest.min(self.admitted as f64 - refilled);
        self.admitted += 1;
        let beyond = self.admitted as f64 - refilled - self.lowest - CAPACITY as f64;
        self.excess = self.excess.max(beyond);
    }

    /// Requests that come by chance, so many a second on average, to any process.
    fn come(&mut self, rate: f64, lasts: Duration) {
        let until = self.now + lasts.as_nanos() as u64;
        while self.now < until {
            let chance = (self.dice.roll(1 << 30) + 1) as f64 / (1_u64 << 30) as f64;
            self.pass(Duration::from_secs_f64(-chance.ln() / rate));
            let place = self.dice.roll(NODES.into()) as usize;
            self.ask(place);
        }
    }

    /// Each process makes itself hold what it may, and once the bucket is full all spend everything.
    fn conspire(&mut self) {
        for _ in 0..100 {
            let holds = |one: &Process| one.prepaid.held(&self.key) == self.lease.most - 1;
            let poor: Vec<_> = (0..self.processes.len())
                .filter(|place| !holds(&self.processes[*place]))
                .collect();
            if poor.is_empty() {
                break;
            }
            for place in poor {
                self.ask(place);
            }
            self.pass(SECOND / 500);
        }
        self.pass(SECOND / 10);
        for place in 0..NODES as usize {
            while self.ask(place) {}
        }
    }

    /// A process asks for as much as it can get, or for a moment as often as it likes, or nobody asks for a while, or
    /// all do what they can.
    fn pester(&mut self) {
        let place = self.dice.roll(NODES.into()) as usize;
        match self.dice.roll(8) {
            0 => while self.ask(place) {},
            2 => self.conspire(),
            1 => {
                let (times, apart) = (self.dice.roll(100), self.dice.roll(4_000));
                for _ in 0..times {
                    self.ask(place);
                    self.pass(Duration::from_micros(apart));
                }
            }
            _ => {
                let time = self
                    .dice
                    .one_of(&[1, 10, 50, 100, 101, 150, 199, 250, 1_000]);
                self.pass(Duration::from_millis(time));
            }
        }
    }
}

#[test]
fn no_window_sees_more_than_what_all_may_hold_and_in_the_long_run_nobody_more_than_the_quota() {
    let lives = steps(20_000) as u64 / 100;
    for (part, capped) in [(0.2, false), (0.2, true), (1.0, false)] {
        let mut worst = f64::MIN;
        let mut may = 0;
        for life in 0..lives {
            let mut world = World::new(life, part, capped);
            may = match capped {
                true => 0,
                false => u64::from(NODES) * (world.lease.most - 1),
            };
            let began = world.now;
            for _ in 0..100 {
                world.pester();
            }
            worst = worst.max(world.excess);
            assert!(world.excess <= may as f64 + 1e-6, "{}", world.excess);
            let refilled = RATE as f64 * (world.now - began) as f64 / 1e9;
            assert!(world.admitted as f64 <= CAPACITY as f64 + refilled);
        }
        println!("{lives} lives of 100 steps: {worst:.1} of at most {may} beyond a window");
    }
}

#[test]
fn what_calls_under_way_bring_counts_when_all_that_is_held_was_given_back() {
    let world = World::new(1, 1.0, false);
    let (prepaid, lease) = (Prepaid::default(), world.lease);
    let wanted = |half_turns: u32, cost| {
        let now = world.began + lease.turn * half_turns / 2;
        prepaid.wanted(&world.key, cost, &lease, now).tokens
    };
    assert_eq!(wanted(0, 1), 0);
    assert_eq!(wanted(1, 10_000), lease.most - 1);
    assert!(prepaid.all().is_empty(), "nothing came yet");
    let more = wanted(2, 10_000) + wanted(3, 10_000);
    assert_eq!(more, 0, "it would hold more than its part");
}

#[test]
fn a_steady_demand_makes_few_calls_and_a_larger_one_loses_little() {
    let lasts = SECOND * u32::try_from(steps(20_000) / 1_000).unwrap();
    for part in [0.2, 0.5, 1.0] {
        let mut world = World::new(1, part, false);
        let most = world.lease.most;
        world.come(0.8 * RATE as f64, lasts);
        let calls = world.calls as f64 / world.decisions as f64;
        let all = world.admitted as f64 / world.decisions as f64;
        let mut crowded = World::new(2, part, false);
        crowded.come(1.5 * RATE as f64, lasts);
        let may = CAPACITY as f64 + RATE as f64 * lasts.as_secs_f64();
        let used = crowded.admitted as f64 / may;
        println!("leases of {most}: {calls:.3} calls per decision at 0.8 of the rate, {all:.4} admitted; {used:.4} used at 1.5");
        assert!(calls <= 1.0 / most as f64 + 0.01, "{calls}");
        assert!(used >= 0.98, "{used}");
    }
}
