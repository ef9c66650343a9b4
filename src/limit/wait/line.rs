//! One bucket and those who wait for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, Notify};

use super::error::Refusal;
use super::pacer::Inner;
use super::pump::Pump;
use super::queue::{Next, Place, Queue, Waiter};
use super::tokens::{Held, Want};
use super::Priority;

pub(super) struct Line {
    pub(super) key: u128,
    pub(super) state: Mutex<State>,
    /// Told when the pump should not sleep on.
    wake: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) held: Held,
    /// Whether a pump serves those who wait.
    runs: bool,
    /// For whom it sleeps, and whether that one goes before more urgent ones.
    asleep: Option<(Next, bool)>,
    /// Tokens that were granted for those who are gone.
    spare: u64,
}

/// Where one stands who comes.
pub(super) enum Joined {
    /// There was a token for it.
    Now(Permit),
    Line(Ticket),
}

/// What the pump does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Take(Want),
    Refund(u64),
}

impl State {
    /// Whom the pump serves next. One who jumps waits for a token that nobody else shall have, however urgent.
    fn next(&self, priority: Priority, jumps: bool) -> Option<Next> {
        self.queue.next(jumps.then_some(priority))
    }

    /// How long one waits who comes now, as far as that is known: until all are served who go before it, or,
    /// where more urgent ones do, until it starves and those are served who starve before it.
    pub(super) fn at_least(
        &self,
        pacer: &Inner,
        priority: Priority,
        cost: u64,
        until: u64,
    ) -> Duration {
        let (tokens, held) = (&pacer.tokens, &self.held);
        let ahead = self.queue.ahead(priority, until);
        let equals = self.queue.ahead_of_equals(priority, until);
        let in_order = tokens.at_least(held, priority, cost, ahead);
        if ahead == equals {
            return in_order;
        }
        let Some(starving) = tokens.at_least_starving(held, cost, equals) else {
            return in_order;
        };
        // Its token comes from the bucket of all, which may be paused.
        let token = tokens.at_least(held, Priority::Critical, cost, 0);
        let starving = starving.saturating_add(Duration::from_nanos(pacer.max_starve));
        in_order.min(starving.max(token))
    }
}

impl Line {
    pub(super) fn new(key: u128) -> Arc<Self> {
        Arc::new(Self {
            key,
            state: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Stands in line, if there is one. Fails at once where the turn cannot come in time.
    pub(super) fn join(
        self: &Arc<Self>,
        pacer: &Arc<Inner>,
        priority: Priority,
        cost: u64,
        until: u64,
    ) -> Result<Joined, Refusal> {
        let arrived = pacer.tokens.clock.nanos();
        let mut state = self.state.lock();
        let is_first = state.queue.len() == 0;
        if is_first && pacer.tokens.take_at_once(&mut state.held, priority, cost) {
            return Ok(Joined::Now(Permit {
                pacer: Arc::clone(pacer),
                line: Arc::clone(self),
                priority,
                cost,
            }));
        }
        let wait = state.at_least(pacer, priority, cost, until);
        if wait.as_nanos() > u128::from(until.saturating_sub(arrived)) {
            return Err(Refusal::TooLate(wait));
        }
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter {
            cost,
            arrived,
            answer,
        };
        let place = state.queue.join(priority, until, waiter, pacer.max_queue)?;
        self.wake_for_another(&state);
        self.ensure_served(pacer, state);
        Ok(Joined::Line(Ticket {
            pacer: Arc::clone(pacer),
            line: Arc::clone(self),
            priority,
            place,
            cost,
            answered,
        }))
    }

    /// Wakes the pump where the one it sleeps for is gone, or is not next any more.
    fn wake_for_another(&self, state: &State) {
        let sleeps_for_another = state
            .asleep
            .is_some_and(|(one, jumps)| state.next(one.priority, jumps) != Some(one));
        if sleeps_for_another {
            self.wake.notify_one();
        }
    }

    fn ensure_served(self: &Arc<Self>, pacer: &Arc<Inner>, mut state: MutexGuard<'_, State>) {
        if state.runs {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            state.runs = true;
            // A runtime that ends drops the pump at once, which tells the line.
            drop(state);
            runtime.spawn(Pump::new(pacer, self).run());
        }
    }

    /// What is to be done now; nothing, and then nobody serves any more.
    pub(super) fn next(&self, pacer: &Inner) -> Option<Step> {
        let mut state = self.state.lock();
        let mut spare = std::mem::take(&mut state.spare);
        while let Some(head) = state.queue.head().filter(|head| head.cost <= spare) {
            spare = state.queue.serve(head.priority, spare);
        }
        if spare > 0 {
            return Some(Step::Refund(spare));
        }
        let Some(head) = state.queue.head() else {
            state.runs = false;
            return None;
        };
        let now = pacer.tokens.clock.nanos();
        let starving = state.queue.starving(now.saturating_sub(pacer.max_starve));
        let starving =
            starving.filter(|one| !pacer.tokens.floor_refuses(&state.held, one.cost, now));
        let head_of = starving.unwrap_or(head);
        Some(Step::Take(Want {
            priority: head_of.priority,
            cost: head_of.cost,
            number: if starving.is_some() { 1 } else { head.number },
            jumps: starving.is_some(),
        }))
    }

    /// Serves those for whom there are tokens now.
    pub(super) fn serve(&self, priority: Priority, tokens: u64) {
        let mut state = self.state.lock();
        state.spare += state.queue.serve(priority, tokens);
    }

    /// Falls asleep for whoever is next; false where that one wants something else than what there is too little of.
    pub(super) fn sleeps(&self, want: &Want) -> bool {
        let mut state = self.state.lock();
        let next = state.next(want.priority, want.jumps);
        let next = next.filter(|one| (one.priority, one.cost) == (want.priority, want.cost));
        state.asleep = next.map(|one| (one, want.jumps));
        next.is_some() && state.spare == 0
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn awake(&self) {
        self.state.lock().asleep = None;
    }

    /// Nobody serves any more, and whoever waits notices.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.runs = false;
        state.asleep = None;
        state.queue.clear();
    }

    /// Tokens were granted for one who is gone.
    fn give_back(self: &Arc<Self>, pacer: &Arc<Inner>, tokens: u64) {
        let mut state = self.state.lock();
        state.spare += tokens;
        self.wake.notify_one();
        self.ensure_served(pacer, state);
    }
}

/// A place in line. Dropped, it is left, and what was granted for it goes to others.
pub(super) struct Ticket {
    pacer: Arc<Inner>,
    line: Arc<Line>,
    priority: Priority,
    place: Place,
    cost: u64,
    answered: oneshot::Receiver<Result<(), Refusal>>,
}

impl Ticket {
    /// Waits for its turn. `None` when whoever served the line is gone, with its runtime.
    pub(super) async fn turn(mut self) -> Option<Result<Permit, Refusal>> {
        let answer = (&mut self.answered).await.ok()?;
        let permit = || Permit {
            pacer: Arc::clone(&self.pacer),
            line: Arc::clone(&self.line),
            priority: self.priority,
            cost: self.cost,
        };
        Some(answer.map(|()| permit()))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        {
            let mut state = self.line.state.lock();
            if state.queue.leave(self.priority, self.place) {
                self.line.wake_for_another(&state);
            }
        }
        self.answered.close();
        if let Ok(Ok(())) = self.answered.try_recv() {
            self.line.give_back(&self.pacer, self.cost);
        }
    }
}

/// The right to make one call. Dropped before it is used, it goes to others.
pub(super) struct Permit {
    pacer: Arc<Inner>,
    line: Arc<Line>,
    priority: Priority,
    cost: u64,
}

impl Permit {
    /// The call is made.
    pub(super) fn spend(mut self) {
        self.pacer.stats.granted(self.priority);
        self.cost = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.line.give_back(&self.pacer, self.cost);
        }
    }
}
