//! Users, and what a look into Redis tells about them.

use larder::user;

use crate::nodes::*;
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_ever_shown_what_was_made_for_another_one() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |b| b).await,
        node(&prefix, |b| b.near(false)).await,
    );
    let route = |cache| layer(cache).per_user(user::from_header("authorization"));
    let me = |user: &str| get("/me", &[("authorization", user)]);
    let handler = Origin::new(|request| {
        let user = request.headers()["authorization"].to_str().unwrap();
        text(format!("for {user} alone"))
    });
    let users: Vec<String> = (0..50).map(|n| format!("Bearer user-{n}")).collect();
    for user in &users {
        send(&route(&a), &handler, me(user)).await;
    }
    for user in &users {
        let answer = served(&route(&b), &me(user)).await;
        assert_eq!(answer.text(), format!("for {user} alone"));
    }
    // Whoever can write in Redis can still not have one shown to another.
    let mut redis = raw(&SERVER);
    let keys = entries(&mut redis, &prefix);
    assert_eq!(keys.len(), users.len());
    let one: Vec<u8> = redis::cmd("GET").arg(&keys[0]).query(&mut redis).unwrap();
    for key in &keys {
        redis::cmd("SET")
            .arg(key)
            .arg(&one)
            .query::<()>(&mut redis)
            .unwrap();
    }
    let mut shown = 0;
    for user in &users {
        if let Some(answer) = ask(&route(&b), &me(user)).await {
            assert_eq!(answer.text(), format!("for {user} alone"));
            shown += 1;
        }
    }
    assert_eq!(shown, 1, "its own user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_redis_tell_nothing_of_users_paths_queries_or_tags() {
    let prefix = prefix();
    let a = node(&prefix, |b| b).await;
    let route = layer(&a)
        .per_user(user::from_header("x-user"))
        .tag("confidential-tag");
    let origin = Origin::with_fields(&[("vary", "x-word")]);
    let asked = get(
        "/confidential?confidential=1",
        &[("x-user", "confidential"), ("x-word", "confidential")],
    );
    send(&route, &origin, asked).await;
    let compute = || async { Ok::<_, std::convert::Infallible>(1) };
    let value = a
        .get_or_compute("confidential", MINUTE, ["confidential"], compute)
        .await;
    assert_eq!(value, Ok(1));
    let _ = a.invalidate_tag("confidential-other").await;
    let mut redis = raw(&SERVER);
    eventually(|| std::future::ready(entries(&mut redis, &prefix).len() == 3)).await;
    let all: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
    let channels: Vec<String> = redis::cmd("PUBSUB")
        .arg("CHANNELS")
        .query(&mut redis)
        .unwrap();
    for name in all.iter().chain(&channels) {
        assert!(!name.contains("confidential"), "{name}");
    }
}
