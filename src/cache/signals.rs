//! What a handler tells the layer around it: [`Tags`], [`CacheFor`], [`NoStore`], [`Invalidate`].
//!
//! They are response extensions, so they never travel as fields that could leak or be forged. With
//! feature `axum` a handler returns them beside its answer:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use larder::{Invalidate, Tags};
//!
//! async fn list_posts() -> (Tags, &'static str) {
//!     (Tags::new(["posts", "posts:cat:tech"]), "[]")
//! }
//!
//! async fn rename_post() -> (Invalidate, &'static str) {
//!     (Invalidate::tags(["post:7", "posts"]), "renamed")
//! }
//! # }
//! ```
//!
//! Without axum, insert them: `response.extensions_mut().insert(Tags::new(["posts"]))`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::policy::tag::TagHash;
use crate::store::invalidation::Strength;

/// The tags of a response, added to those of its route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub(crate) Vec<String>);

impl Tags {
    /// These tags.
    pub fn new<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }
}

/// How long this response may be reused by the cache, instead of the route's ttl.
///
/// The smaller of this and the response's own `max-age` counts. Downstream caches do not see it. It
/// does not widen what is stored: a status that the route does not store (other than 200, 203, 301,
/// 308, 410 and those of [`status_ttl`](crate::CacheLayer::status_ttl)) is still not stored, nor is what
/// the response's fields forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheFor(pub Duration);

/// This response is not stored by the cache, whatever the route's ttl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoStore;

/// What to invalidate, said by a handler in its answer or to [`Cache::invalidate`](crate::Cache::invalidate).
///
/// The layer carries it out before the answer leaves, so that whoever has seen the answer never sees
/// what it replaced. It is carried out whatever the status. If no [`CacheLayer`](crate::CacheLayer) or
/// [`watch`](crate::Cache::watch) layer takes it from the answer, a warning is logged.
#[derive(Clone, Debug)]
#[must_use = "nothing is invalidated until a layer or `Cache::invalidate` takes it"]
pub struct Invalidate {
    pub(crate) targets: Vec<Target>,
    pub(crate) strength: Strength,
    taken: Option<Arc<Taken>>,
}

/// One thing to invalidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tag(String),
    Uri(String),
    /// A path as it stands, whatever its query and host.
    Path(String),
    /// The tag of a group.
    Group(TagHash),
    All,
}

impl Invalidate {
    /// Every response with this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::tags([tag])
    }

    /// Every response with one of these tags; each is counted once.
    pub fn tags<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self::of(
            tags.into_iter()
                .map(|tag| Target::Tag(tag.into()))
                .collect(),
        )
    }

    /// Every response of this URI: all users' copies and all variants.
    ///
    /// `/posts` reaches every query, `/posts?page=2` that one (in any order of its parameters),
    /// `//api.example.com/posts` or an absolute URI that host alone. Where a route keeps only some
    /// parameters (`query_only`, `query_except`), name those it keeps, or the path alone.
    pub fn uri(uri: impl Into<String>) -> Self {
        Self::of(vec![Target::Uri(uri.into())])
    }

    /// Everything.
    pub fn all() -> Self {
        Self::of(vec![Target::All])
    }

    /// This and what the other one names; hard, unless both are soft.
    pub fn and(mut self, other: Self) -> Self {
        self.targets.extend(other.targets.iter().cloned());
        if other.strength == Strength::Hard {
            self.strength = Strength::Hard;
        }
        self
    }

    /// Marks responses stale instead of removing them: routes that allow stale answers
    /// (`stale_while_revalidate`, `stale_if_error`) may still use them while they refresh.
    pub fn soft(mut self) -> Self {
        self.strength = Strength::Soft;
        self
    }

    /// Warns, from now on, if no layer takes it from the answer.
    #[cfg(feature = "axum")]
    fn armed(mut self) -> Self {
        self.taken = Some(Arc::default());
        self
    }

    pub(crate) fn take(&self) {
        if let Some(taken) = &self.taken {
            taken.0.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn path(path: &str) -> Self {
        Self::of(vec![Target::Path(path.to_owned())])
    }

    /// What is of one of these groups.
    pub(crate) fn groups(tags: Vec<TagHash>) -> Self {
        Self::of(tags.into_iter().map(Target::Group).collect())
    }

    fn of(targets: Vec<Target>) -> Self {
        Self {
            targets,
            strength: Strength::Hard,
            taken: None,
        }
    }
}

/// Whether an [`Invalidate`] in an answer reached a layer.
#[derive(Debug, Default)]
struct Taken(AtomicBool);

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.0.load(Ordering::Relaxed) {
            tracing::warn!(
                "an answer carried `Invalidate` and no layer took it: nothing was invalidated; \
                 add `.layer(cache.watch())` to the router"
            );
        }
    }
}

#[cfg(feature = "axum")]
mod axum_glue {
    use std::convert::Infallible;

    use axum::response::{IntoResponseParts, ResponseParts};

    use super::{CacheFor, Invalidate, NoStore, Tags};

    impl IntoResponseParts for Tags {
        type Error = Infallible;

        fn into_response_parts(self, mut res: ResponseParts) -> Result<ResponseParts, Infallible> {
            match res.extensions_mut().get_mut::<Self>() {
                Some(earlier) => earlier.0.extend(self.0),
                None => drop(res.extensions_mut().insert(self)),
            }
            Ok(res)
        }
    }

    impl IntoResponseParts for CacheFor {
        type Error = Infallible;

        fn into_response_parts(self, mut res: ResponseParts) -> Result<ResponseParts, Infallible> {
            res.extensions_mut().insert(self);
            Ok(res)
        }
    }

    impl IntoResponseParts for NoStore {
        type Error = Infallible;

        fn into_response_parts(self, mut res: ResponseParts) -> Result<ResponseParts, Infallible> {
            res.extensions_mut().insert(self);
            Ok(res)
        }
    }

    impl IntoResponseParts for Invalidate {
        type Error = Infallible;

        fn into_response_parts(self, mut res: ResponseParts) -> Result<ResponseParts, Infallible> {
            // A response may carry several; each keeps its own strength.
            match res.extensions_mut().get_mut::<Invalidations>() {
                Some(earlier) => earlier.0.push(self.armed()),
                None => drop(
                    res.extensions_mut()
                        .insert(Invalidations(vec![self.armed()])),
                ),
            }
            Ok(res)
        }
    }

    use super::Invalidations;
}

/// The invalidations that one answer carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invalidations(pub(crate) Vec<Invalidate>);

impl Invalidations {
    /// Takes from an answer what its handler wants invalidated.
    pub(crate) fn take_from(extensions: &mut http::Extensions) -> Vec<Invalidate> {
        let mut found = extensions
            .remove::<Self>()
            .map_or_else(Vec::new, |several| several.0);
        found.extend(extensions.remove::<Invalidate>());
        found.iter().for_each(Invalidate::take);
        found
    }
}
