//! What a process does with an answer of the server.

use super::super::journal::Ticket;
use super::super::protocol::Next;
use super::super::strict::Strict;
use super::super::Validity;
use super::oracle::Mode;
use super::world::{Reply, Request, StrictLookup, Waiting, World};

impl World {
    pub(super) fn answered(&mut self, process: usize, waiting: Waiting, reply: Option<Reply>) {
        let now = self.processes[process].now(self.now);
        let this = &mut self.processes[process];
        match (waiting, reply) {
            (Waiting::Sync(asked), reply) => {
                this.syncing = false;
                if let Some(Reply::Bytes(bytes)) = reply {
                    let epoch = this.view.clock.epoch();
                    let next = this.mirror.beat(asked, now, &bytes);
                    if this.view.clock.epoch() != epoch {
                        self.oracle.count("lives of the clock");
                    }
                    self.follow(process, next);
                }
            }
            (Waiting::Load(asked), reply) => {
                this.loading = false;
                if let Some(Reply::Bytes(bytes)) = reply {
                    let next = this.mirror.loaded(asked, &bytes);
                    self.follow(process, next);
                }
            }
            (Waiting::Invalidation(ticket, told), reply) => {
                self.numbered(process, ticket, told, reply)
            }
            (Waiting::Lookup(key, began), Some(Reply::Entry(Some(entry), _))) => {
                self.found(process, key, began, entry);
            }
            (Waiting::Lookup(key, began), _) => self.make(process, key, began, false),
            (Waiting::Strict(lookup), reply) => self.strict_answer(process, lookup, reply),
            (Waiting::Nobody, _) => {}
        }
    }

    pub(super) fn numbered(
        &mut self,
        process: usize,
        ticket: Ticket,
        told: Option<usize>,
        reply: Option<Reply>,
    ) {
        let wall = self.now;
        let this = &mut self.processes[process];
        match reply {
            Some(Reply::Bytes(bytes)) => {
                let next = this.mirror.acknowledged(ticket, &bytes);
                if let (Ok(_), Some(told)) = (&next, told) {
                    self.oracle.acknowledge(told, self.now);
                    self.oracle.count("acknowledged");
                }
                let (Ok(next) | Err(next)) = next;
                self.follow(process, next);
            }
            refused_or_lost => {
                this.mirror.failed(ticket, wall);
                if told.is_some() {
                    self.oracle.count("deferred");
                }
                if let Some(Reply::Refused) = refused_or_lost {
                    self.oracle
                        .violate("a server that answers refused an invalidation".to_owned());
                }
            }
        }
    }

    pub(super) fn strict_answer(
        &mut self,
        process: usize,
        mut lookup: StrictLookup,
        reply: Option<Reply>,
    ) {
        let view = self.processes[process].view.clone();
        let judged = match (reply, &lookup.first) {
            (Some(Reply::Entry(entry, header)), None) => {
                lookup.entry = lookup.entry.or(entry);
                let Some(entry) = &lookup.entry else {
                    return self.make(process, lookup.key, lookup.began, true);
                };
                lookup
                    .before
                    .judge(&view, &header, entry.fence, &entry.tags)
            }
            (Some(Reply::Buckets(header, buckets)), Some(first)) => {
                self.oracle.count("buckets asked for");
                let Some(entry) = &lookup.entry else { return };
                let buckets: Vec<&[u8]> = buckets.iter().map(Vec::as_slice).collect();
                lookup.before.judge_buckets(
                    &view,
                    (first, &header),
                    &buckets,
                    entry.fence,
                    &entry.tags,
                )
            }
            _ => return self.oracle.count("strict bypasses"),
        };
        match judged {
            Strict::Ask(header, places) => {
                lookup.first = Some(header);
                self.send(process, Request::Buckets(places), Waiting::Strict(lookup));
            }
            Strict::Decided(validity @ (Validity::Valid | Validity::Soft)) => {
                let Some(entry) = lookup.entry else { return };
                self.hit(
                    process,
                    lookup.key,
                    Mode::Strict,
                    lookup.began,
                    validity,
                    &entry,
                );
            }
            Strict::Decided(Validity::Hard) | Strict::Lost => {
                self.oracle.count("refusals");
                if judged == Strict::Lost {
                    self.follow(process, Next::Sync);
                }
                if !lookup.follows {
                    self.make(process, lookup.key, lookup.began, true);
                }
            }
        }
    }
}
