//! What a process admitted alone, for Redis to hear of when it is back.
//!
//! Its bucket there has refilled meanwhile, as if nobody had asked; so what was admitted here is charged there
//! afterwards, once, by the first decision that Redis answers again.

#![cfg_attr(
    not(feature = "redis"),
    allow(
        unreachable_code,
        unused_variables,
        reason = "there is no Redis to tell"
    )
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::store::shared::buckets::{Change, Policy, SharedBuckets};

/// So many principals are remembered; what the others took is forgiven.
const MOST: usize = 16_384;

/// Tokens by principal.
#[derive(Default)]
pub(super) struct Owed {
    /// Whether there are any: all that a decision asks while Redis answers.
    any: AtomicBool,
    tokens: Mutex<HashMap<u128, u64>>,
}

impl Owed {
    /// Takes note of what was admitted alone.
    pub(super) fn note(&self, principal: u128, tokens: u64) {
        let mut owed = self.tokens.lock();
        if owed.len() >= MOST && !owed.contains_key(&principal) {
            return;
        }
        let owes = owed.entry(principal).or_default();
        *owes = owes.saturating_add(tokens);
        self.any.store(true, Ordering::Release);
    }

    /// Redis answers. Nobody waits for it to hear the rest.
    pub(super) fn settle(&self, buckets: &SharedBuckets, policy: &Policy) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        self.any.store(false, Ordering::Release);
        let owed = std::mem::take(&mut *self.tokens.lock());
        let (buckets, policy) = (buckets.clone(), policy.clone());
        runtime.spawn(async move {
            for (principal, tokens) in owed {
                // An empty bucket is charged no further: what passed, passed.
                let change = Change::Charge { tokens, beyond: 0 };
                if buckets.adjust(principal, &policy, change).await.is_err() {
                    // Away again. What is left is forgiven, rather than charged twice.
                    return;
                }
            }
        });
    }
}
