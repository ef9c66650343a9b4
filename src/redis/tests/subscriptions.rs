//! The connection that listens.

use std::sync::Arc;

use parking_lot::Mutex;

use super::server::Server;
use super::{connected, eventually, up_again, SECOND};
use crate::redis::{Event, Redis};

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    fn on(redis: &Redis, channel: &str) -> Self {
        let heard = Self::default();
        let events = Arc::clone(&heard.0);
        redis.subscribe(channel, move |event| events.lock().push(event));
        heard
    }

    async fn expect(&self, events: &[Event]) {
        eventually(|| async { self.0.lock().len() >= events.len() }).await;
        assert_eq!(self.0.lock().as_slice(), events);
        self.0.lock().clear();
    }
}

fn message(text: &str) -> Event {
    Event::Message(text.as_bytes().to_vec())
}

#[tokio::test]
async fn subscribers_hear_their_channel_and_when_they_may_have_missed_something() {
    let mut server = Server::start();
    let redis = connected(&server.url()).await;
    let first = Heard::on(&redis, "first");
    first.expect(&[Event::Subscribed]).await;
    let second = Heard::on(&redis, "second");
    second.expect(&[Event::Subscribed]).await;
    server.cli(&["publish", "first", "1"]);
    server.cli(&["publish", "second", "2"]);
    server.cli(&["publish", "third", "3"]);
    first.expect(&[message("1")]).await;
    second.expect(&[message("2")]).await;

    server.cli(&["client", "kill", "type", "pubsub"]);
    first.expect(&[Event::Lost, Event::Subscribed]).await;
    second.expect(&[Event::Lost, Event::Subscribed]).await;
    assert!(redis.health().up, "calls go on meanwhile");

    server.restart();
    first.expect(&[Event::Lost, Event::Subscribed]).await;
    server.cli(&["publish", "first", "4"]);
    first.expect(&[message("4")]).await;
}

#[tokio::test]
async fn a_frozen_server_loses_the_subscription_and_messages_come_again_later() {
    let server = Server::start();
    let redis = connected(&server.url()).await;
    let heard = Heard::on(&redis, "channel");
    heard.expect(&[Event::Subscribed]).await;
    server.freeze();
    heard.expect(&[Event::Lost]).await;
    server.thaw();
    up_again(&redis).await;
    heard.expect(&[Event::Subscribed]).await;
    server.cli(&["publish", "channel", "1"]);
    heard.expect(&[message("1")]).await;
}

#[test]
fn the_end_of_a_runtime_loses_the_subscription_and_the_next_one_renews_it() {
    let server = Server::start();
    let redis = Redis::open(server.url()).unwrap();
    let heard = Heard::on(&redis, "channel");
    for _ in 0..2 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            assert!(redis.connected(10 * SECOND).await);
            up_again(&redis).await;
            heard.expect(&[Event::Subscribed]).await;
        });
        drop(runtime);
        assert_eq!(heard.0.lock().as_slice(), [Event::Lost]);
        heard.0.lock().clear();
    }
}
