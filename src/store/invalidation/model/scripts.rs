//! The model's server against the scripts in a real one: the same calls, the same clock.

use redis::{Connection, Value};

use super::super::scripts::{arguments, invalidation, CLOCK, SYNC};
use super::super::wire::{Header, HEADER_LENGTH, MESSAGE_MAGIC};
use super::super::Reach;
use super::super::Strength;
use super::server::{Arguments, Server as Model};
use crate::policy::tag::TagHash;

#[allow(clippy::duplicate_mod, reason = "integration tests use it too")]
#[path = "../../../../tests/support/server.rs"]
mod real;

const CLOCK_KEY: &str = "test:c";
const HALF_AN_HOUR: u64 = 1_800_000_000;

/// Both servers, which must stay alike but for their names and, after a loss, the time.
struct Pair {
    connection: Connection,
    model: Model,
    _server: real::Server,
}

impl Pair {
    fn start() -> Self {
        let server = real::Server::start();
        let client = redis::Client::open(server.url()).unwrap();
        Self {
            connection: client.get_connection().unwrap(),
            model: Model {
                may_publish: true,
                ..Model::default()
            },
            _server: server,
        }
    }

    fn eval(&mut self, source: &str, args: &[Vec<u8>]) -> redis::RedisResult<Vec<u8>> {
        let mut command = redis::cmd("EVAL");
        command.arg(source).arg(1).arg(CLOCK_KEY).arg(args);
        command.query(&mut self.connection)
    }

    fn clock(&mut self) -> Vec<u8> {
        redis::cmd("GET")
            .arg(CLOCK_KEY)
            .query(&mut self.connection)
            .unwrap()
    }

    fn set(&mut self, clock: &[u8]) {
        let mut command = redis::cmd("SET");
        let _: Value = command
            .arg(CLOCK_KEY)
            .arg(clock)
            .query(&mut self.connection)
            .unwrap();
    }

    /// Gives the model what the real server has, and both a clock that is half an hour ahead, so
    /// that the time of day decides nothing.
    fn align(&mut self) -> Header {
        let mut clock = self.clock();
        let ahead = Header::parse(&clock).unwrap().s + HALF_AN_HOUR;
        clock[16..24].copy_from_slice(&ahead.to_be_bytes());
        self.set(&clock);
        clock[40..HEADER_LENGTH].copy_from_slice(&self.model.run_id());
        self.model.clock = clock;
        Header::parse(&self.model.clock).unwrap()
    }

    fn assert_alike(&mut self, what: &str) {
        let (mut real, mut model) = (self.clock(), self.model.clock.clone());
        real[40..HEADER_LENGTH].fill(0);
        model[40..HEADER_LENGTH].fill(0);
        assert_eq!(real, model, "{what}");
    }
}

#[test]
fn the_scripts_and_the_model_do_the_same() {
    let mut pair = Pair::start();
    let now = 0; // both clocks are ahead of any time
    let first = arguments(10, 0xfeed_0000_0000_0001, (0, 0));
    pair.eval(SYNC, &first).unwrap();
    let mut header = pair.align();
    let mut random = 7u64;
    for step in 0..300u64 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let new_epoch = random | 1;
        let knows = match step % 7 {
            0 => (header.epoch, header.s),
            1 => (header.epoch ^ 1, u64::MAX >> 12),
            2 if step % 5 == 0 => (header.epoch, header.s + 1), // the caller has seen more
            _ => (header.epoch, header.s - 1),
        };
        let args = arguments(10, new_epoch, knows);
        let called = Arguments {
            bits: 10,
            new_epoch,
            knows,
        };
        pair.model.skew = i64::try_from(header.s - HALF_AN_HOUR).unwrap();
        if step % 3 == 0 {
            let reply = pair.eval(SYNC, &args).unwrap();
            let modelled = pair.model.sync(now, &called);
            assert_eq!(reply[..40], modelled[..40], "step {step}");
        } else {
            let tags: Vec<_> = (0..random % 5)
                .map(|i| TagHash(random.rotate_left(i as u32 * 13)))
                .collect();
            let reach = match step % 11 {
                3 => Reach::Everything(Strength::Hard),
                4 => Reach::Everything(Strength::Soft),
                _ => Reach::Tags(tags.clone()),
            };
            let (everything, tags) = match reach {
                Reach::Everything(Strength::Hard) => ("h", Vec::new()),
                Reach::Everything(Strength::Soft) => ("s", Vec::new()),
                Reach::Tags(_) => ("", tags),
            };
            let args: Vec<_> = args
                .into_iter()
                .chain(invalidation("test:inv:0", &reach))
                .collect();
            let reply = pair.eval(CLOCK, &args).unwrap();
            let modelled = pair
                .model
                .invalidate(now, &called, everything, &tags)
                .unwrap();
            assert_eq!(Some(reply), modelled.reply, "step {step}");
        }
        pair.assert_alike(&format!("step {step}"));
        header = Header::parse(&pair.model.clock).unwrap();
    }
}

#[test]
fn a_clock_that_may_have_forgotten_something_begins_another_life() {
    let mut pair = Pair::start();
    let epoch = 0xfeed_0000_0000_0001u64;
    pair.eval(SYNC, &arguments(10, epoch, (0, 0))).unwrap();
    let whole = pair.clock();
    let with = |at: usize, bytes: &[u8]| {
        let mut clock = whole.clone();
        clock[at..at + bytes.len()].copy_from_slice(bytes);
        clock
    };
    let broken = [
        Vec::new(),
        b"somebody else's".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        whole[..HEADER_LENGTH].to_vec(),
        [&whole[..], b"\0"].concat(),
        with(0, b"x"),
        with(5, &[30]),
        with(16, &u64::MAX.to_be_bytes()),
        with(16, &[0; 8]),
        with(24, &(1u64 << 52).to_be_bytes()),
        with(40, b"00000000"), // another server
    ];
    for (i, clock) in broken.iter().enumerate() {
        pair.set(clock);
        let new_epoch = epoch + 1 + i as u64;
        let reply = pair
            .eval(SYNC, &arguments(10, new_epoch, (epoch, 1)))
            .unwrap();
        let header = Header::parse(&reply).unwrap();
        assert_eq!(
            (header.epoch, header.floor),
            (new_epoch, header.s),
            "case {i}"
        );
        let (_, buckets) = Header::parse_clock(&pair.clock()).unwrap();
        assert!(buckets.iter().all(|bucket| *bucket == 0));
    }
    let mut list = redis::cmd("DEL");
    let _: Value = list.arg(CLOCK_KEY).query(&mut pair.connection).unwrap();
    let _: Value = redis::cmd("LPUSH")
        .arg(CLOCK_KEY)
        .arg(1)
        .query(&mut pair.connection)
        .unwrap();
    let reply = pair.eval(SYNC, &arguments(10, epoch, (0, 0))).unwrap();
    assert_eq!(Header::parse(&reply).unwrap().epoch, epoch);
}

#[test]
fn a_former_master_that_is_back_begins_another_life_above_the_one_it_missed() {
    let mut pair = Pair::start();
    let (ours, missed, new) = (7, 8, 9);
    pair.eval(SYNC, &arguments(10, ours, (0, 0))).unwrap();
    let s = Header::parse(&pair.clock()).unwrap().s;
    // Somebody who missed nothing, and somebody who was told a number that cannot be.
    for (epoch, seen) in [(missed, s), (missed, 1 << 52)] {
        let reply = pair.eval(SYNC, &arguments(10, new, (epoch, seen))).unwrap();
        assert_eq!(Header::parse(&reply).unwrap().epoch, ours);
    }
    let seen = s + HALF_AN_HOUR;
    let reply = pair.eval(SYNC, &arguments(10, new, (missed, seen)));
    let header = Header::parse(&reply.unwrap()).unwrap();
    assert_eq!((header.epoch, header.s), (new, seen + 1));
    assert_eq!(header.floor, header.s);
}

#[test]
fn a_clock_of_a_newer_layout_is_left_alone() {
    let mut pair = Pair::start();
    pair.eval(SYNC, &arguments(10, 7, (0, 0))).unwrap();
    let mut clock = pair.clock();
    clock[4] = 2;
    pair.set(&clock);
    let error = pair.eval(SYNC, &arguments(10, 8, (7, 1))).unwrap_err();
    assert!(error.to_string().contains("another version"), "{error}");
    assert_eq!(pair.clock(), clock);
}

#[test]
fn a_user_who_may_not_publish_has_invalidated_all_the_same() {
    let mut pair = Pair::start();
    for command in [
        &[
            "ACL",
            "SETUSER",
            "mute",
            "on",
            "nopass",
            "~*",
            "+@all",
            "resetchannels",
        ][..],
        &["AUTH", "mute", ""],
    ] {
        let mut cmd = redis::cmd(command[0]);
        let _: Value = cmd.arg(&command[1..]).query(&mut pair.connection).unwrap();
    }
    let reach = Reach::Tags(vec![TagHash::named("posts")]);
    let args = arguments(10, 7, (0, 0)).into_iter();
    let args: Vec<_> = args.chain(invalidation("test:inv:0", &reach)).collect();
    let reply = pair.eval(CLOCK, &args).unwrap();
    assert_eq!(reply[..4], MESSAGE_MAGIC);
}
