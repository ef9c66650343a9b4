//! The one connection that listens: subscriptions, renewed whenever it had to be made anew.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use redis::aio::PubSubStream;
use redis::Msg;
use tokio::sync::watch;

use super::breaker::Backoff;
use super::call::Failure;
use super::nodes::Set;
use super::shared::Shared;

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// From now on every message arrives, until `Lost`.
    Subscribed,
    Message(Vec<u8>),
    /// Messages may be missing, until `Subscribed`.
    Lost,
}

pub(crate) struct Subscription {
    channel: String,
    sink: Box<dyn Fn(Event) + Send + Sync>,
}

impl Subscription {
    pub(crate) fn new(channel: String, sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        let sink = Box::new(sink);
        Self { channel, sink }
    }
}

/// A silent connection is tried this often.
const PING: Duration = Duration::from_secs(1);

/// Listens to everything that was subscribed to, on the server that is in use for it.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let mut changes = shared.changes.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let Some(set) = home(&shared) else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let began = tokio::time::Instant::now();
        if let Err(failure) = attend(&shared, &set, &mut changes).await {
            tracing::debug!(error = %failure.why, "the subscription to redis was lost");
        }
        drop(set);
        backoff.lasted(began.elapsed());
        tokio::time::sleep(backoff.wait()).await;
    }
}

/// The server to listen to: in a Cluster the one that has the first hook's key, so that what is
/// published there arrives without a detour.
fn home(shared: &Shared) -> Option<Arc<Set>> {
    let channel = shared.subscriptions.lock().first()?.channel.clone();
    let hook = shared.hooks.lock().first().cloned();
    let key = hook.as_ref().map_or(channel.as_bytes(), |hook| &hook.key);
    let nodes = shared.nodes.read();
    nodes.of_key(key).and_then(|node| node.set())
}

/// Tells its subscribers that messages may be missing, however it ends.
#[derive(Default)]
struct Attached(Vec<Arc<Subscription>>);

impl Drop for Attached {
    fn drop(&mut self) {
        for subscription in &self.0 {
            (subscription.sink)(Event::Lost);
        }
    }
}

/// Listens until the connection is lost or another server is the one to listen to.
async fn attend(
    shared: &Shared,
    set: &Arc<Set>,
    changes: &mut watch::Receiver<u64>,
) -> Result<(), Failure> {
    let limits = &shared.settings;
    let connection = async { Ok(set.client.get_async_pubsub().await?) };
    let (mut sink, mut stream) = limits.in_time(connection).await?.split();
    let mut attached = Attached::default();
    loop {
        let new: Vec<_> = {
            let subscriptions = shared.subscriptions.lock();
            subscriptions
                .iter()
                .skip(attached.0.len())
                .cloned()
                .collect()
        };
        for subscription in new {
            let channel = &subscription.channel;
            let answer = async { Ok(sink.subscribe(channel).await) };
            match limits.in_time(answer).await? {
                Ok(()) => (subscription.sink)(Event::Subscribed),
                // A user who may not hear this channel hears the others all the same.
                Err(refused) if refused.code() == Some("NOPERM") => {
                    tracing::warn!(channel, error = %refused, "redis refuses a subscription");
                }
                Err(broken) => return Err(broken.into()),
            }
            attached.0.push(subscription);
        }
        if !home(shared).is_some_and(|home| Arc::ptr_eq(&home, set)) {
            return Ok(());
        }
        match tokio::time::timeout(PING, next(&mut stream, changes)).await {
            Ok(Next::Message(message)) => deliver(&attached, &message),
            Ok(Next::Change) => {}
            Ok(Next::End) => return Ok(()),
            Err(_) => {
                let pong = async { Ok(sink.ping::<redis::Value>().await?) };
                limits.in_time(pong).await?;
            }
        }
    }
}

fn deliver(attached: &Attached, message: &Msg) {
    for subscription in &attached.0 {
        if subscription.channel == message.get_channel_name() {
            (subscription.sink)(Event::Message(message.get_payload_bytes().to_vec()));
        }
    }
}

enum Next {
    Message(Msg),
    /// Something in the handle changed: subscriptions, connections.
    Change,
    End,
}

async fn next(stream: &mut PubSubStream, changes: &mut watch::Receiver<u64>) -> Next {
    let mut changed = pin!(changes.changed());
    poll_fn(|cx| {
        match Pin::new(&mut *stream).poll_next(cx) {
            Poll::Ready(Some(message)) => return Poll::Ready(Next::Message(message)),
            Poll::Ready(None) => return Poll::Ready(Next::End),
            Poll::Pending => {}
        }
        changed.as_mut().poll(cx).map(|changed| match changed {
            Ok(()) => Next::Change,
            Err(_) => Next::End,
        })
    })
    .await
}
