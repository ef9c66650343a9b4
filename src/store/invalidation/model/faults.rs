//! What is done to the processes and the server, and what the processes are asked to do.

use super::super::Reach;
use super::super::Strength;
use super::node::CacheRule;
use super::server::Front;
use super::world::{derived, keys, tags_of, Event, Request, Waiting, World, MS};

impl World {
    pub(super) fn operate(&mut self) {
        if self.is_calm {
            return;
        }
        let delay = self.random(1_200);
        self.after(delay, Event::Operate);
        let process = self.random(3) as usize;
        if self.processes[process].asleep_until > self.now {
            return;
        }
        let key = self.random(keys());
        if self.random(100 * self.mildness.1) < 8 {
            return self.invalidate(process, key);
        }
        let key = if self.chance(20) { derived(key) } else { key };
        let is_strict = self.chance(40);
        self.look_up(process, key, is_strict);
    }

    fn invalidate(&mut self, process: usize, key: u64) {
        let strength = if self.chance(25) {
            Strength::Soft
        } else {
            Strength::Hard
        };
        let tags = tags_of(key);
        let tag = match self.random(100) {
            0..3 => None,
            3..10 => Some(tags[2]),
            10..30 => Some(tags[1]),
            _ => Some(tags[0]),
        };
        let reach = match tag {
            None => Reach::Everything(strength),
            Some(tag) => Reach::Tags(vec![strength.bucket_of(tag)]),
        };
        self.oracle.count(match strength {
            Strength::Hard => "hard invalidations",
            Strength::Soft => "soft invalidations",
        });
        let told = self
            .oracle
            .begin(process, tag.map(|tag| vec![tag]), strength, self.now);
        let now = self.processes[process].now(self.now);
        let ticket = self.processes[process]
            .mirror
            .invalidate(reach.clone(), now);
        if self.chance(10) {
            self.oracle.count("callers gone");
            if self.undone(CacheRule::SurviveCaller) {
                return;
            }
        }
        self.send(
            process,
            Request::Invalidate(reach),
            Waiting::Invalidation(ticket, Some(told)),
        );
        self.replay(process);
    }

    pub(super) fn disturb(&mut self) {
        if self.is_calm {
            return;
        }
        let delay = self.mildness.0 * (20 * MS + self.random(160 * MS));
        self.after(delay, Event::Disturb);
        let process = self.random(3) as usize;
        let until = self.now + 10 * MS + self.random(1_500 * MS);
        let which = self.random(21);
        let fault = match which {
            4..14 | 20 => self.disturb_server(which, until),
            _ => self.disturb_process(which, process, until),
        };
        self.oracle.count(fault);
    }

    fn disturb_process(&mut self, which: u64, process: usize, until: u64) -> &'static str {
        match which {
            0 => {
                self.processes[process].cut_until = self.now + 2 * (until - self.now);
                self.disconnect(process);
                "cut off"
            }
            1 => {
                self.disconnect(process);
                "connection killed"
            }
            2 => {
                self.processes[process].deaf_until = until;
                "messages lost silently"
            }
            3 => {
                self.sleep(process, until + 200 * MS);
                "machine asleep"
            }
            14 => {
                self.processes[process].clockless_until = until + 1_500 * MS;
                "clock unreachable"
            }
            _ => {
                self.processes[process].slow_by = self.random(1_500 * MS);
                self.processes[process].slow_until = until;
                if self.chance(50) {
                    self.processes[process].deaf_until = until + 1_000 * MS;
                }
                if self.chance(20) {
                    self.server.clock.clear();
                }
                "replies slow"
            }
        }
    }

    fn disturb_server(&mut self, which: u64, until: u64) -> &'static str {
        match which {
            4 => {
                self.server.clock.clear();
                "clock evicted"
            }
            5 => self.break_clock(),
            6 => {
                self.server.clock.clear();
                self.server.entries.clear();
                "flushed"
            }
            7 => self.restart(),
            8 | 9 => self.fail_over(),
            20 => self.come_back(),
            10 => {
                self.server.skew =
                    [-3_000_000, 3_000_000, -7_200_000_000, 0][self.random(4) as usize];
                "server's time set"
            }
            11 => {
                self.server.is_full = !self.server.is_full;
                "full"
            }
            12 => {
                self.server.may_publish = !self.server.may_publish;
                "publishing forbidden"
            }
            _ => {
                self.frozen_until = self.now + (until - self.now) / 2;
                "server frozen"
            }
        }
    }

    fn sleep(&mut self, process: usize, until: u64) {
        let this = &mut self.processes[process];
        if this.asleep_until <= self.now {
            this.asleep_until = until;
            this.slept += until - self.now;
        }
    }

    fn break_clock(&mut self) -> &'static str {
        let length = self.server.clock.len();
        if length > 100 {
            match self.random(3) {
                0 => self.server.clock.truncate(length / 2),
                1 => self.server.clock = b"somebody else's".to_vec(),
                _ => self.server.clock[16..24].copy_from_slice(&u64::MAX.to_be_bytes()),
            }
        }
        "clock broken"
    }

    /// With what it had, with something older, or with nothing.
    fn restart(&mut self) -> &'static str {
        match self.random(3) {
            0 => {}
            1 => self.server = self.replica.clone(),
            _ => {
                self.server.clock.clear();
                self.server.entries.clear();
            }
        }
        self.replace_server();
        "restarted"
    }

    /// To a replica that has not seen the latest writes.
    fn fail_over(&mut self) -> &'static str {
        let (skew, undone) = (self.server.skew, self.server.undone);
        let former = std::mem::replace(&mut self.server, self.replica.clone());
        (self.server.skew, self.server.undone) = (skew, undone);
        self.replace_server();
        self.former = Some(former);
        "failed over"
    }

    /// The master before the last failover is the master again, with what it had. A process that
    /// knows nothing of the life between could not tell, so all of them do.
    fn come_back(&mut self) -> &'static str {
        let present = Front::parse(&self.server.clock).map(|front| front.epoch);
        let mut processes = self.processes.iter();
        let known = processes.all(|process| Some(process.mirror.knows().0) == present);
        let Some(former) = self.former.take().filter(|_| known) else {
            return "nobody came back";
        };
        let (skew, run_id) = (self.server.skew, former.run_id);
        self.server = former;
        self.server.skew = skew;
        self.replace_server();
        self.server.run_id = run_id;
        "a former master came back"
    }

    fn replace_server(&mut self) {
        self.former = None;
        self.life += 1;
        self.server.run_id = u8::try_from(self.life % 26).unwrap_or(0);
        self.server.may_publish = true;
        self.server.is_full = false;
        for process in 0..self.processes.len() {
            self.disconnect(process);
        }
    }

    /// Ends all faults.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        self.frozen_until = 0;
        self.server.is_full = false;
        self.server.may_publish = true;
        for process in &mut self.processes {
            (process.deaf_until, process.slow_until) = (0, 0);
            (process.cut_until, process.clockless_until) = (0, 0);
        }
    }
}
