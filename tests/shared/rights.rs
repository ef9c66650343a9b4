//! An ACL user with the rights that the documentation names, and no others.

use larder::Redis;

use crate::nodes::*;
use crate::server::Server;
use crate::support::*;

const RIGHTS: &[&str] = &[
    "~larder:*",
    "&larder:*",
    "+@connection",
    "+@read",
    "+@write",
    "+@scripting",
    "+@pubsub",
    "+info",
    "+role",
    "+time",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_documented_are_enough_for_everything() {
    let server = Server::start();
    let user = [&["acl", "setuser", "app", "on", ">secret"][..], RIGHTS].concat();
    assert_eq!(server.cli(&user), "OK");
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port);
    let node = async || {
        let redis = Redis::builder(&url).deadline(LONG).build().unwrap();
        connected(redis, |builder| builder.tag_index(true)).await
    };
    let (a, b) = (node().await, node().await);
    let (posts, origin) = (get("/posts", &[]), Origin::counting());
    for (cache, text) in [(&a, "call 1"), (&b, "call 1")] {
        let route = layer(cache).strict(true).collapse_processes(true);
        eventually(|| async { send(&route, &origin, posts.clone()).await.text() == text }).await;
    }
    // The list of a tag is written after the response.
    let listed = || server.cli(&["keys", "larder:i:*"]).lines().count() >= 2;
    eventually(|| async { listed() }).await;
    let reached = a.invalidate_tag("posts").await;
    assert_eq!((reached.entries, reached.deferred), (Some(1), false));
    for cache in [&a, &b] {
        assert_eq!(shared(cache).redis.errors, 0, "{:?}", shared(cache));
    }
}
