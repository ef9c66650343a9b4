//! What does a decision through Redis cost, over a raw `GET`?
//!
//! Both ask one server over one connection, in turns; the ratio of their rates is taken round by round, and its
//! median printed.

#[path = "../../../tests/support/server.rs"]
mod server;

use std::future::Future;
use std::time::{Duration, Instant};

use larder::limit::Key;
use larder::{Limiter, Quota, Redis};
use redis::aio::MultiplexedConnection;

const ROUNDS: usize = 15;
const KEYS: usize = 10_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let server = server::Server::start();
    let raw = raw(&server).await;
    let limiters = limiters(&server).await;
    let names: &'static [String] = (0..KEYS)
        .map(|n| format!("user:{n}"))
        .collect::<Vec<_>>()
        .leak();
    for name in names {
        let set = redis::cmd("SET").arg(name).arg("x".repeat(16)).to_owned();
        set.query_async::<()>(&mut raw.clone())
            .await
            .expect("it is stored");
    }
    let get = |n: usize| {
        let mut raw = raw.clone();
        async move {
            let get = redis::cmd("GET").arg(&names[n % KEYS]).to_owned();
            get.query_async::<Vec<u8>>(&mut raw).await.is_ok()
        }
    };
    let take = |limiter: &Limiter, hot: bool| {
        let limiter = limiter.clone();
        move |n: usize| {
            let limiter = limiter.clone();
            async move {
                let name = if hot { "hot" } else { &names[n % KEYS] };
                limiter.take(name, 1).await.is_admitted()
            }
        }
    };
    let all = limiters.clone();
    let three = move |n: usize| {
        let all = all.clone();
        async move {
            let charge = |at: usize| (&all[at], Key::from(&names[n % KEYS]), 1);
            let decisions = Limiter::take_all(&[charge(0), charge(1), charge(2)]).await;
            decisions.iter().all(|decision| decision.is_admitted())
        }
    };
    let (one, hot) = (take(&limiters[0], false), take(&limiters[0], true));
    let (leased, leased_hot) = (take(&limiters[3], false), take(&limiters[3], true));

    println!("| over a raw GET | 64 at once | p50, one at a time |");
    println!("| --- | --- | --- |");
    let mut rounds: [Vec<(f64, f64)>; 6] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(both(&get).await);
        rounds[1].push(both(&one).await);
        rounds[2].push(both(&three).await);
        rounds[3].push(both(&hot).await);
        rounds[4].push(both(&leased).await);
        rounds[5].push(both(&leased_hot).await);
    }
    let titles = [
        "one limit",
        "three limits",
        "one key of all",
        "leases",
        "leases, one key of all",
    ];
    let get = rounds[0].clone();
    println!(
        "| (GET) | {:.0} per second | {:.0} µs |",
        median(get.iter().map(|r| r.0)),
        median(get.iter().map(|r| r.1))
    );
    for (title, round) in titles.iter().zip(&rounds[1..]) {
        let rate = median(round.iter().zip(&get).map(|(ours, get)| ours.0 / get.0));
        let p50 = median(round.iter().zip(&get).map(|(ours, get)| ours.1 / get.1));
        println!("| {title} | {rate:.2} | {p50:.2} |");
    }
    let three = rounds[2]
        .iter()
        .zip(&rounds[1])
        .map(|(three, one)| three.0 / one.0);
    println!("\nthree limits over one: {:.2}", median(three));
}

/// Decisions per second with 64 at once, and the median time of one alone, in microseconds.
async fn both<F, Asked>(ask: &F) -> (f64, f64)
where
    F: Fn(usize) -> Asked,
    Asked: Future<Output = bool> + Send + 'static,
{
    let each = 300;
    let began = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..64 {
        let asks: Vec<_> = (0..each).map(|n| ask(lane * each + n)).collect();
        lanes.spawn(async move {
            for asked in asks {
                assert!(asked.await);
            }
        });
    }
    lanes.join_all().await;
    let rate = (64 * each) as f64 / began.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for n in 0..500 {
        let began = Instant::now();
        assert!(ask(n).await);
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    (rate, median(times.into_iter()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn raw(server: &server::Server) -> MultiplexedConnection {
    let mut info: redis::ConnectionInfo = server.url().parse().expect("a URL");
    info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let client = redis::Client::open(info).expect("a client");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection")
}

/// Three limits of one principal, and one with leases.
async fn limiters(server: &server::Server) -> [Limiter; 4] {
    let redis = Redis::builder(server.url())
        .connections(1)
        .deadline(Duration::from_secs(1))
        .build()
        .expect("the settings agree");
    assert!(redis.connected(Duration::from_secs(5)).await);
    let first = Limiter::builder(Quota::per_second(10_000_000))
        .name("a")
        .redis(redis);
    let limiter = |name: &'static str| {
        first
            .clone()
            .name(name)
            .build()
            .expect("the settings agree")
    };
    let leased = first.clone().name("leased").leases(2, 0.01);
    [
        limiter("a"),
        limiter("b"),
        limiter("c"),
        leased.build().expect("the settings agree"),
    ]
}
