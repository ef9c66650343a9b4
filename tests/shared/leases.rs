//! One process of all calls, where the route says so.

use std::time::Duration;

use larder::{Cache, CacheLayer};

use crate::drive::spawn;
use crate::nodes::*;
use crate::support::*;

const CALL: Duration = Duration::from_millis(30);

fn one_for_all(cache: &Cache) -> CacheLayer {
    layer(cache).collapse_processes(true)
}

/// Answers after a while, with the number of the call.
fn slow() -> Origin {
    let number = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Origin::later(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        Box::pin(async move {
            tokio::time::sleep(CALL).await;
            text(format!("call {number}"))
        })
    })
}

/// Nodes that have asked for a lease before: they listen, and the server knows the script.
async fn nodes(prefix: &str) -> Vec<Cache> {
    let mut nodes = Vec::new();
    for n in 0..4 {
        let node = node(prefix, |b| b).await;
        let request = get(&format!("/{n}"), &[]);
        send(&one_for_all(&node), &Origin::counting(), request).await;
        nodes.push(node);
    }
    let listeners = || SERVER.cli(&["pubsub", "numsub", &format!("{prefix}:done:0")]);
    eventually(|| async { listeners().ends_with('4') }).await;
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_with_fifty_callers_each_call_once_and_ask_redis_at_most_fifteen_times() {
    let prefix = prefix();
    let nodes = nodes(&prefix).await;
    let monitor = Monitor::watching(&prefix);
    let (posts, origin) = (get("/posts", &[]), slow());
    let layers: Vec<_> = nodes.iter().map(one_for_all).collect();
    let crowd: Vec<_> = (0..200)
        .map(|n| spawn(&layers[n % 4], &origin, posts.clone()))
        .collect();
    for client in crowd {
        assert_eq!(client.await.unwrap().text(), "call 1");
    }
    assert_eq!(origin.calls(), 1);
    tokio::time::sleep(CALL).await;
    let asked = monitor.asked();
    assert!((4..=15).contains(&asked.len()), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_purged_is_made_by_one_node_again_although_it_still_lies_there() {
    let nodes = nodes(&prefix()).await;
    let (posts, origin) = (get("/posts", &[]), slow());
    for call in ["call 1", "call 2", "call 3"] {
        let crowd: Vec<_> = nodes
            .iter()
            .map(|node| spawn(&one_for_all(node).strict(true), &origin, posts.clone()))
            .collect();
        for client in crowd {
            assert_eq!(client.await.unwrap().text(), call);
        }
        assert!(!nodes[0].invalidate_tag("posts").await.deferred);
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_call_fails_or_is_dropped_lets_another_one_call() {
    let nodes = nodes(&prefix()).await;
    let (posts, origin) = (get("/posts", &[]), slow());
    let (never, _gate) = Origin::gated(0, |_| text("never"));
    let hangs = spawn(&one_for_all(&nodes[0]), &never, posts.clone());
    eventually(|| async { never.calls() == 1 }).await;
    let waits = spawn(&one_for_all(&nodes[1]), &origin, posts.clone());
    tokio::time::sleep(CALL).await;
    assert_eq!(origin.calls(), 0, "another node calls");
    hangs.abort();
    assert_eq!(waits.await.unwrap().text(), "call 1");

    let failing = Origin::new(|_| status(500));
    let other = get("/other", &[]);
    assert_eq!(
        send(&one_for_all(&nodes[2]), &failing, other.clone())
            .await
            .status,
        500
    );
    let answer = send(&one_for_all(&nodes[3]), &origin, other).await;
    assert_eq!(answer.text(), "call 2");
}
