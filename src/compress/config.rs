//! What a [`CompressLayer`](super::CompressLayer) was told, as it and its services share it.

use std::sync::Arc;

use http::request;

use crate::coding::Levels;
use crate::policy::encoding::Rules;

/// The settings of one layer.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) rules: Rules,
    pub(super) levels: Levels,
    pub(super) skip_if: Vec<RequestTest>,
}

type RequestTest = Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>;
