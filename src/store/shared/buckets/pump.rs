//! Working off a line: the second one starts the task, which goes on for as long as somebody waits. So the line moves
//! on when the first one is not polled, or goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::handle::{refund, Inner};
use super::lines::{Answered, Batch, Waiter};
use super::policy::{Answer, Ask};
use super::scripts;
use super::shards::Key;
use super::Unavailable;

/// Whoever is first in line, and makes a call. Dropped, also halfway, it ends the line if nobody else came.
pub(super) struct Leading<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) key: &'a Key,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if self.inner.lines.end(self.key) {
            Pump::start(self.inner, self.key);
        }
    }
}

/// The task that serves a line. Dropped before the end, nobody waits in it any more.
pub(super) struct Pump {
    inner: Arc<Inner>,
    key: Key,
    has_ended: bool,
}

impl Pump {
    pub(super) fn start(inner: &Arc<Inner>, key: &Key) {
        // Made before it is spawned: a runtime that ends drops it, and the line with it.
        let pump = Self {
            inner: Arc::clone(inner),
            key: Key::clone(key),
            has_ended: false,
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(pump.run());
        }
    }

    async fn run(mut self) {
        while let Some(batch) = self.inner.lines.next(&self.key) {
            self.serve(batch).await;
        }
        self.has_ended = true;
    }

    async fn serve(&self, mut batch: Batch) {
        let Self { inner, key, .. } = self;
        let spare = batch.spare;
        batch.waiters = self.spend(batch.waiters);
        let Some((last, lease)) = batch.waiters.last().map(|last| (last.ask, last.lease)) else {
            if let Some(spare) = spare {
                let _ = inner.adjust(key, refund(spare.price, spare.kept)).await;
            }
            return;
        };
        let mut runs = batch.runs();
        let asked = runs.len();
        let price = runs.iter().map(|run| run.ask.price * run.number as f64);
        let all = Ask {
            price: price.sum(),
            ..last
        };
        let ahead = lease.and_then(|lease| inner.ahead(key, &all, lease));
        runs.extend(ahead.as_ref().map(|ahead| ahead.run()));
        let given = spare.map_or(0.0, |spare| spare.price);
        let limit = inner.redis.deadline();
        let charges = runs.iter().map(|run| run.number).sum();
        let call = scripts::batch(&inner.redis, key, given, &runs, limit);
        match inner.calls.counted(charges, call).await {
            Ok((debt, granted)) => {
                let (debt, spare) = batch.answer(debt, &runs[..asked], &granted);
                if let Some(spare) = spare {
                    inner.lines.spare(key, spare);
                }
                if let Some(ahead) = ahead {
                    ahead.deposit(granted[asked], debt);
                }
            }
            Err(why) => batch.fail(why),
        }
    }

    /// Serves those for whom enough is held. The others.
    fn spend(&self, waiters: Vec<Waiter>) -> Vec<Waiter> {
        let mut others = Vec::with_capacity(waiters.len());
        for waiter in waiters {
            let (ask, now) = (waiter.ask, Instant::now());
            let held = waiter.lease.and_then(|lease| {
                let cost = lease.tokens(&ask);
                self.inner.prepaid.spend(&self.key, cost, now)
            });
            match held {
                None => others.push(waiter),
                Some(granted) if waiter.tell(Ok(granted)) => {}
                Some(_) => {
                    self.inner.lines.spare(&self.key, ask);
                }
            }
        }
        others
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.has_ended {
            self.inner.lines.abandon(&self.key);
        }
    }
}

/// One who waits for another's call. Dropped, it gives back what it was granted meanwhile.
pub(super) struct Waiting<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) key: &'a Key,
    pub(super) ask: Ask,
    pub(super) answered: Answered,
}

impl Waiting<'_> {
    pub(super) async fn answer(mut self, limit: Duration) -> Result<Answer, Unavailable> {
        match tokio::time::timeout(limit, &mut self.answered).await {
            Ok(Ok(answer)) => answer,
            // Whoever served the line is gone, with its runtime.
            Ok(Err(_)) => Err(Unavailable::Down),
            Err(_) => Err(Unavailable::TimedOut),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answered.close();
        if let Ok(Ok(Answer { granted: true, .. })) = self.answered.try_recv() {
            self.inner.give_back(self.key, self.ask);
        }
    }
}
