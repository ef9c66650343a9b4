//! What the cache did so far.

use axum::extract::State;
use axum::Json;
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
}

/// `handler_calls` beside the rest shows what was saved.
pub(crate) async fn show(State(app): State<App>) -> Json<Counts> {
    let stats = app.cache.stats();
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
        redis: "down",
    })
}
