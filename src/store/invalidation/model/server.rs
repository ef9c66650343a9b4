//! The server: `clock.lua` and `sync.lua` in Rust, and entries that are never evicted by themselves.

use std::collections::HashMap;

use super::super::wire::{CLOCK_MAGIC, HEADER_LENGTH, MESSAGE_MAGIC};
use crate::policy::stored::Fence;
use crate::policy::tag::TagHash;

const HOUR: u64 = 3_600_000_000;

/// A response in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) fence: Fence,
    pub(super) tags: Vec<TagHash>,
    /// When its making began, in the world's microseconds.
    pub(super) made_at: u64,
}

/// What the scripts are called with.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    pub(super) bits: u8,
    pub(super) new_epoch: u64,
    pub(super) knows: (u64, u64),
}

/// Rules of the server's side that a test may undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerRule {
    /// Another server means another life of the clock.
    CompareRunIds,
    /// A clock that is behind what the caller saw in another life is of a former one.
    CompareLives,
    /// A lost clock begins another life, with the floor at its first number.
    NewLifeWhenLost,
    /// `flags=allow-oom`.
    InvalidateWhenFull,
    /// `pcall` around PUBLISH.
    SurvivePublish,
    /// Heartbeats are answered by masters alone.
    AskMaster,
}

#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) run_id: u8,
    pub(super) clock: Vec<u8>,
    pub(super) entries: HashMap<u64, Entry>,
    /// How far its wall clock is off.
    pub(super) skew: i64,
    pub(super) is_full: bool,
    pub(super) may_publish: bool,
    pub(super) undone: Option<ServerRule>,
}

/// What an invalidation comes to.
pub(super) struct Done {
    /// `None` for an error.
    pub(super) reply: Option<Vec<u8>>,
    pub(super) published: Option<Vec<u8>>,
}

/// The front of the clock, as `read` in `head.lua` returns it.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) bits: u8,
    pub(super) epoch: u64,
    pub(super) s: u64,
    pub(super) floor: u64,
    pub(super) soft: u64,
    pub(super) server: [u8; 40],
}

impl Server {
    pub(super) fn time(&self, world: u64) -> u64 {
        world.saturating_add_signed(self.skew)
    }

    pub(super) fn run_id(&self) -> [u8; 40] {
        [b'a' + self.run_id % 26; 40]
    }

    /// `sync.lua`.
    pub(super) fn sync(&mut self, world: u64, arguments: &Arguments) -> Vec<u8> {
        let front = self.current(self.time(world), arguments);
        front.bytes()
    }

    /// `clock.lua`. `None` where the server refuses it.
    pub(super) fn invalidate(
        &mut self,
        world: u64,
        arguments: &Arguments,
        everything: &str,
        tags: &[TagHash],
    ) -> Option<Done> {
        if self.is_full && self.undone == Some(ServerRule::InvalidateWhenFull) {
            return None;
        }
        let now = self.time(world);
        let mut front = self.current(now, arguments);
        let previous = front.s;
        let n = now.max(previous + 1);
        front.s = n;
        match everything {
            "h" => front.floor = n,
            "s" => front.soft = n,
            _ => {}
        }
        for tag in tags {
            let bucket = usize::try_from(tag.0 >> (64 - front.bits)).unwrap();
            let at = HEADER_LENGTH + 8 * bucket;
            self.clock[at..at + 8].copy_from_slice(&n.to_be_bytes());
        }
        self.clock[..HEADER_LENGTH].copy_from_slice(&front.bytes());

        let mut message = [&MESSAGE_MAGIC[..], &[1, front.bits, 1, 0]].concat();
        for number in [front.epoch, previous, n, front.floor, front.soft] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        for tag in tags {
            message.extend_from_slice(&tag.0.to_be_bytes());
        }
        if !self.may_publish {
            let survives = self.undone != Some(ServerRule::SurvivePublish);
            return Some(Done {
                reply: survives.then_some(message),
                published: None,
            });
        }
        Some(Done {
            reply: Some(message.clone()),
            published: Some(message),
        })
    }

    fn current(&mut self, now: u64, arguments: &Arguments) -> Front {
        let found = self.read(now);
        let (epoch, seen) = arguments.knows;
        let believed = seen < now + HOUR;
        if let Some(front) = &found {
            let same =
                front.server == self.run_id() || self.undone == Some(ServerRule::CompareRunIds);
            let compares = match self.undone {
                Some(ServerRule::CompareLives) => front.epoch == epoch,
                _ => believed || front.epoch == epoch,
            };
            if same && !(compares && front.s < seen) {
                return front.clone();
            }
        }
        let mut n = found.as_ref().map_or(now, |front| now.max(front.s + 1));
        if believed {
            n = n.max(seen + 1);
        }
        let forgets = self.undone == Some(ServerRule::NewLifeWhenLost);
        let front = Front {
            bits: found.map_or(arguments.bits, |front| front.bits),
            epoch: if forgets { 1 } else { arguments.new_epoch },
            s: n,
            floor: if forgets { 0 } else { n },
            soft: 0,
            server: self.run_id(),
        };
        self.clock = front.bytes();
        self.clock.resize(HEADER_LENGTH + (8 << front.bits), 0);
        front
    }

    fn read(&self, now: u64) -> Option<Front> {
        let front = Front::parse(&self.clock)?;
        let sane = self.clock.len() == HEADER_LENGTH + (8 << front.bits)
            && front.s > 0
            && front.s <= now + HOUR
            && front.floor <= front.s
            && front.soft <= front.s;
        sane.then_some(front)
    }
}

impl Front {
    pub(super) fn parse(clock: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_be_bytes(*clock.get(at..)?.first_chunk()?));
        if clock.get(..4)? != CLOCK_MAGIC || !(10..=20).contains(clock.get(5)?) {
            return None;
        }
        Some(Self {
            bits: clock[5],
            epoch: word(8)?,
            s: word(16)?,
            floor: word(24)?,
            soft: word(32)?,
            server: *clock.get(40..)?.first_chunk()?,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&CLOCK_MAGIC[..], &[1, self.bits, 1, 0]].concat();
        for number in [self.epoch, self.s, self.floor, self.soft] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.server);
        bytes
    }
}
