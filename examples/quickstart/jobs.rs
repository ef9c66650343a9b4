//! Jobs: how long an answer is kept depends on the answer.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::Json;
use larder::CacheFor;
use serde::Serialize;

use crate::App;

/// How long a job takes, from when it is first asked for.
const TAKES: Duration = Duration::from_secs(3);

/// The answer to `GET /jobs/{id}`.
#[derive(Serialize)]
pub(crate) struct Job {
    status: &'static str,
}

/// "Pending" is soon wrong and kept for a second, which still spares the database whoever polls
/// faster; "ready" stays true.
pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> (CacheFor, Json<Job>) {
    app.origin.work(1).await;
    let (status, seconds) = if app.origin.age_of_job(&id) < TAKES {
        ("pending", 1)
    } else {
        ("ready", 60)
    };
    (CacheFor(Duration::from_secs(seconds)), Json(Job { status }))
}
