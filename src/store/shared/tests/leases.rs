//! One process of many makes a response.

use std::time::Duration;

use super::processes::{eventually, process};
use super::server::Server;
use crate::store::shared::lease::{take, Taken};

const LIMIT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_and_is_free_when_it_is_dropped() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    let key = a.driver.keys().lease(b"key", &[]);
    let Taken::Mine(lease) = take(&a.driver, key.clone(), LIMIT).await else {
        panic!("nobody else wants it");
    };
    let theirs = take(&b.driver, key.clone(), LIMIT).await;
    assert!(matches!(theirs, Taken::Theirs(left) if left <= Duration::from_millis(1500)));
    // Longer than it lasts: it is renewed.
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert!(matches!(
        take(&b.driver, key.clone(), LIMIT).await,
        Taken::Theirs(_)
    ));
    drop(lease);
    let freed = eventually(|| async {
        matches!(take(&b.driver, key.clone(), LIMIT).await, Taken::Mine(_))
    });
    assert!(freed.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nobody_waits_for_a_lease() {
    let mut server = Server::start();
    let a = process(&server).await;
    server.kill();
    let key = a.driver.keys().lease(b"key", &[]);
    assert!(matches!(take(&a.driver, key, LIMIT).await, Taken::Unknown));
}
