//! A Redis that is killed, frozen, full, demoted, busy, loading, absent, or swallows what it is sent:
//! no request fails or waits for long, and nothing that was purged is shown again.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::TryFutureExt;
use larder::{Cache, Redis};

use crate::nodes::*;
use crate::server::{free_port, Scripted, Server};
use crate::support::*;

/// Far more than the deadlines, far less than what a request would wait for that has none.
const AT_MOST: Duration = Duration::from_millis(900);

/// Two relaxed nodes and a strict one, and what their handlers read.
struct Service {
    nodes: [Cache; 2],
    strict: Cache,
    database: Database,
}

impl Service {
    /// As they are by default.
    fn on(url: &str) -> Self {
        let node = |strict| {
            let redis = Redis::open(url).unwrap();
            Cache::builder()
                .redis(redis)
                .strict(strict)
                .build()
                .unwrap()
        };
        Self {
            nodes: [node(false), node(false)],
            strict: node(true),
            database: Database::default(),
        }
    }

    fn all(&self) -> [&Cache; 3] {
        [&self.nodes[0], &self.nodes[1], &self.strict]
    }

    async fn is_sound(&self) {
        for node in self.all() {
            let sound = || async {
                let shared = shared(node);
                shared.redis.up && shared.sound && shared.deferred == 0
            };
            eventually(sound).await;
        }
    }

    /// Asks a node for a path; the answer is right, and comes soon.
    async fn ask(&self, node: &Cache, path: &str) -> Answer {
        let (layer, handler) = (layer(node), self.database.handler());
        let answer = send(&layer, &handler, get(path, &[]));
        let answer = tokio::time::timeout(AT_MOST, answer).await;
        let answer = answer.expect("nobody waits for Redis");
        assert_eq!(answer.status, 200);
        answer
    }

    async fn shows(&self, node: &Cache, path: &str) -> bool {
        self.ask(node, path).await.text() == self.database.now(path)
    }

    /// Requests of all kinds while Redis is in trouble.
    async fn goes_on(&self, round: &str) {
        for n in 0..10 {
            for node in self.all() {
                assert!(self.shows(node, &format!("/{round}/{n}")).await);
                assert!(self.shows(node, "/posts").await);
            }
        }
    }

    /// An invalidation by the first node: its own requests see it at once.
    async fn change(&self) -> bool {
        self.database.change();
        let done = self.nodes[0].invalidate_tag("posts").await;
        assert!(self.shows(&self.nodes[0], "/posts").await);
        done.deferred
    }

    /// From now on, and however often they are asked.
    async fn is_shown_everywhere(&self) {
        for node in self.all() {
            eventually(|| self.shows(node, "/posts")).await;
        }
        for _ in 0..50 {
            for node in self.all() {
                assert!(self.shows(node, "/posts").await, "it was purged");
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// What one stores the other serves, if not at once: a server that was full is spared for a second.
    async fn is_shared(&self) {
        let [a, b] = &self.nodes;
        for n in 0..1000 {
            let path = get(&format!("/shared/{n}"), &[]);
            send(&layer(a), &self.database.handler(), path.clone()).await;
            tokio::time::sleep(10 * TICK).await;
            if ask(&layer(b), &path).await.is_some() {
                return;
            }
        }
        panic!("nothing is shared");
    }
}

/// The whole story. `hears` says whether invalidations get through nevertheless.
async fn survives(
    server: &mut Server,
    begin: impl FnOnce(&mut Server),
    end: impl FnOnce(&mut Server),
    hears: bool,
) {
    let service = Service::on(&server.url());
    service.is_sound().await;
    for node in service.all() {
        service.ask(node, "/posts").await;
    }
    begin(server);
    service.goes_on("one").await;
    assert_eq!(service.change().await, !hears, "deferred");
    // It told how it is, and its own requests are answered rightly all the time.
    assert_eq!(shared(&service.nodes[0]).deferred, u64::from(!hears));
    for n in 0..10 {
        assert!(service.shows(&service.nodes[0], &format!("/two/{n}")).await);
        assert!(service.shows(&service.strict, &format!("/two/{n}")).await);
        assert!(service.shows(&service.strict, "/posts").await);
        assert!(service.shows(&service.nodes[0], "/posts").await);
    }
    end(server);
    service.is_shown_everywhere().await;
    service.is_sound().await;
    service.is_shared().await;
    service.is_shown_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_empty() {
    survives(&mut Server::start(), Server::kill, Server::restart, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_frozen() {
    survives(&mut Server::start(), |s| s.freeze(), |s| s.thaw(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_takes_invalidations_and_is_read() {
    let full = |server: &mut Server| server.config("maxmemory", "1");
    let roomy = |server: &mut Server| server.config("maxmemory", "0");
    survives(&mut Server::start(), full, roomy, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_follows_another_one() {
    let demote = |server: &mut Server| {
        server.cli(&["replicaof", "127.0.0.1", &free_port().to_string()]);
    };
    let promote = |server: &mut Server| {
        server.cli(&["replicaof", "no", "one"]);
    };
    survives(&mut Server::start(), demote, promote, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_busy_with_a_script() {
    let mut spinning: Option<Child> = None;
    let spin = |server: &mut Server| {
        server.config("busy-reply-threshold", "20");
        let child = Command::new("redis-cli")
            .args([
                "-p",
                &server.port.to_string(),
                "eval",
                "while true do end",
                "0",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        spinning = Some(child.unwrap());
        let busy = || server.cli(&["ping"]).starts_with("BUSY");
        assert!(crate::server::eventually(busy));
    };
    let stop = |server: &mut Server| {
        server.cli(&["script", "kill"]);
    };
    survives(&mut Server::start(), spin, stop, false).await;
    spinning.unwrap().wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_absent_at_the_start_is_used_once_it_is_there() {
    let port = free_port();
    let service = Service::on(&format!("redis://127.0.0.1:{port}"));
    service.goes_on("absent").await;
    assert!(service.change().await, "deferred");
    let _server = Server::on(port, &[]);
    service.is_shown_everywhere().await;
    service.is_sound().await;
    service.is_shared().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_loading_or_answers_nonsense_or_nothing_at_all() {
    let loading = Scripted::answering("-LOADING Redis is loading the dataset in memory").port;
    let nonsense = Scripted::answering("HTTP/1.1 400 Bad Request").port;
    let swallowing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let swallowing_port = swallowing.local_addr().unwrap().port();
    for port in [loading, nonsense, swallowing_port] {
        let service = Service::on(&format!("redis://127.0.0.1:{port}"));
        service.goes_on("one").await;
        assert!(service.change().await, "deferred");
        service.goes_on_at_one().await;
        assert_eq!(shared(&service.nodes[0]).deferred, 1);
        assert!(!service.nodes[0].flush(Duration::from_millis(50)).await);
    }
}

impl Service {
    /// Other nodes cannot have heard of what this one invalidated.
    async fn goes_on_at_one(&self) {
        for n in 0..10 {
            for path in [&format!("/after/{n}"), "/posts"] {
                assert!(self.shows(&self.nodes[0], path).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidations_by_handlers_during_an_outage_are_sent_when_it_is_over() {
    let mut server = Server::start();
    let service = Service::on(&server.url());
    service.is_sound().await;
    for node in service.all() {
        service.ask(node, "/posts").await;
    }
    server.kill();
    service.database.change();
    let renamed = Origin::new(|_| {
        let mut response = status(204);
        response
            .extensions_mut()
            .insert(larder::Invalidate::tag("posts"));
        response
    });
    use tower::{Layer, ServiceExt};
    let rename = request("PUT", "/rename", &[], "");
    let answer = service.nodes[0]
        .watch()
        .layer(renamed)
        .oneshot(rename)
        .await
        .unwrap();
    assert_eq!(answer.status(), 204);
    assert!(service.shows(&service.nodes[0], "/posts").await);
    // The tag, and the path of the `PUT`.
    assert_eq!(shared(&service.nodes[0]).deferred, 2);
    server.restart();
    assert!(
        service.nodes[0].flush(LONG).await,
        "a shutdown waits for it"
    );
    service.is_shown_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_leaves_when_redis_has_heard_what_it_invalidates() {
    use tower::{Layer, ServiceExt};
    let server = Server::start();
    let patient = || Redis::builder(server.url()).deadline(LONG).build().unwrap();
    let a = connected(patient(), |b| b).await;
    let b = connected(patient(), |b| b.strict(true)).await;
    let posts = get("/posts", &[]);
    for cached in [false, true] {
        send(&layer(&b), &Origin::counting(), posts.clone()).await;
        let handler = Origin::new(|_| {
            let mut response = status(204);
            response
                .extensions_mut()
                .insert(larder::Invalidate::tag("posts"));
            response
        });
        let rename = request("PUT", "/rename", &[], "");
        server.freeze();
        let answer = match cached {
            false => tokio::spawn(a.watch().layer(handler).oneshot(rename).map_ok(drop)),
            true => tokio::spawn(layer(&a).layer(handler).oneshot(rename).map_ok(drop)),
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!answer.is_finished());
        server.thaw();
        answer.await.unwrap().unwrap();
        assert!(ask(&layer(&b), &posts).await.is_none());
    }
}
