//! Where the tokens come from: a bucket here, or one in Redis that all processes share.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::line::Line;
use super::Priority;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::limit::Fallback;
use crate::policy::bucket::{Bucket, Decision, Quota, Terms, LONGEST};
use crate::store::shared::buckets::{Change, Charge, Policy, SharedBuckets, Unavailable};

/// Redis is asked again so soon when it did not answer.
const LATER: Duration = Duration::from_millis(100);
/// Processes that wait for the same token come back at different times.
const SPREAD: Duration = Duration::from_millis(5);

pub(super) struct Tokens {
    pub(super) quota: Quota,
    /// How much of the bucket each priority may use.
    capacities: [u64; 3],
    /// The same as terms of the bucket here: with Redis, of this process's share.
    here: [Terms; 3],
    /// What those who starve may take, however many more urgent ones there are.
    floor: Terms,
    floor_quota: Quota,
    shared: Option<Shared>,
    pub(super) clock: Clock,
}

struct Shared {
    buckets: SharedBuckets,
    policies: [Policy; 3],
    floor: Policy,
    fallback: Fallback,
}

/// What is remembered of one bucket.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The one here; with Redis, what this process was granted, so that it knows how to go on alone.
    bucket: Bucket,
    floor: Bucket,
    /// When the floor may grant again (nanoseconds of the clock).
    floor_from: u64,
    /// Tokens that were granted here while Redis did not answer.
    alone: u64,
    /// The debt in Redis, when it was last heard of.
    heard: Option<(Duration, u64)>,
    /// Whether Redis did not answer, and everybody passes until it does.
    is_open: bool,
}

/// What the pump wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) priority: Priority,
    pub(super) cost: u64,
    /// How often, up to.
    pub(super) number: u64,
    /// Goes before more urgent ones, because it starves.
    pub(super) jumps: bool,
}

/// What it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So often, and in how much time there may be more; zero where that is not known.
    Granted { number: u64, wait: Duration },
    /// Nobody knows, and then nothing is granted.
    Closed,
}

impl Tokens {
    pub(super) fn new(
        quota: Quota,
        reserves: [f64; 3],
        floor: f64,
        clock: Clock,
        shared: Option<(SharedBuckets, Fallback, &str)>,
    ) -> Result<Self, ConfigError> {
        let capacities = reserves.map(|part| {
            let reserved = (quota.tokens() as f64 * part).floor() as u64;
            quota.tokens().saturating_sub(reserved).max(1)
        });
        let floor_quota = floor_of(&quota, floor);
        let share = match &shared {
            Some((_, Fallback::Local { share }, _)) => *share,
            _ => 1,
        };
        let terms = |capacity| Terms::of(&quota.capacity(capacity).share(share));
        let [critical, normal, background] = capacities;
        Ok(Self {
            quota,
            capacities,
            here: [terms(critical)?, terms(normal)?, terms(background)?],
            floor: Terms::of(&floor_of(&quota.share(share), floor))?,
            floor_quota,
            clock,
            shared: shared.map(|(buckets, fallback, name)| Shared {
                buckets,
                policies: capacities.map(|capacity| Policy::new(name, &quota.capacity(capacity))),
                // What no pacer can be called.
                floor: Policy::new(&format!("{name} floor"), &floor_quota),
                fallback,
            }),
        })
    }

    /// How long it takes to refill so many tokens.
    fn time(&self, tokens: u64) -> Duration {
        self.quota.capacity(tokens).refill_time()
    }

    /// Whose part of the bucket one may use. What costs more than that part may use all of it: otherwise
    /// it would wait for ever.
    fn class(&self, want: &Want) -> usize {
        match want.jumps || want.cost > self.capacities[want.priority.place()] {
            true => Priority::Critical.place(),
            false => want.priority.place(),
        }
    }

    /// Whether one who starves need not be asked for yet.
    pub(super) fn floor_refuses(&self, held: &Held, cost: u64, now: u64) -> bool {
        now < held.floor_from || cost > self.floor_quota.tokens()
    }

    /// How long one has to wait at least before whom others with this cost are served.
    pub(super) fn at_least(
        &self,
        held: &Held,
        priority: Priority,
        cost: u64,
        ahead: u64,
    ) -> Duration {
        let now = self.clock.nanos();
        if held.is_open {
            return Duration::ZERO;
        }
        let debt = match self.shared {
            None => self.here[0].duration(held.bucket.debt(self.here[0].at(now))),
            Some(_) => held.known_debt(now),
        };
        let want = Want {
            priority,
            cost,
            number: 1,
            jumps: false,
        };
        let part = self.time(self.capacities[self.class(&want)]);
        (debt + self.time(cost.saturating_add(ahead))).saturating_sub(part)
    }

    /// Whether there is a token, as far as that is known.
    pub(super) fn holds_one(&self, held: &Held) -> bool {
        self.at_least(held, Priority::Critical, 1, 0).is_zero()
    }

    /// How long one who starves waits, at least, before whom others with this cost are served who starve as well.
    /// `None` where it costs more than they may take.
    pub(super) fn at_least_starving(&self, held: &Held, cost: u64, ahead: u64) -> Option<Duration> {
        if cost > self.floor_quota.tokens() {
            return None;
        }
        let time = |tokens| self.floor_quota.capacity(tokens).refill_time();
        let debt = held.floor.debt(self.floor.at(self.clock.nanos()));
        let lacks = self.floor.duration(debt) + time(cost.saturating_add(ahead));
        Some(lacks.saturating_sub(time(self.floor_quota.tokens())))
    }

    /// Takes what one wants whom nobody is ahead of, where that needs no answer from elsewhere.
    pub(super) fn take_at_once(&self, held: &mut Held, priority: Priority, cost: u64) -> bool {
        let want = Want {
            priority,
            cost,
            number: 1,
            jumps: false,
        };
        let got = self.shared.is_none().then(|| self.take_here(held, want));
        matches!(got, Some(Got::Granted { number: 1, .. }))
    }

    /// Takes what there is of what is wanted.
    pub(super) async fn take(&self, line: &Line, want: Want) -> Got {
        let Some(shared) = &self.shared else {
            return self.take_here(&mut line.state.lock().held, want);
        };
        // What is known already need not be asked.
        let known = self.wait_for(line.state.lock().held.known_debt(self.clock.nanos()), &want);
        if !known.is_zero() {
            return Got::Granted {
                number: 0,
                wait: known + spread(),
            };
        }
        let told = self.tell_what_was_taken_alone(shared, line).await;
        let got = match told {
            Ok(()) => self.take_shared(shared, line, want).await,
            Err(why) => Err(why),
        };
        got.unwrap_or_else(|why| self.take_alone(shared, line, want, why))
    }

    fn take_here(&self, held: &mut Held, want: Want) -> Got {
        let terms = &self.here[self.class(&want)];
        let nanos = self.clock.nanos();
        let now = terms.at(nanos);
        let mut floor = held.floor;
        if want.jumps {
            let (taken, decision) = floor.take(&self.floor, want.cost, self.floor.at(nanos));
            if let Decision::Refused { wait } = decision {
                held.floor_from = nanos.saturating_add(in_nanos(wait));
                return Got::Granted {
                    number: 0,
                    wait: Duration::ZERO,
                };
            }
            floor = taken;
        }
        for number in 0..want.number {
            let (bucket, decision) = held.bucket.take(terms, want.cost, now);
            match decision {
                Decision::Admitted { .. } => held.bucket = bucket,
                Decision::Refused { wait } => return Got::Granted { number, wait },
                // More than the share of one process holds: later, when Redis answers again.
                _ => {
                    return Got::Granted {
                        number,
                        wait: LATER,
                    }
                }
            }
            held.floor = floor;
        }
        Got::Granted {
            number: want.number,
            wait: Duration::ZERO,
        }
    }

    async fn take_shared(
        &self,
        shared: &Shared,
        line: &Line,
        want: Want,
    ) -> Result<Got, Unavailable> {
        let charge = |policy| Charge {
            principal: line.key,
            policy,
            cost: want.cost,
        };
        let main = charge(&shared.policies[self.class(&want)]);
        let (number, debt) = if want.jumps {
            let taken = shared.buckets.take(&[charge(&shared.floor), main]).await?;
            if !taken.granted {
                self.note_floor(line, taken.debts[0], want.cost);
            }
            (u64::from(taken.granted), taken.debts[1])
        } else {
            shared.buckets.take_up_to(&main, want.number).await?
        };
        let now = self.clock.nanos();
        let held = &mut line.state.lock().held;
        (held.heard, held.is_open) = (Some((debt, now)), false);
        self.note(held, number.saturating_mul(want.cost), now);
        let wait = match number < want.number {
            true => self.wait_for(debt, &want),
            false => Duration::ZERO,
        };
        let wait = if wait.is_zero() {
            wait
        } else {
            wait + spread()
        };
        Ok(Got::Granted { number, wait })
    }

    /// The bucket of those who starve refused, or the other one did.
    fn note_floor(&self, line: &Line, debt: Duration, cost: u64) {
        let of = |tokens| self.floor_quota.capacity(tokens).refill_time();
        let wait = (debt + of(cost)).saturating_sub(of(self.floor_quota.tokens()));
        let from = self.clock.nanos().saturating_add(in_nanos(wait));
        line.state.lock().held.floor_from = from;
    }

    /// What Redis granted is taken here, too.
    fn note(&self, held: &mut Held, tokens: u64, now: u64) {
        let terms = &self.here[0];
        let price = terms.price(tokens);
        held.bucket = held.bucket.charge(terms, price, 0, terms.at(now));
    }

    fn wait_for(&self, debt: Duration, want: &Want) -> Duration {
        let part = self.time(self.capacities[self.class(want)]);
        (debt + self.time(want.cost)).saturating_sub(part)
    }

    fn take_alone(&self, shared: &Shared, line: &Line, want: Want, why: Unavailable) -> Got {
        tracing::debug!(%why, "pacing without redis");
        match shared.fallback {
            Fallback::Closed => Got::Closed,
            Fallback::Open => {
                line.state.lock().held.is_open = true;
                Got::Granted {
                    number: want.number,
                    wait: Duration::ZERO,
                }
            }
            Fallback::Local { .. } => {
                let held = &mut line.state.lock().held;
                let got = self.take_here(held, want);
                let Got::Granted { number, wait } = got else {
                    return got;
                };
                held.alone += number * want.cost;
                // Redis may answer long before its share holds so much again.
                let wait = wait.min(LATER);
                Got::Granted { number, wait }
            }
        }
    }

    /// Redis answers again, perhaps: what was granted meanwhile was taken from its bucket.
    async fn tell_what_was_taken_alone(
        &self,
        shared: &Shared,
        line: &Line,
    ) -> Result<(), Unavailable> {
        let alone = line.state.lock().held.alone;
        if alone == 0 {
            return Ok(());
        }
        let change = Change::Charge {
            tokens: alone,
            beyond: self.quota.tokens(),
        };
        let policy = &shared.policies[0];
        shared.buckets.adjust(line.key, policy, change).await?;
        line.state.lock().held.alone -= alone;
        Ok(())
    }

    /// Gives back what nobody used.
    pub(super) async fn refund(&self, line: &Line, tokens: u64) {
        {
            let held = &mut line.state.lock().held;
            let now = self.here[0].at(self.clock.nanos());
            held.bucket = held.bucket.refund(self.here[0].price(tokens), now);
        }
        let Some(shared) = &self.shared else { return };
        let (policy, change) = (&shared.policies[0], Change::Refund(tokens));
        if let Ok(debt) = shared.buckets.adjust(line.key, policy, change).await {
            line.state.lock().held.heard = Some((debt, self.clock.nanos()));
        }
    }

    /// Grants nothing here for a while.
    pub(super) fn pause_here(&self, line: &Line, time: Duration) {
        let now = self.clock.nanos();
        let terms = &self.here[0];
        let held = &mut line.state.lock().held;
        held.bucket = held.bucket.pause(terms, terms.time(time), terms.at(now));
        let debt = self.time(self.capacities[0]) + time;
        if self.shared.is_some() && held.known_debt(now) < debt {
            held.heard = Some((debt, now));
        }
    }

    /// Grants nothing in any process for a while.
    pub(super) async fn pause_everywhere(&self, key: u128, time: Duration) {
        let Some(shared) = &self.shared else { return };
        let (policy, change) = (&shared.policies[0], Change::Pause(time));
        if let Err(why) = shared.buckets.adjust(key, policy, change).await {
            tracing::debug!(%why, "only this process pauses");
        }
    }

    /// What is lost by forgetting a bucket: what Redis was not told, and the debt.
    pub(super) fn lost_with(&self, held: &Held) -> (u64, u64) {
        let now = self.clock.nanos();
        (held.alone, held.bucket.debt(self.here[0].at(now)))
    }
}

impl Held {
    fn known_debt(&self, now: u64) -> Duration {
        let Some((debt, at)) = self.heard else {
            return Duration::ZERO;
        };
        debt.saturating_sub(Duration::from_nanos(now.saturating_sub(at)))
    }
}

/// What those may take of a quota who starve, who have this part of its rate.
fn floor_of(quota: &Quota, part: f64) -> Quota {
    // One more than its share: what is late by a moment is not lost.
    let tokens = (quota.tokens() as f64 * part) as u64 + 2;
    let token = quota.period().as_secs_f64() / quota.count() as f64 / part;
    // Which may be longer than anybody waits, but not longer than anybody counts.
    let longest = LONGEST.as_secs_f64() / tokens as f64;
    let token = Duration::from_secs_f64(token.min(longest));
    Quota::new(1, token).capacity(tokens)
}

fn in_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn spread() -> Duration {
    let random = RandomState::new().hash_one(0) % 1000;
    SPREAD.mul_f64(random as f64 / 1000.0)
}
