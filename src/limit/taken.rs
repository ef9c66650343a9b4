//! What is kept of a request for its answer.

use tokio::sync::oneshot;

use super::core::Principal;
use crate::header::rate_limit::Told;
use crate::policy::bucket::Decision;

/// What one limit took, or did not.
#[derive(Debug)]
pub(super) struct Taken {
    /// Which of the route's limits.
    pub(super) limit: usize,
    pub(super) principal: Principal,
    pub(super) cost: u64,
    pub(super) decision: Decision,
    /// Redis has not charged it.
    pub(super) alone: bool,
    /// A limit in shadow has not decided yet.
    pub(super) later: Option<Later>,
}

/// What is kept of a request that passes, for its answer.
pub(super) enum Passes {
    /// No limit saw it.
    Unseen,
    /// The only limit of the route did, for good, and this is all that is told of it.
    Told(&'static Told),
    /// The same, where what is told has to be written.
    Plainly(Decision),
    With(Vec<Taken>),
}

/// What Redis will have said: the decision, and whether it was made without it.
pub(super) type Later = oneshot::Receiver<(Decision, bool)>;
