//! [`WaitLayer`]: the settings of what waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

use super::pacer::Pacer;
use super::retry::{Idempotent, Never};
use super::{Priority, Wait};
use crate::policy::bucket::Quota;

/// Lets the calls of a client wait for their turn under a quota of its upstream; the [module](super) tells how.
#[derive(Clone)]
#[must_use]
pub struct WaitLayer<Retry = Never> {
    pub(super) config: Arc<Config>,
    retry: Retry,
}

type KeyFn = Arc<dyn Fn(&Parts) -> String + Send + Sync>;
type CostFn = Arc<dyn Fn(&Parts) -> u64 + Send + Sync>;

/// What layer and service share.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) pacer: Pacer,
    pub(super) priority: Priority,
    pub(super) max_wait: Option<Duration>,
    pub(super) key: Option<KeyFn>,
    pub(super) cost: Option<CostFn>,
    pub(super) retries: u32,
}

/// How long one request would wait, in its extensions. Otherwise the
/// [pacer's](super::PacerBuilder::max_wait) limit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxWait(
    /// From the call on, with all that is repeated.
    pub Duration,
);

impl WaitLayer {
    /// Waits in this process alone; [`Pacer::layer`] waits with whatever else shares a pacer.
    ///
    /// # Panics
    ///
    /// If the quota contradicts itself; the pacer's builder tells it as an error.
    pub fn new(quota: Quota) -> Self {
        Self::from(Pacer::new(quota))
    }
}

impl From<Pacer> for WaitLayer {
    fn from(pacer: Pacer) -> Self {
        let config = Config {
            pacer,
            priority: Priority::default(),
            max_wait: None,
            key: None,
            cost: None,
            retries: 0,
        };
        Self {
            config: Arc::new(config),
            retry: Never,
        }
    }
}

impl<Retry> WaitLayer<Retry> {
    /// How urgent requests are that do not say so, by a [`Priority`] among their extensions. Default: `Normal`.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.change(|config| config.priority = priority);
        self
    }

    /// Which bucket a request takes from, where the upstream has one for each account, host or token. Default: one
    /// for all.
    pub fn by(mut self, key: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.change(|config| config.key = Some(Arc::new(key)));
        self
    }

    /// How many tokens a request costs; none need not wait. Default: one.
    pub fn cost(mut self, cost: impl Fn(&Parts) -> u64 + Send + Sync + 'static) -> Self {
        self.change(|config| config.cost = Some(Arc::new(cost)));
        self
    }

    /// How long requests wait that do not say so, by a [`MaxWait`] among their extensions. Default: the pacer's.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.change(|config| config.max_wait = Some(wait));
        self
    }

    /// Makes a call again, up to `times`, that the upstream refused to answer now (429, or 503 that says until when)
    /// and that may be made twice: by the idempotent methods (RFC 9110 §9.2.2). It waits for its turn again and pays
    /// again, and its body is cloned before it is sent. Where its turn does not come in time, what the upstream said
    /// is returned. Default: what the upstream said is returned.
    pub fn retry_idempotent(mut self, times: u32) -> WaitLayer<Idempotent> {
        self.change(|config| config.retries = times);
        WaitLayer {
            config: self.config,
            retry: Idempotent,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Config)) {
        change(Arc::make_mut(&mut self.config));
    }
}

impl<S, Retry: Copy> Layer<S> for WaitLayer<Retry> {
    type Service = Wait<S, Retry>;

    fn layer(&self, inner: S) -> Self::Service {
        Wait {
            inner,
            config: Arc::clone(&self.config),
            retry: self.retry,
        }
    }
}

impl<Retry> fmt::Debug for WaitLayer<Retry> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitLayer")
            .field("pacer", &self.config.pacer)
            .field("priority", &self.config.priority)
            .field("retries", &self.config.retries)
            .finish_non_exhaustive()
    }
}
