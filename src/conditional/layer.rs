//! [`ConditionalLayer`]: what a route says about its validators.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::request;
use tower_layer::Layer;

use super::route::Route;
use super::service::Conditional;
use super::tag::Validator;
use crate::clock::Clock;
use crate::error::ConfigError;

/// A [`Layer`] that names what the handler made and answers `304 Not Modified` to clients that hold it.
///
/// The [module](crate::conditional) tells what gets a tag and who is answered how. Contradictory settings
/// panic when the layer is put around a service; [`try_validate`](Self::try_validate) tells them as
/// an error.
#[derive(Clone)]
#[must_use]
pub struct ConditionalLayer {
    route: Route,
}

impl ConditionalLayer {
    /// Strong tags for bodies of up to 1 MiB, and no look-up.
    pub fn new() -> Self {
        Self {
            route: Route {
                body_limit: 1 << 20,
                weak: false,
                current: None,
                clock: Clock::default(),
            },
        }
    }

    /// The longest body, in bytes, that is read for its tag; longer ones pass untouched. Default: 1 MiB.
    ///
    /// It is read whole before the head of its answer leaves, and hashed where it was polled: at some
    /// 0.3 to 2 GB/s, a MiB takes half a millisecond to three.
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.route.body_limit = bytes;
        self
    }

    /// Makes weak tags (`W/"…"`), for routes whose bytes some layer further out changes without saying
    /// so. `If-Match` and `If-Range` never match a weak tag. Default: strong ones.
    pub fn weak(mut self) -> Self {
        self.route.weak = true;
        self
    }

    /// Tells what a resource is *before* an unsafe request changes it, so that `If-Match`,
    /// `If-None-Match` and `If-Unmodified-Since` can be refused with 412 without calling the handler.
    /// Default: they are left to the handler.
    ///
    /// It is asked only for unsafe requests (`PUT`, `PATCH`, `DELETE`, `POST`, and methods nobody knows) that
    /// carry one of these fields; `None` means that there is no such resource. What it returns must
    /// be what `GET` sends as `ETag`: the handler's own ([`Validator::strong`]), or the one this layer makes
    /// ([`Validator::of_content`]).
    ///
    /// ```
    /// use larder::conditional::{ConditionalLayer, Validator};
    ///
    /// # async fn revision_of(path: &str) -> Option<u64> { Some(7) }
    /// let layer = ConditionalLayer::new().current(|parts| {
    ///     let path = parts.uri.path().to_owned();
    ///     async move { revision_of(&path).await.map(|revision| Validator::strong(revision.to_string())) }
    /// });
    /// ```
    ///
    /// Two requests that were let through at the same moment still reach the handler both: where that
    /// matters, let it compare the revision once more in its own transaction.
    pub fn current<F, A>(mut self, lookup: F) -> Self
    where
        F: Fn(&request::Parts) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Validator>> + Send + 'static,
    {
        self.route.current = Some(Arc::new(move |parts| Box::pin(lookup(parts))));
        self
    }

    /// Looks for contradictions in the settings.
    ///
    /// ```
    /// let refused = larder::ConditionalLayer::new().body_limit(0).try_validate().unwrap_err();
    /// assert_eq!(refused.instead(), "`.body_limit(1024 * 1024)`, or no conditional layer on this route");
    /// ```
    ///
    /// # Errors
    ///
    /// The first contradiction, with the line to write instead.
    pub fn try_validate(&self) -> Result<(), ConfigError> {
        if self.route.body_limit == 0 {
            return Err(ConfigError::new(
                "a body limit of zero tags nothing",
                "`.body_limit(1024 * 1024)`, or no conditional layer on this route",
            ));
        }
        Ok(())
    }
}

impl Default for ConditionalLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ConditionalLayer {
    type Service = Conditional<S>;

    /// # Panics
    ///
    /// If the settings contradict each other.
    fn layer(&self, inner: S) -> Conditional<S> {
        if let Err(error) = self.try_validate() {
            panic!("{error}");
        }
        Conditional::new(inner, Arc::new(self.route.clone()))
    }
}

impl fmt::Debug for ConditionalLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.route.fmt(f)
    }
}
