//! [`CompressLayer`]: the configuration.

use std::fmt;
use std::sync::Arc;

use http::request;
use tower_layer::Layer;

use super::config::Config;
use super::service::Compress;
use crate::coding::{self, Coding, Levels};
use crate::error::ConfigError;
use crate::policy::encoding::Rules;

/// A [`Layer`] that encodes answers for clients that ask for it; the [module](crate::compress) tells
/// which answers, and how.
///
/// ```
/// use larder::CompressLayer;
///
/// let layer = CompressLayer::new()
///     .min_size(1024)
///     .skip_if(|request| request.headers.contains_key("cookie")); // BREACH
/// # let _ = layer;
/// ```
#[derive(Clone)]
#[must_use]
pub struct CompressLayer {
    config: Config,
}

impl CompressLayer {
    /// Offers every coding whose feature is on, in the order br, zstd, gzip.
    pub fn new() -> Self {
        Self {
            config: Config {
                rules: Rules::new(coding::available()),
                levels: Levels::default(),
                skip_if: Vec::new(),
            },
        }
    }

    /// The codings on offer; of those that a client wants equally, it gets the first. Default: those
    /// whose features are on, in the order br, zstd, gzip.
    pub fn codings(mut self, codings: impl IntoIterator<Item = Coding>) -> Self {
        self.config.rules.offered = codings.into_iter().collect();
        self
    }

    /// How hard a coding tries: gzip 1 to 9 (default 6), br 0 to 11 (default 4), zstd 1 to 22
    /// (default 3). Numbers beyond these count as the nearest.
    pub fn level(mut self, coding: Coding, level: i32) -> Self {
        self.config.levels.set(coding, level);
        self
    }

    /// The least content that is encoded, in bytes, where its length is known. Default: 600.
    pub fn min_size(mut self, bytes: u64) -> Self {
        self.config.rules.least = bytes;
        self
    }

    /// Which media types are encoded; the function gets them without parameters, as the handler wrote
    /// them. Streams of events and `multipart` never are. Default: text and its like.
    pub fn types<F>(mut self, types: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.config.rules.types = Arc::new(types);
        self
    }

    /// Leaves the answers to requests alone for which this is true: those whose answers hold secrets,
    /// for example.
    pub fn skip_if<F>(mut self, skip: F) -> Self
    where
        F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
    {
        self.config.skip_if.push(Arc::new(skip));
        self
    }

    /// Looks for a coding that cannot be made.
    ///
    /// # Errors
    ///
    /// If a coding is on offer whose feature is off.
    pub fn try_validate(&self) -> Result<(), ConfigError> {
        let unavailable = self.config.rules.unavailable(coding::is_available);
        unavailable.map_or(Ok(()), Err)
    }
}

impl Default for CompressLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CompressLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressLayer")
            .field("codings", &self.config.rules.offered)
            .field("levels", &self.config.levels)
            .field("min_size", &self.config.rules.least)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for CompressLayer {
    type Service = Compress<S>;

    /// # Panics
    ///
    /// If a coding is on offer whose feature is off.
    fn layer(&self, inner: S) -> Compress<S> {
        if let Err(error) = self.try_validate() {
            panic!("{error}");
        }
        Compress::new(inner, Arc::new(self.config.clone()))
    }
}
