//! A stream of events: no layer holds it back.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream};
use tokio::time::interval;

/// Counts, ten times a second, until the client leaves.
pub(crate) async fn stream() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let every = interval(Duration::from_millis(100));
    Sse::new(stream::unfold((every, 0u64), |(mut every, n)| async move {
        every.tick().await;
        Some((Ok(Event::default().data(n.to_string())), (every, n + 1)))
    }))
}
