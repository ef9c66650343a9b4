//! The scripts beside a bucket in exact arithmetic, with a clock that a test sets.

use redis::{Pipeline, Value};

use crate::policy::bucket::Quota;
use crate::store::shared::buckets::handle::adjustment;
use crate::store::shared::buckets::policy::Ask;
use crate::store::shared::buckets::scripts::{adjust_args, batch_args, one_args, take_args, Run};
use crate::store::shared::buckets::{Change, Policy};
use crate::store::shared::tests::server::Server;

use super::{steps, Dice, Duration};

const ONE: &str = include_str!("../one.lua");
pub(super) const BATCH: &str = concat!(include_str!("../bucket.lua"), include_str!("../batch.lua"));
const TAKE: &str = concat!(include_str!("../bucket.lua"), include_str!("../take.lua"));
const ADJUST: &str = concat!(include_str!("../bucket.lua"), include_str!("../adjust.lua"));

/// Parts of a microsecond, of which every price and slack here is a whole number.
const PARTS: i128 = 2_100_000_000;

/// A bucket in exact arithmetic, as it was kept last.
#[derive(Clone, Copy, Debug, Default)]
struct Exact {
    debt: i128,
    at: i128,
}

/// What a script answers.
#[derive(Clone, Copy, Debug)]
enum Number {
    Granted(i128),
    /// Rounded down, by doubles.
    Debt(i128),
    Refused(i128),
}

impl Number {
    fn is(self, answer: i128) -> bool {
        match self {
            Self::Granted(times) => answer == times,
            Self::Debt(debt) => (answer - debt / PARTS).abs() <= 1 && answer >= 0,
            Self::Refused(debt) => (-1 - answer - debt / PARTS).abs() <= 1 && answer < 0,
        }
    }
}

/// What is asked, exactly and as a script is told it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    price: i128,
    tolerance: i128,
    told: Ask,
}

impl Exact {
    /// As it stands now. One that is full, or whose clock did not go back, need not be kept.
    fn drained(self, now: i128) -> (Self, bool) {
        let debt = (self.debt - (now - self.at).max(0) * PARTS).max(0);
        (Self { debt, at: now }, now < self.at && debt > 0)
    }

    /// Keeps what has become of it, if that is anything else.
    fn keep(&mut self, after: Self, anyway: bool) {
        let (before, back) = self.drained(after.at);
        if anyway || back || before.debt != after.debt {
            *self = after;
        }
    }

    /// How often it can be taken, up to `most`. `None` where doubles may decide either way.
    fn fits(&self, asked: &Asked, most: i128) -> Option<i128> {
        let room = asked.tolerance - self.debt;
        let times = room.div_euclid(asked.price).clamp(0, most);
        let near = asked.price / 1_000_000_000_000;
        let from_deciding = (room - asked.price * times).min(asked.price * (times + 1) - room);
        (from_deciding.abs() > near || (times == most && room > asked.price * times + near))
            .then_some(times)
    }
}

fn asked(dice: &mut Dice) -> (Policy, Asked, u64) {
    let count = dice.one_of(&[1, 2, 3, 5, 7, 10, 12, 21, 25, 42, 60, 75, 100]);
    let period = dice.one_of(&[
        1_000,
        100_000,
        1_000_000,
        1_000_000,
        60_000_000,
        3_600_000_000,
    ]);
    let capacity = 1 + dice.roll(40);
    let quota = Quota::new(count, Duration::from_micros(period)).capacity(capacity);
    let policy = Policy::new("model", &quota);
    let token = i128::from(period) * PARTS / i128::from(count);
    let cost = 1 + dice.roll(capacity.min(5));
    let asked = Asked {
        price: i128::from(cost) * token,
        tolerance: i128::from(capacity) * token + (token / 1_000_000).min(4 * PARTS),
        told: policy.ask(cost),
    };
    (policy, asked, cost)
}

/// What a step must answer: numbers, unless doubles may decide either way.
type Expected = Option<Vec<Number>>;

struct World {
    dice: Dice,
    now: i128,
    buckets: [Exact; 3],
    pipeline: Pipeline,
    expected: Vec<(String, Expected)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            now: 1_760_000_000_000_000,
            buckets: [Exact::default(); 3],
            pipeline: Pipeline::new(),
            expected: Vec::new(),
        }
    }

    /// Time goes on, by anything from a microsecond to hours, and sometimes back.
    fn tick(&mut self) {
        let size = self
            .dice
            .one_of(&[10, 1_000, 50_000, 1_000_000, 5_000_000, 4_000_000_000]);
        let by = i128::from(self.dice.roll(size));
        let back = self.dice.roll(20) == 0;
        self.now += if back { -by } else { by };
        set_clock(&mut self.pipeline, self.now);
    }

    fn run(&mut self, script: &str, keys: &[usize], args: &[String], expected: Expected) {
        let sha = redis::Script::new(&clocked(script)).get_hash().to_owned();
        let call = self.pipeline.cmd("EVALSHA").arg(&sha).arg(keys.len());
        for key in keys {
            call.arg(format!("bucket:{key}"));
        }
        for arg in args {
            call.arg(arg);
        }
        self.expected.push((format!("{args:?}"), expected));
    }

    fn step(&mut self) {
        self.tick();
        let key = self.dice.roll(3) as usize;
        match self.dice.roll(10) {
            0..=3 => self.one(key),
            4..=5 => self.batch(key),
            6..=7 => self.take(),
            _ => self.adjust(key),
        }
    }

    fn one(&mut self, key: usize) {
        let (_, asked, _) = asked(&mut self.dice);
        let (mut bucket, _) = self.buckets[key].drained(self.now);
        let expected = bucket.fits(&asked, 1).map(|times| {
            bucket.debt += times * asked.price;
            let debt = bucket.debt;
            vec![if times > 0 {
                Number::Debt(debt)
            } else {
                Number::Refused(debt)
            }]
        });
        self.buckets[key].keep(bucket, false);
        self.run(ONE, &[key], &one_args(&asked.told), expected);
    }

    fn batch(&mut self, key: usize) {
        let given = self.dice.one_of(&[0, 0, 1_000, 1_000_000]);
        let (mut bucket, _) = self.buckets[key].drained(self.now);
        bucket.debt = (bucket.debt - i128::from(given) * PARTS).max(0);
        let mut expected = Some(vec![Number::Debt(bucket.debt)]);
        let mut runs = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let (_, asked, _) = asked(&mut self.dice);
            let number = 1 + self.dice.roll(10);
            runs.push(Run {
                ask: asked.told,
                number,
            });
            let granted = bucket.fits(&asked, i128::from(number));
            bucket.debt += granted.unwrap_or(0) * asked.price;
            expected = expected.zip(granted).map(|(mut answer, granted)| {
                answer.push(Number::Granted(granted));
                answer
            });
        }
        self.buckets[key].keep(bucket, given > 0);
        self.run(BATCH, &[key], &batch_args(given as f64, &runs), expected);
    }

    fn take(&mut self) {
        let times = self.dice.roll(4);
        let few = if self.dice.roll(2) == 0 { times } else { 1 };
        let (want, least) = (i128::from(times), i128::from(few));
        let (mut granted, mut told, mut asks) = (Some(want), Vec::new(), Vec::new());
        for kept in self.buckets {
            let (_, asked, _) = asked(&mut self.dice);
            told.push(asked.told);
            let (bucket, _) = kept.drained(self.now);
            let fits = bucket.fits(&asked, want);
            granted = granted.zip(fits).map(|(granted, fits)| granted.min(fits));
            asks.push((bucket, asked.price));
        }
        let expected = granted.map(|granted| {
            let granted = if granted < least { 0 } else { granted };
            let mut answer = vec![Number::Granted(granted)];
            for (kept, (mut bucket, price)) in self.buckets.iter_mut().zip(asks) {
                bucket.debt += granted * price;
                answer.push(Number::Debt(bucket.debt));
                kept.keep(bucket, false);
            }
            answer
        });
        self.run(TAKE, &[0, 1, 2], &take_args(&told, times, few), expected);
    }

    fn adjust(&mut self, key: usize) {
        let (policy, asked, cost) = asked(&mut self.dice);
        let beyond = self.dice.roll(3);
        let pause = Duration::from_millis(self.dice.roll(5_000));
        let change = match self.dice.roll(3) {
            0 => Change::Refund(cost),
            1 => Change::Charge {
                tokens: cost,
                beyond,
            },
            _ => Change::Pause(pause),
        };
        let (mut bucket, _) = self.buckets[key].drained(self.now);
        let token = asked.price / i128::from(cost);
        bucket.debt = match change {
            Change::Refund(_) => (bucket.debt - asked.price).max(0),
            Change::Charge { .. } => {
                let most = asked.tolerance + i128::from(beyond) * token;
                (bucket.debt + asked.price).min(most).max(bucket.debt)
            }
            Change::Pause(_) => {
                let pause = i128::try_from(pause.as_micros()).unwrap() * PARTS;
                bucket.debt.max(asked.tolerance + pause)
            }
        };
        let told = adjustment(&policy, change);
        self.buckets[key].keep(bucket, false);
        let expected = Some(vec![Number::Debt(bucket.debt)]);
        self.run(ADJUST, &[key], &adjust_args(&told), expected);
    }

    /// Sends what was written down so far, and compares. False where doubles decided a step, after which
    /// nothing is comparable.
    async fn compare(&mut self, connection: &mut redis::aio::MultiplexedConnection) -> bool {
        for key in 0..3 {
            self.pipeline.cmd("GET").arg(format!("bucket:{key}"));
        }
        let pipeline = std::mem::take(&mut self.pipeline);
        let mut answers: Vec<Value> = pipeline.query_async(connection).await.unwrap();
        let kept = answers.split_off(answers.len() - 3);
        for ((args, expected), answer) in self.expected.drain(..).zip(answers) {
            let Some(expected) = expected else {
                return false;
            };
            let answer: Vec<i128> = match answer {
                Value::Int(number) => vec![number.into()],
                answer => redis::from_redis_value::<Vec<i64>>(answer)
                    .unwrap()
                    .into_iter()
                    .map(Into::into)
                    .collect(),
            };
            let mut both = answer.iter().zip(&expected);
            let close = answer.len() == expected.len() && both.all(|(a, b)| b.is(*a));
            assert!(close, "{args}: {answer:?}, not {expected:?}");
        }
        for (bucket, kept) in self.buckets.iter().zip(kept) {
            let debt = kept_debt(&kept, self.now);
            let (exact, _) = bucket.drained(self.now);
            let exact = exact.debt as f64 / PARTS as f64;
            // A millionth of the smallest token here, which takes 10 microseconds; of days, the last digit.
            let slack = 1e-5_f64.max(exact * 1e-14);
            assert!((debt - exact).abs() <= slack, "{debt}, not {exact}");
        }
        true
    }
}

fn kept_debt(value: &Value, now: i128) -> f64 {
    let Value::BulkString(bytes) = value else {
        return 0.0;
    };
    let double = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    (double(0) - (now as f64 - double(8)).max(0.0)).max(0.0)
}

/// A script that goes by a clock that tests set, in place of the server's.
pub(super) fn clocked(script: &str) -> String {
    let clocked = script.replace(
        "redis.call('TIME')",
        "redis.call('MGET', 'seconds', 'micros')",
    );
    assert_ne!(clocked, script);
    clocked
}

/// Sets it to this many microseconds.
pub(super) fn set_clock(pipeline: &mut Pipeline, now: i128) {
    let set = pipeline.cmd("MSET").arg("seconds");
    set.arg((now / 1_000_000).to_string());
    set.arg("micros").arg((now % 1_000_000).to_string());
    set.ignore();
}

/// A connection to a server that knows these scripts.
pub(super) async fn scripted(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    // The default gives a reply half a second, which a busy machine may need for a thousand scripts.
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient);
    let mut connection = connection.await.unwrap();
    for script in [ONE, BATCH, TAKE, ADJUST] {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(clocked(script));
        load.query_async::<String>(&mut connection).await.unwrap();
    }
    connection
}

#[tokio::test]
async fn every_script_agrees_with_a_bucket_in_exact_arithmetic() {
    let server = Server::start();
    let mut connection = scripted(&server).await;
    let (lives, mut undecided) = (steps(60_000) / 100, 0);
    for life in 0..lives as u64 {
        let flush = redis::cmd("FLUSHALL");
        flush.query_async::<()>(&mut connection).await.unwrap();
        let mut world = World::new(0x9e37_79b9_7f4a_7c15 ^ (life << 20 | 1));
        for _ in 0..100 {
            world.step();
        }
        undecided += usize::from(!world.compare(&mut connection).await);
    }
    println!("{lives} lives of 100 steps, {undecided} of them ended by a tie");
    assert!(undecided * 100 <= lives, "{undecided} of {lives}");
}
