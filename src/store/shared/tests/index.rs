//! How many responses an invalidation reached, and what became of them.

use std::time::Duration;

use tokio::time::Instant;

use super::processes::{eventually, now, process, process_at, Process};
use super::server::Server;
use crate::policy::tag::TagHash;
use crate::store::invalidation::Strength::{self, Hard, Soft};

pub(super) const MINUTE: Duration = Duration::from_secs(60);

async fn indexed(server: &Server) -> Process {
    indexed_at(&server.url()).await
}

pub(super) async fn indexed_at(url: &str) -> Process {
    let plain = process_at(url).await;
    Process {
        responses: plain.responses.with_index(),
        ..plain
    }
}

impl Process {
    /// Stores responses under keys that begin with `name`, and waits until they lie there.
    async fn keep(&self, server: &Server, name: &str, number: usize, tags: &[&str], ttl: Duration) {
        // The last tag is entered last.
        let index = index(tags[tags.len() - 1]);
        let cards = || server.cli(&["zcard", &index]).parse::<usize>().unwrap();
        let expected = cards() + number;
        for n in 0..number {
            let key = format!("{name} {n}");
            let stored = self.make_of(key.as_bytes(), Vec::new(), tags, ttl);
            self.responses.store(&stored, now(), None);
        }
        assert!(
            eventually(|| async { cards() == expected }).await,
            "{}",
            cards()
        );
    }

    pub(super) async fn reached(&self, tags: &[&str], strength: Strength) -> Option<u64> {
        let tags: Vec<_> = tags.iter().map(|tag| TagHash::named(tag)).collect();
        self.responses.reached(&tags, strength).await
    }
}

fn index(tag: &str) -> String {
    format!("test:i:1:1:{{{:016x}}}", TagHash::named(tag).0)
}

fn number_of_keys(server: &Server) -> usize {
    server.cli(&["dbsize"]).parse().unwrap()
}

/// Puts responses with a tag where they lie, as long lists are made faster than by storing.
pub(super) fn fill(server: &Server, tag: &str, number: usize, ttl: Duration) {
    const FILL: &str = "
        local ttl = tonumber(ARGV[3])
        for n = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
            local digest = struct.pack('>I8I8', 0, n)
            redis.call('SET', string.format('test:e:1:1:{%032x}', n), 'a response', 'PX', ttl)
            local time = redis.call('TIME')
            local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ttl
            redis.call('ZADD', KEYS[1], string.format('%.0f', ends), digest)
        end
        redis.call('PEXPIRE', KEYS[1], ttl)";
    for from in (0..number).step_by(20_000) {
        let (first, end) = (from.to_string(), (from + 20_000).min(number).to_string());
        let ttl = ttl.as_millis().to_string();
        server.cli(&["eval", FILL, "1", &index(tag), &first, &end, &ttl]);
    }
    assert_eq!(server.cli(&["zcard", &index(tag)]), number.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn few_are_counted_exactly_and_once_and_are_gone_when_they_are_counted() {
    let server = Server::start();
    let a = indexed(&server).await;
    let b = indexed(&server).await;
    a.keep(&server, "one", 40, &["a"], MINUTE).await;
    a.keep(&server, "both", 20, &["a", "b"], MINUTE).await;
    b.keep(&server, "other", 10, &["b"], MINUTE).await;
    assert_eq!(b.reached(&["a"], Soft).await, Some(60));
    assert_eq!(b.reached(&["a", "b", "a"], Soft).await, Some(70));
    assert_eq!(b.reached(&["c"], Soft).await, Some(0));
    assert_eq!(number_of_keys(&server), 1 + 70 + 2, "a count frees nothing");

    assert_eq!(b.reached(&["b"], Hard).await, Some(30));
    assert_eq!(number_of_keys(&server), 1 + 40 + 1, "counted is freed");
    assert_eq!(a.reached(&["b"], Hard).await, Some(0));
    assert_eq!(
        a.reached(&["a", "b"], Hard).await,
        Some(40),
        "those with both are gone"
    );
    assert_eq!(a.reached(&["a"], Hard).await, Some(0));
    assert_eq!(number_of_keys(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_lies_under_all_its_tags_and_what_varies_is_counted_by_variant() {
    let server = Server::start();
    let a = indexed(&server).await;
    let fields = |language: &[u8]| {
        let name = http::header::ACCEPT_LANGUAGE;
        let value = Some(language.into());
        vec![crate::policy::stored::VaryField { name, value }]
    };
    for language in [b"de", b"fr"] {
        let stored = a.make_of(b"key", fields(language), &["a", "b"], MINUTE);
        a.responses.store(&stored, now(), None);
    }
    let two = || async { a.reached(&["b"], Soft).await == Some(2) };
    assert!(eventually(two).await);
    assert_eq!(a.reached(&["a"], Soft).await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_or_was_evicted_is_not_counted_and_leaves_the_index() {
    let server = Server::start();
    let a = indexed(&server).await;
    a.keep(&server, "long", 3, &["a"], MINUTE).await;
    let lasts = || server.cli(&["pttl", &index("a")]).parse::<u64>().unwrap();
    assert!(lasts() > 50_000);
    a.keep(&server, "short", 20, &["a"], Duration::from_millis(400))
        .await;
    assert!(lasts() > 50_000, "as long as the last of them");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(a.reached(&["a"], Soft).await, Some(3));
    // Its index says that it is there.
    let evicted = a.driver.keys().entry(b"long 1", &[]);
    server.cli(&["del", &String::from_utf8(evicted).unwrap()]);
    assert_eq!(a.reached(&["a"], Soft).await, Some(2));

    // Those who come make room.
    let cards = || server.cli(&["zcard", &index("a")]).parse::<u64>().unwrap();
    assert_eq!(cards(), 23);
    for n in 0..10 {
        let stored = a.make_of(&[n], Vec::new(), &["a"], MINUTE);
        a.responses.store(&stored, now(), None);
    }
    assert!(eventually(|| async { cards() == 13 }).await, "{}", cards());
    assert_eq!(a.reached(&["a"], Hard).await, Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_counted_by_the_length_of_their_list_and_freed_in_the_background() {
    let server = Server::start();
    let a = indexed(&server).await;
    a.keep(&server, "few", 5, &["few"], MINUTE).await;
    fill(&server, "many", 2500, MINUTE);
    // Stored anew since it was entered, as happens while the list is worked off.
    let anew = format!("test:e:1:1:{{{:032x}}}", 2400);
    server.cli(&["set", &anew, "anew", "px", "120000"]);
    server.cli(&["zadd", &index("many"), "1", "ended long ago"]);
    assert_eq!(a.reached(&["many", "few"], Soft).await, Some(2505));
    assert_eq!(number_of_keys(&server), 1 + 2500 + 1 + 5 + 1);

    assert_eq!(a.reached(&["many"], Hard).await, Some(2500));
    assert_eq!(a.reached(&["many"], Hard).await, Some(0), "at once");
    let left = || number_of_keys(&server);
    assert!(
        eventually(|| async { left() == 1 + 1 + 6 }).await,
        "{}",
        left()
    );
    assert_eq!(server.cli(&["get", &anew]), "anew");

    // Several long ones wait for each other.
    for tag in ["x", "y", "z"] {
        fill(&server, tag, 1200, MINUTE);
    }
    assert_eq!(
        a.reached(&["x", "y", "z"], Hard).await,
        Some(3600),
        "not more than"
    );
    assert!(
        eventually(|| async { left() <= 1 + 1 + 6 }).await,
        "{}",
        left()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_index_or_without_redis_nothing_is_known_and_nobody_waits() {
    let mut server = Server::start();
    let (plain, a) = (process(&server).await, indexed(&server).await);
    assert_eq!(plain.reached(&["a"], Hard).await, None);
    plain.fill().await;
    assert_eq!(
        number_of_keys(&server),
        2,
        "nothing but the clock and the response"
    );
    a.keep(&server, "one", 1, &["a"], MINUTE).await;
    server.kill();
    assert!(eventually(|| async { !a.driver.is_sound() }).await);
    let began = Instant::now();
    for strength in [Hard, Soft] {
        assert_eq!(a.reached(&["a"], strength).await, None);
    }
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
}

/// Prints how long an invalidation takes, and what others notice while the responses are freed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures: they take a minute and 300 MiB"]
async fn what_it_costs_to_invalidate_100_or_a_million() {
    let server = Server::start();
    let a = indexed(&server).await;
    a.reached(&["none"], Hard).await; // sends the script
    let quiet = longest_call(&a, || async { false }).await;
    println!("nothing else going on: longest call {quiet:?}");
    for number in [100, 1000, 10_000, 1_000_000] {
        let mut took = Vec::new();
        for _ in 0..(10_000 / number).clamp(1, 9) {
            fill(&server, "a", number, 60 * MINUTE);
            let began = Instant::now();
            assert_eq!(a.reached(&["a"], Hard).await, Some(number as u64));
            took.push(began.elapsed());
        }
        took.sort();
        let began = Instant::now();
        let stall = longest_call(&a, || async { number_of_keys_left(&a).await > 1 }).await;
        println!(
            "{number}: {:?}; freed after {:?}, longest call of others {stall:?}",
            took[took.len() / 2],
            began.elapsed()
        );
    }
}

/// The longest that another call took, for a second or for as long as something goes on.
async fn longest_call<F: std::future::Future<Output = bool>>(
    process: &Process,
    mut goes_on: impl FnMut() -> F,
) -> Duration {
    let mut longest = Duration::ZERO;
    loop {
        for _ in 0..1000 {
            let asked = Instant::now();
            let _ = process.driver.redis().get(b"test:any").await;
            longest = longest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if !goes_on().await {
            return longest;
        }
    }
}

async fn number_of_keys_left(process: &Process) -> i64 {
    let redis = process.driver.redis();
    match redis.run(b"", redis::cmd("DBSIZE"), MINUTE).await {
        Ok(redis::Value::Int(number)) => number,
        _ => i64::MAX,
    }
}
