//! What stands in place of the shared buckets without the feature `redis`: nobody can have them.

use std::time::Duration;

use super::{CallStats, Change, Charge, Policy, Taken, Unavailable};

#[derive(Clone, Debug)]
pub(crate) enum SharedBuckets {}

#[allow(clippy::unused_async, reason = "as the tier itself is asked")]
impl SharedBuckets {
    pub(crate) fn is_same(&self, _: &Self) -> bool {
        match *self {}
    }

    pub(crate) async fn take(&self, _: &[Charge<'_>]) -> Result<Taken, Unavailable> {
        match *self {}
    }

    pub(crate) async fn take_up_to(
        &self,
        _: &Charge<'_>,
        _: u64,
    ) -> Result<(u64, Duration), Unavailable> {
        match *self {}
    }

    pub(crate) async fn peek(&self, _: &[Charge<'_>]) -> Result<Taken, Unavailable> {
        match *self {}
    }

    pub(crate) async fn adjust(
        &self,
        _: u128,
        _: &Policy,
        _: Change,
    ) -> Result<Duration, Unavailable> {
        match *self {}
    }

    pub(crate) fn give_back(&self, _: u128, _: &Policy, _: u64) {
        match *self {}
    }

    pub(crate) async fn return_leases(&self) {
        match *self {}
    }

    pub(crate) fn calls(&self) -> CallStats {
        match *self {}
    }
}
