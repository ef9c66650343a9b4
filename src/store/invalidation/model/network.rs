//! What lies between a process and the server.

use super::super::protocol::Next;
use super::super::Reach;
use super::super::Strength;
use super::server::{Arguments, Server, ServerRule};
use super::world::{Event, Mistake, Reply, Request, Waiting, World, MS};

impl World {
    pub(super) fn send(&mut self, process: usize, request: Request, waiting: Waiting) {
        let Some(link) = self.processes[process].link else {
            return self.answered(process, waiting, None);
        };
        let patience = match waiting {
            Waiting::Sync(_) | Waiting::Load(_) => 3_000 * MS,
            Waiting::Invalidation(..) => 200 * MS,
            _ => 50 * MS,
        };
        self.next += 1;
        let id = self.next;
        let zombie = matches!(request, Request::Set(..) | Request::Invalidate(_)) && self.chance(5);
        let delay = if zombie {
            self.oracle.count("late writes");
            self.random(900 * MS)
        } else {
            30 + self.random(300)
        };
        self.waiting.insert(id, (process, waiting));
        self.after(patience, Event::Timeout { process, id });
        let life = self.life;
        self.after(
            delay,
            Event::Arrive {
                process,
                link,
                life,
                id,
                request,
            },
        );
    }

    pub(super) fn arrive(
        &mut self,
        process: usize,
        link: u64,
        life: u64,
        id: u64,
        request: Request,
    ) {
        if self.frozen_until > self.now {
            let delay = self.frozen_until - self.now + self.random(500);
            return self.after(
                delay,
                Event::Arrive {
                    process,
                    link,
                    life,
                    id,
                    request,
                },
            );
        }
        let asks_clock = !matches!(request, Request::Get(_) | Request::Set(..));
        let unreachable = asks_clock && self.processes[process].clockless_until > self.now;
        if life != self.life || unreachable {
            return; // sent to a server that is gone, or cannot be reached
        }
        let Some(reply) = self.serve(process, request) else {
            return;
        };
        if self.processes[process].link != Some(link) {
            return; // it ran, and nobody hears of it
        }
        let slow = self.processes[process].slow_until > self.now;
        let delay = if slow {
            self.oracle.count("replies held back");
            let by = self.processes[process].slow_by;
            by / 2 + self.random(by / 2 + MS)
        } else {
            30 + self.random(300)
        };
        self.after(delay, Event::Answer { process, id, reply });
    }

    pub(super) fn serve(&mut self, process: usize, request: Request) -> Option<Reply> {
        let reads_replica = self.mistake == Some(Mistake::Server(ServerRule::AskMaster));
        let header = |server: &Server| server.clock.iter().take(80).copied().collect::<Vec<u8>>();
        let arguments = Arguments {
            bits: self.processes[process].bits,
            new_epoch: self.random(u64::MAX >> 1) + 2,
            knows: self.processes[process].mirror.knows(),
        };
        Some(match request {
            Request::Sync if reads_replica && self.chance(95) => {
                Reply::Bytes(header(&self.replica))
            }
            Request::Sync => Reply::Bytes(self.server.sync(self.now, &arguments)),
            Request::Load if reads_replica => Reply::Bytes(self.replica.clock.clone()),
            Request::Load => Reply::Bytes(self.server.clock.clone()),
            Request::Get(key) => Reply::Entry(self.server.entries.get(&key).cloned(), Vec::new()),
            Request::Strict(key) => {
                let entry = key.and_then(|key| self.server.entries.get(&key).cloned());
                let from = if reads_replica {
                    &self.replica
                } else {
                    &self.server
                };
                Reply::Entry(entry, header(from))
            }
            Request::Buckets(places) => {
                let clock = &self.server.clock;
                let bucket = |at: &usize| clock.get(*at..at + 8).unwrap_or_default().to_vec();
                let buckets = places.iter().map(bucket).collect();
                Reply::Buckets(header(&self.server), buckets)
            }
            Request::Set(key, entry) => {
                if self.server.is_full {
                    return Some(Reply::Refused);
                }
                self.server.entries.insert(key, entry);
                Reply::Bytes(Vec::new())
            }
            Request::Invalidate(reach) => return self.invalidated(&arguments, reach),
        })
    }

    pub(super) fn invalidated(&mut self, arguments: &Arguments, reach: Reach) -> Option<Reply> {
        let (everything, tags) = match reach {
            Reach::Everything(Strength::Hard) => ("h", Vec::new()),
            Reach::Everything(Strength::Soft) => ("s", Vec::new()),
            Reach::Tags(tags) => ("", tags),
        };
        let done = self
            .server
            .invalidate(self.now, arguments, everything, &tags);
        let Some(done) = done else {
            return Some(Reply::Refused);
        };
        for process in 0..self.processes.len() {
            let Some(message) = done.published.clone() else {
                continue;
            };
            let Some(link) = self.processes[process].link else {
                continue;
            };
            let this = &self.processes[process];
            let is_deaf = this.deaf_until.max(this.clockless_until) > self.now;
            if is_deaf || !self.processes[process].hears || self.chance(2) {
                self.oracle.count("messages lost");
                continue;
            }
            let late = self.chance(3);
            let delay = 30 + self.random(if late { 300 * MS } else { MS });
            self.after(
                delay,
                Event::Push {
                    process,
                    link,
                    message,
                },
            );
        }
        Some(done.reply.map_or(Reply::Refused, Reply::Bytes))
    }

    pub(super) fn disconnect(&mut self, process: usize) {
        self.processes[process].link = None;
        self.processes[process].hears = false;
        let mut lost: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, w)| w.0 == process)
            .map(|(id, _)| *id)
            .collect();
        lost.sort_unstable();
        for id in lost {
            if let Some((_, waiting)) = self.waiting.remove(&id) {
                self.answered(process, waiting, None);
            }
        }
        let delay = 5 * MS + self.random(60 * MS);
        self.after(delay, Event::Reconnect(process));
    }

    pub(super) fn reconnect(&mut self, process: usize) {
        let this = &mut self.processes[process];
        if this.link.is_some() {
            return;
        }
        if this.cut_until > self.now || self.frozen_until > self.now {
            return self.after(20 * MS, Event::Reconnect(process));
        }
        this.links += 1;
        let link = this.links;
        this.link = Some(link);
        (this.syncing, this.loading) = (false, false);
        let next = this.mirror.connected();
        self.follow(process, next);
        let delay = 100 + self.random(5 * MS);
        self.after(delay, Event::Subscribe(process, link));
    }

    pub(super) fn pushed(&mut self, process: usize, link: u64, message: &[u8]) {
        if self.processes[process].link == Some(link) {
            let next = self.processes[process].mirror.message(message);
            if next == Next::Load {
                self.oracle.count("gaps");
            }
            self.follow(process, next);
        }
    }

    pub(super) fn beat(&mut self, process: usize) {
        let delay = 80 * MS + self.random(40 * MS);
        self.after(delay, Event::Beat(process));
        self.processes[process].syncing = false;
        self.processes[process].loading = false;
        self.follow(process, Next::Sync);
        self.replay(process);
    }

    pub(super) fn replay(&mut self, process: usize) {
        while self.processes[process].link.is_some() {
            let Some((ticket, reach)) = self.processes[process].mirror.replay() else {
                return;
            };
            self.oracle.count("replays");
            self.send(
                process,
                Request::Invalidate(reach),
                Waiting::Invalidation(ticket, None),
            );
        }
    }

    pub(super) fn follow(&mut self, process: usize, next: Next) {
        let now = self.processes[process].now(self.now);
        let this = &mut self.processes[process];
        match next {
            Next::Sync if this.link.is_some() && !this.syncing => {
                this.syncing = true;
                let asked = this.mirror.asking(now);
                self.send(process, Request::Sync, Waiting::Sync(asked));
            }
            Next::Load if this.link.is_some() && !this.loading => {
                this.loading = true;
                let asked = this.mirror.asking(now);
                self.oracle.count("loads");
                self.send(process, Request::Load, Waiting::Load(asked));
            }
            _ => {}
        }
    }
}
