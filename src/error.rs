//! What can go wrong before the first request: configuration, and keys that cannot be made.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A contradiction in the configuration, with the line to write instead.
///
/// [`Cache::builder`](crate::Cache::builder) returns it from `build`; layers panic with it when they
/// are put around a service, and return it from [`CacheLayer::try_validate`](crate::CacheLayer::try_validate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problem: Cow<'static, str>,
    instead: Cow<'static, str>,
}

impl ConfigError {
    pub(crate) fn new(
        problem: impl Into<Cow<'static, str>>,
        instead: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            problem: problem.into(),
            instead: instead.into(),
        }
    }

    /// The line to write instead of what was refused.
    pub fn instead(&self) -> &str {
        &self.instead
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write instead: {}", self.problem, self.instead)
    }
}

impl Error for ConfigError {}

/// A key or user function could not say what a request is keyed by.
///
/// The request then bypasses the cache: it is neither answered from it nor stored, and it is never
/// collapsed with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    reason: Cow<'static, str>,
}

impl KeyError {
    /// An error with a reason for the logs; it is not sent to clients.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no cache key: {}", self.reason)
    }
}

impl Error for KeyError {}
