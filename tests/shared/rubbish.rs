//! What lies in Redis is believed only if it is what it must be.

use larder::Cache;
use redis::Connection;

use crate::nodes::*;
use crate::server::Server;
use crate::support::*;

fn set(redis: &mut Connection, key: &str, value: &[u8]) {
    let set = redis::cmd("SET").arg(key).arg(value).query::<()>(redis);
    set.unwrap();
}

fn list(redis: &mut Connection, key: &str) {
    let remade = redis::pipe()
        .del(key)
        .lpush(key, "a list")
        .query::<()>(redis);
    remade.unwrap();
}

/// The one value that is there, and where.
async fn stored(redis: &mut Connection, prefix: &str) -> (String, Vec<u8>) {
    let there = || std::future::ready(entries(redis, prefix).len() == 1);
    eventually(there).await;
    let key = entries(redis, prefix).remove(0);
    let value = redis::cmd("GET").arg(&key).query(redis).unwrap();
    (key, value)
}

/// Asks a node that has nothing near and stores nothing.
async fn ask_for_own(node: &Cache, uri: &str, strict: bool) -> Answer {
    let own = Origin::new(|_| text("own"));
    let layer = layer(node).strict(strict).store_if(|_| false);
    let answer = send(&layer, &own, get(uri, &[])).await;
    assert_eq!(answer.status, 200);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_not_what_was_stored_is_a_miss_and_is_counted() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |b| b).await,
        node(&prefix, |b| b.near(false)).await,
    );
    let mut redis = raw(&SERVER);
    send(
        &layer(&a),
        &Origin::new(|_| text("a's")),
        get("/posts", &[]),
    )
    .await;
    let (key, value) = stored(&mut redis, &prefix).await;
    for strict in [false, true] {
        let answer = ask_for_own(&b, "/posts", strict).await;
        assert_eq!(answer.text(), "a's", "as it lies there it is read");
    }
    let mut rubbish: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"somebody else's".to_vec(),
        b"lrvr\x01".to_vec(),
        b"lrvr\x01\xff\xffaccept".to_vec(),
        b"lrvr\x02\x00\x06accept".to_vec(),
        b"lrvr\x01\x00\x06Accept".to_vec(),
        [&value[..], b"x"].concat(),
        vec![0; 1 << 20],
    ];
    rubbish.extend((0..value.len()).step_by(5).map(|end| value[..end].to_vec()));
    rubbish.extend((0..value.len()).step_by(3).map(|at| {
        let mut flipped = value.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped
    }));
    // The format's next version.
    rubbish.push([&value[..4], &[value[4] + 1], &value[5..]].concat());
    let before = shared(&b).unreadable;
    for (i, rubbish) in rubbish.iter().enumerate() {
        set(&mut redis, &key, rubbish);
        let answer = ask_for_own(&b, "/posts", i % 2 == 0).await;
        assert_eq!(answer.text(), "own", "{rubbish:?}");
    }
    assert_eq!(shared(&b).unreadable - before, rubbish.len() as u64);

    let before = shared(&b).unanswered;
    for strict in [false, true] {
        list(&mut redis, &key);
        assert_eq!(ask_for_own(&b, "/posts", strict).await.text(), "own");
    }
    assert_eq!(shared(&b).unanswered - before, 2);
    assert!(
        shared(&b).redis.up,
        "one value says nothing about the server"
    );

    // Whoever stores next replaces it.
    let c = node(&prefix, |b| b).await;
    send(
        &layer(&c),
        &Origin::new(|_| text("c's")),
        get("/posts", &[]),
    )
    .await;
    eventually(|| async { ask_for_own(&b, "/posts", true).await.text() == "c's" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_lies_under_another_one_s_name_answers_nobody() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |b| b).await,
        node(&prefix, |b| b.near(false)).await,
    );
    let mut redis = raw(&SERVER);
    send(
        &layer(&a),
        &Origin::new(|_| text("secret")),
        get("/secret", &[]),
    )
    .await;
    let (_, secret) = stored(&mut redis, &prefix).await;
    send(
        &layer(&a),
        &Origin::new(|_| text("public")),
        get("/public", &[]),
    )
    .await;
    eventually(|| std::future::ready(entries(&mut redis, &prefix).len() == 2)).await;
    for key in entries(&mut redis, &prefix) {
        set(&mut redis, &key, &secret);
    }
    for strict in [false, true] {
        assert_eq!(ask_for_own(&b, "/public", strict).await.text(), "own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_fields_that_leads_nowhere_is_a_miss() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |b| b).await,
        node(&prefix, |b| b.near(false)).await,
    );
    let mut redis = raw(&SERVER);
    let varies = Origin::with_fields(&[("vary", "accept")]);
    send(&layer(&a), &varies, get("/posts", &[])).await;
    eventually(|| std::future::ready(entries(&mut redis, &prefix).len() == 2)).await;
    // The record under both names: it leads to itself.
    let record = b"lrvr\x01\x00\x06accept";
    for key in entries(&mut redis, &prefix) {
        set(&mut redis, &key, record);
    }
    for strict in [false, true] {
        assert_eq!(ask_for_own(&b, "/posts", strict).await.text(), "own");
    }
    // Fields without end.
    let long = [&b"lrvr\x01"[..], &b"\x00\x01a".repeat(10_000)].concat();
    for key in entries(&mut redis, &prefix) {
        set(&mut redis, &key, &long);
    }
    assert_eq!(ask_for_own(&b, "/posts", false).await.text(), "own");
}

/// Something else in place of the clock.
type Spoil = fn(&mut Connection, &str, &[u8]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_lost_foreign_cut_short_or_set_back_never_shows_what_was_purged() {
    let server = Server::start();
    let spoils: [(&str, Spoil); 7] = [
        ("deleted", |redis, key, _| {
            redis::cmd("DEL").arg(key).query(redis).unwrap()
        }),
        ("a list", |redis, key, _| list(redis, key)),
        ("empty", |redis, key, _| set(redis, key, b"")),
        ("foreign", |redis, key, _| {
            set(redis, key, b"somebody else's")
        }),
        ("zeroes", |redis, key, clock| {
            set(redis, key, &vec![0; clock.len()])
        }),
        ("short", |redis, key, clock| {
            set(redis, key, &clock[..clock.len() / 2])
        }),
        ("set back", |redis, key, clock| set(redis, key, clock)),
    ];
    let mut redis = raw(&server);
    for (name, spoil) in spoils {
        let prefix = prefix();
        let handle = || {
            let redis = larder::Redis::builder(server.url()).prefix(&prefix);
            redis.deadline(LONG).build().unwrap()
        };
        let (a, b) = (
            connected(handle(), |b| b).await,
            connected(handle(), |b| b.strict(true)).await,
        );
        let database = Database::default();
        let posts = get("/posts", &[]);
        for node in [&a, &b] {
            send(&layer(node), &database.handler(), posts.clone()).await;
        }
        let key = format!("{prefix}:c");
        let clock: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut redis).unwrap();
        database.change();
        assert!(!b.invalidate_tag("posts").await.deferred, "{name}");
        spoil(&mut redis, &key, &clock);
        for _ in 0..20 {
            let answer = send(&layer(&b), &database.handler(), posts.clone()).await;
            assert_eq!(answer.text(), database.now("/posts"), "{name}");
        }
        let new = || async {
            let answer = send(&layer(&a), &database.handler(), posts.clone()).await;
            answer.text() == database.now("/posts")
        };
        eventually(new).await;
        // It recovers by itself, and invalidations reach everybody again.
        for _ in 0..2 {
            eventually(|| async { shared(&a).sound && shared(&b).sound }).await;
            eventually(|| async {
                let answer = send(&layer(&b), &database.handler(), posts.clone()).await;
                assert_eq!(answer.text(), database.now("/posts"), "{name}");
                answer.is_hit()
            })
            .await;
            eventually(new).await;
            database.change();
            // A reply of a life of the clock that is not known here yet is not believed: it is sent again.
            let _ = a.invalidate_tag("posts").await;
            eventually(|| async { shared(&a).deferred == 0 }).await;
            let answer = send(&layer(&b), &database.handler(), posts.clone()).await;
            assert_eq!(answer.text(), database.now("/posts"), "{name}");
        }
    }
}
