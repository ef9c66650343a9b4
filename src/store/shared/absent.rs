//! What stands in the place of the shared tier without the feature `redis`: nothing.
//!
//! No value of these types can be made, so a branch on one is compiled away, and the rooms need not
//! say which features are on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HeaderName;
use tokio::time::Instant;

use super::{Asked, Budget, Question};
use crate::clock::Timestamp;
use crate::policy::stored::{Fence, StoredResponse, VaryField};
use crate::policy::tag::TagHash;
use crate::store::invalidation::{Reach, Strength, Validity};

pub(crate) enum Tier {}

pub(crate) enum Deferral {}

pub(crate) enum Lease {}

pub(crate) enum Waiting {}

pub(crate) enum Taken {
    Mine(Lease),
    Stored,
    Theirs(Waiting),
    Unknown,
}

impl Waiting {
    pub(crate) async fn next(self) -> Taken {
        match self {}
    }
}

impl Tier {
    pub(crate) fn fence(&self) -> Fence {
        match *self {}
    }

    pub(crate) fn answers(&self, _: &StoredResponse) -> Validity {
        match *self {}
    }

    pub(crate) fn keeps(&self, _: &StoredResponse) -> Validity {
        match *self {}
    }

    pub(crate) fn invalidate(&self, _: Reach) -> Option<Deferral> {
        match *self {}
    }

    pub(crate) fn budget(&self) -> Budget {
        match *self {}
    }

    pub(crate) fn varying(&self, _: u64) -> Arc<[HeaderName]> {
        match *self {}
    }

    pub(crate) async fn ask(&self, _: Question<'_>) -> Asked {
        match *self {}
    }

    pub(crate) async fn confirm(&self, _: &Arc<StoredResponse>, _: &Budget) -> Option<Validity> {
        match *self {}
    }

    pub(crate) fn store(&self, _: &StoredResponse, _: u64, _: Timestamp, _: Option<Lease>) {
        match *self {}
    }

    pub(crate) async fn lease(&self, _: &[u8], _: &[VaryField], _: Instant) -> Taken {
        match *self {}
    }

    pub(crate) async fn reached(&self, _: &[TagHash], _: Strength) -> Option<u64> {
        match *self {}
    }
}

impl Future for Deferral {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<bool> {
        match *self {}
    }
}
