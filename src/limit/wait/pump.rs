//! The pump: the one task that takes tokens for those who wait for a bucket.
//!
//! ```text
//!  who is next ──► take ──► serve ──► enough? ── yes ──► who is next
//!      ▲                                └─ no: sleep until there may be more, or another one is next
//!      └─────────────────────────────────────────┘
//! ```
//!
//! There is one per bucket and process, so those who wait cost no calls, and nobody overtakes.

use std::sync::Arc;
use std::time::Duration;

use super::error::Refusal;
use super::line::{Line, Step};
use super::pacer::Inner;
use super::tokens::{Got, Want};
use crate::clock::millis;

/// Dropped before the end, with its runtime, it leaves nobody behind who believes to be served.
pub(super) struct Pump {
    pacer: Arc<Inner>,
    line: Arc<Line>,
    has_ended: bool,
}

impl Pump {
    pub(super) fn new(pacer: &Arc<Inner>, line: &Arc<Line>) -> Self {
        Self {
            pacer: Arc::clone(pacer),
            line: Arc::clone(line),
            has_ended: false,
        }
    }

    pub(super) async fn run(mut self) {
        while let Some(step) = self.line.next(&self.pacer) {
            match step {
                Step::Take(want) => self.take(want).await,
                Step::Refund(tokens) => self.pacer.tokens.refund(&self.line, tokens).await,
            }
        }
        self.has_ended = true;
    }

    async fn take(&self, want: Want) {
        match self.pacer.tokens.take(&self.line, want).await {
            Got::Granted { number, wait } => {
                self.line.serve(want.priority, number * want.cost);
                if !wait.is_zero() {
                    self.sleep(&want, wait).await;
                }
            }
            Got::Closed => {
                let mut state = self.line.state.lock();
                state.queue.refuse_all(Refusal::Unavailable);
            }
        }
    }

    async fn sleep(&self, want: &Want, wait: Duration) {
        if self.line.sleeps(want) {
            // Clocks sleep for whole milliseconds, and this shall not wake for nothing many times.
            let wait = Duration::from_millis(millis(wait).max(1));
            let clock = &self.pacer.tokens.clock;
            clock.within(wait, self.line.woken()).await;
        }
        self.line.awake();
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.has_ended {
            self.line.abandon();
        }
    }
}
