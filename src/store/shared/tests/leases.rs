//! One process of many makes a response.

use std::time::Duration;

use tokio::time::Instant;

use super::processes::{eventually, process, Process, KEY};
use super::server::Server;
use crate::store::shared::lease::{Lease, Taken, Waiting};

const LIMIT: Duration = Duration::from_millis(500);
/// How long a lease lasts that nobody renews.
pub(super) const LASTS: Duration = Duration::from_millis(1500);

impl Process {
    /// Asks for a lease, as one that looked just now.
    async fn take(&self) -> Taken {
        self.take_having_looked(Instant::now()).await
    }

    async fn take_having_looked(&self, looked: Instant) -> Taken {
        self.responses.lease(KEY, &[], looked, LIMIT).await
    }

    pub(super) async fn mine(&self) -> Lease {
        match self.take().await {
            Taken::Mine(lease) => lease,
            other => panic!("{}", named(&other)),
        }
    }

    /// Waits for a lease that another one has; the subscription is there.
    pub(super) async fn theirs(&self, server: &Server) -> Waiting {
        let taken = self.take().await;
        let listens = || async { subscribers(server) > 0 };
        assert!(eventually(listens).await);
        match taken {
            Taken::Theirs(waiting) => waiting,
            other => panic!("{}", named(&other)),
        }
    }
}

pub(super) fn named(taken: &Taken) -> &'static str {
    match taken {
        Taken::Mine(_) => "mine",
        Taken::Stored => "stored",
        Taken::Theirs(_) => "theirs",
        Taken::Unknown => "unknown",
    }
}

pub(super) fn subscribers(server: &Server) -> usize {
    let answer = server.cli(&["pubsub", "numsub", "test:done:0"]);
    let count = answer.split_whitespace().last();
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_and_is_free_when_it_is_dropped() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    assert_eq!(
        subscribers(&server),
        0,
        "who asks for no lease does not listen"
    );
    let lease = a.mine().await;
    assert_eq!(named(&b.take().await), "theirs");
    // Longer than it lasts: it is renewed.
    tokio::time::sleep(LASTS + LIMIT).await;
    assert_eq!(named(&b.take().await), "theirs");
    drop(lease);
    let freed = eventually(|| async { matches!(b.take().await, Taken::Mine(_)) });
    assert!(freed.await);
    assert!(eventually(|| async { subscribers(&server) == 2 }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_wakes_who_waits_at_once_and_says_whether_to_look_again() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    for (stored, expected) in [(true, "stored"), (false, "mine")] {
        // Polls take 60 ms at least, so that some of several waits must have been ended by a word.
        let mut fastest = LASTS;
        for _ in 0..5 {
            assert!(eventually(|| async { server.cli(&["del", &lease_name(&a)]) == "0" }).await);
            let lease = a.mine().await;
            let waiting = b.theirs(&server).await;
            let released = Instant::now();
            if stored {
                lease.stored();
            } else {
                drop(lease);
            }
            assert_eq!(named(&waiting.next().await), expected);
            fastest = fastest.min(released.elapsed());
        }
        println!("{expected}: woken after {fastest:?}");
        assert!(fastest < Duration::from_millis(50), "{fastest:?}");
    }
}

/// A process takes the lease and is gone without a word.
pub(super) fn die_holding(server: &Server) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let lease = runtime.block_on(async { process(server).await.mine().await });
            // Its tasks end here, and there is no runtime to release it on.
            drop(runtime);
            drop(lease);
        });
    });
}

fn lease_name(process: &Process) -> String {
    String::from_utf8(process.driver.keys().lease(KEY, &[])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looked_before_a_response_was_stored_looks_again_and_who_looked_after_it_makes_it() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    let before = Instant::now();
    a.mine().await.stored();
    let stored = || async { matches!(b.take_having_looked(before).await, Taken::Stored) };
    assert!(eventually(stored).await);
    assert!(stored().await, "however often it asks");
    // It is purged, or it was another variant: it cannot be waited for.
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(b.mine().await);
    let free = || async { matches!(b.take_having_looked(before).await, Taken::Mine(_)) };
    assert!(eventually(free).await, "the later release did not store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_is_lost_costs_a_poll() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    for (stored, expected) in [(true, "stored"), (false, "mine")] {
        let lease = a.mine().await;
        let waiting = b.theirs(&server).await;
        server.cli(&["client", "kill", "type", "pubsub"]);
        let released = Instant::now();
        if stored {
            lease.stored();
        } else {
            drop(lease);
        }
        assert_eq!(named(&waiting.next().await), expected);
        println!("{expected}: after {:?}", released.elapsed());
        assert!(released.elapsed() < LIMIT);
        tokio::time::sleep(LIMIT / 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_not_answered_does_not_end_the_wait() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    let lease = a.mine().await;
    let waiting = tokio::spawn(b.theirs(&server).await.next());
    let timeouts = || async { b.driver.redis().health().timeouts > 0 };
    server.freeze();
    assert!(eventually(timeouts).await);
    server.thaw();
    lease.stored();
    assert_eq!(named(&waiting.await.unwrap()), "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_dies_is_followed_within_the_rest_of_its_lease_and_a_poll() {
    let server = Server::start();
    let b = process(&server).await;
    die_holding(&server);
    let died = Instant::now();
    let waiting = b.theirs(&server).await;
    assert_eq!(named(&waiting.next().await), "mine");
    println!("a dead holder was followed after {:?}", died.elapsed());
    assert!(
        died.elapsed() < LASTS + Duration::from_millis(100),
        "{:?}",
        died.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_for_the_answer_leaves_no_lease_behind() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    for _ in 0..20 {
        let asked = a.take();
        // Long enough to be sent, and mostly not long enough to be answered.
        let answer = tokio::time::timeout(Duration::from_micros(50), asked).await;
        drop(answer);
        let began = Instant::now();
        let free = || async { matches!(b.take().await, Taken::Mine(_)) };
        assert!(eventually(free).await);
        assert!(began.elapsed() < LASTS / 2, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_publish_and_a_full_server_release_all_the_same() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    // Soon: long before it would end by itself.
    let ends = async |lease: Lease, stored: bool| {
        let began = Instant::now();
        if stored {
            lease.stored();
        } else {
            drop(lease);
        }
        let gone = || async { ["", "stored"].contains(&&*server.cli(&["get", &lease_name(&a)])) };
        assert!(eventually(gone).await);
        assert!(began.elapsed() < LASTS / 3, "{:?}", began.elapsed());
    };
    let lease = a.mine().await;
    server.cli(&["acl", "setuser", "default", "-publish"]);
    ends(lease, false).await;
    assert_eq!(a.driver.redis().health().errors, 0);
    server.cli(&["acl", "setuser", "default", "+publish"]);

    let lease = b.mine().await;
    server.config("maxmemory", "1");
    ends(lease, true).await;
    server.cli(&["del", &lease_name(&a)]);
    let taken = b.take().await;
    assert_eq!(named(&taken), "unknown", "a full server gives none");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nobody_waits_for_a_lease() {
    let mut server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    let _lease = a.mine().await;
    let waiting = b.theirs(&server).await;
    server.kill();
    assert_eq!(named(&a.take().await), "unknown");
    assert_eq!(named(&waiting.next().await), "unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_hear_of_leases_hears_of_invalidations_all_the_same() {
    let server = Server::start();
    let a = process(&server).await;
    server.cli(&["acl", "setuser", "default", "resetchannels", "&test:inv:*"]);
    let listeners = || {
        server
            .cli(&["pubsub", "numsub", "test:inv:0"])
            .ends_with('1')
    };
    assert!(eventually(|| async { listeners() }).await);
    drop(a.take().await);
    // Longer than a subscription that is refused, lost and made anew would take.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(listeners());
    }
}
