//! The services compared, one module each, all over the same [`Origin`].
//!
//! A module is one function, `service(origin)`: the peer as its own documentation sets it up, with the smallest
//! wrapper that gives it the common shape (an [`axum::body::Body`] request, no error), and nothing that a hit pays for.

use std::time::Duration;

use crate::driver::{drive, Driver};
use crate::origin::Origin;

pub mod axum_handler;
mod axum_response_cache;
mod hitbox;
mod larder;
mod limit;
mod tower_http_cache;

/// How long responses stay fresh: longer than any run.
const TTL: Duration = Duration::from_secs(3600);

/// How many responses a cache may keep, where it asks: twice what the benchmarks store.
const CAPACITY: u64 = 20_000;

/// One of the services compared.
pub struct Subject {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// Sets it up over an origin, with an empty cache.
    pub start: fn(&'static Origin) -> Box<dyn Driver>,
}

/// All subjects, the one that the others are measured by first.
pub const ALL: &[Subject] = &[
    Subject {
        name: "limit",
        start: |origin| drive(limit::service(origin)),
    },
    Subject {
        name: "axum-handler",
        start: |origin| drive(axum_handler::service(origin)),
    },
    Subject {
        name: "axum-response-cache",
        start: |origin| drive(axum_response_cache::service(origin)),
    },
    Subject {
        name: "tower-http-cache",
        start: |origin| drive(tower_http_cache::service(origin)),
    },
    Subject {
        name: "hitbox",
        start: |origin| drive(hitbox::service(origin)),
    },
    Subject {
        name: "larder",
        start: |origin| drive(larder::service(origin)),
    },
    // PLUG IN HERE: `mod larder;` above, `subjects/larder.rs` with its `service(origin)`, and a `Subject` like these.
];

/// The subject of that name.
pub fn find(name: &str) -> Option<&'static Subject> {
    ALL.iter().find(|subject| subject.name == name)
}
