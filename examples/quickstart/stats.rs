//! What the cache did so far.

use axum::extract::State;
use axum::Json;
use larder::SharedStats;
use serde::Serialize;

use crate::App;

/// The answer to `GET /stats`. Each request to a cached route is counted in exactly one of `hits`,
/// `stale`, `collapsed`, `misses` and `bypassed`.
#[derive(Serialize)]
pub(crate) struct Counts {
    handler_calls: u64,
    hits: u64,
    stale: u64,
    collapsed: u64,
    misses: u64,
    bypassed: u64,
    stored: u64,
    invalidations: u64,
    evicted: u64,
    entries: u64,
    bytes: u64,
    redis: &'static str,
    /// `null` in memory alone.
    shared: Option<Shared>,
}

/// What was asked of Redis, and how that is.
#[derive(Serialize)]
struct Shared {
    hits: u64,
    misses: u64,
    invalidated: u64,
    unanswered: u64,
    deferred: u64,
    sound: bool,
}

impl From<SharedStats> for Shared {
    fn from(stats: SharedStats) -> Self {
        Self {
            hits: stats.hits,
            misses: stats.misses,
            invalidated: stats.invalidated,
            unanswered: stats.unanswered,
            deferred: stats.deferred,
            sound: stats.sound,
        }
    }
}

/// `handler_calls` beside the rest shows what was saved.
pub(crate) async fn show(State(app): State<App>) -> Json<Counts> {
    let stats = app.cache.stats();
    let redis_is_up = stats.shared.is_some_and(|shared| shared.redis.up);
    Json(Counts {
        handler_calls: app.origin.calls(),
        hits: stats.hits,
        stale: stats.stale,
        collapsed: stats.collapsed,
        misses: stats.misses,
        bypassed: stats.bypassed,
        stored: stats.stored,
        invalidations: stats.invalidations,
        evicted: stats.evicted,
        entries: stats.entries,
        bytes: stats.bytes,
        redis: if redis_is_up { "up" } else { "down" },
        shared: stats.shared.map(Shared::from),
    })
}
