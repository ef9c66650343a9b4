//! What a route says about its validators, as its layer and its services share it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request;

use super::tag::Validator;
use crate::clock::Clock;

/// Finds the current validator of what a request is about.
pub(super) type Lookup = Arc<dyn Fn(&request::Parts) -> Looking + Send + Sync>;
pub(super) type Looking = Pin<Box<dyn Future<Output = Option<Validator>> + Send>>;

/// The settings of one [`ConditionalLayer`](super::ConditionalLayer).
#[derive(Clone)]
pub(super) struct Route {
    pub(super) body_limit: u64,
    pub(super) weak: bool,
    pub(super) current: Option<Lookup>,
    /// Two digits of a year are read by it.
    pub(super) clock: Clock,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionalLayer")
            .field("body_limit", &self.body_limit)
            .field("weak", &self.weak)
            .field("current", &self.current.is_some())
            .finish_non_exhaustive()
    }
}
