//! Several services, or several releases of one, and one Redis.

use larder::{Cache, CacheBuilder, Redis};

use crate::nodes::*;
use crate::support::*;

/// Whether the one shows what the other stored, and whether it can invalidate what the other shows.
async fn together(a: &Cache, b: &Cache) -> (bool, bool) {
    let posts = get("/posts", &[]);
    send(&layer(a), &Origin::new(|_| text("a's")), posts.clone()).await;
    tokio::time::sleep(50 * TICK).await;
    let shown = ask(&layer(b), &posts).await;
    if shown.is_none() {
        send(&layer(b), &Origin::new(|_| text("b's")), posts.clone()).await;
    }
    assert_eq!(ask(&layer(a), &posts).await.unwrap().text(), "a's");
    let _ = b.invalidate_tag("posts").await;
    assert!(ask(&layer(b), &posts).await.is_none());
    let strict = layer(a).strict(true);
    (shown.is_some(), ask(&strict, &posts).await.is_none())
}

type Say = fn(CacheBuilder) -> CacheBuilder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_of_two_versions_share_invalidations_and_no_responses() {
    let rows: [(Say, Say, bool); 4] = [
        (|b| b, |b| b, true),
        (|b| b.version("1"), |b| b.version("1"), true),
        (|b| b.version("1"), |b| b.version("2"), false),
        (|b| b, |b| b.version("2"), false),
    ];
    for (a, b, responses) in rows {
        let prefix = prefix();
        let (a, b) = (node(&prefix, a).await, node(&prefix, b).await);
        assert_eq!(together(&a, &b).await, (responses, true));
        assert_eq!(together(&b, &a).await, (responses, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_with_two_prefixes_or_in_two_databases_share_nothing() {
    let (one, other) = (prefix(), prefix());
    let (a, b) = (node(&one, |b| b).await, node(&other, |b| b).await);
    assert_eq!(together(&a, &b).await, (false, false));
    let second = Redis::builder(format!("{}/1", SERVER.url())).prefix(&one);
    let second = connected(second.deadline(LONG).build().unwrap(), |b| b).await;
    assert_eq!(together(&a, &second).await, (false, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_namespaces_under_one_prefix_share_no_responses() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |b| b.namespace("shop")).await,
        node(&prefix, |b| b.namespace("blog")).await,
    );
    assert!(!together(&a, &b).await.0);
}
