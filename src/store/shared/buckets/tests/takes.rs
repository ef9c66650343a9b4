//! What is taken, refused and given back.

use std::sync::Arc;

use super::{
    calls, charge, eventually, node, steps, still, Duration, Server, HOUR, MINUTE, SECOND,
};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::{scripts, Change, Policy, SharedBuckets, Unavailable};

/// How often a charge can be taken at once.
async fn fits(buckets: &SharedBuckets, principal: u128, policy: &Policy, cost: u64) -> u64 {
    let (granted, _) = buckets
        .take_up_to(&charge(principal, policy, cost), 1_000)
        .await
        .unwrap();
    granted
}

#[tokio::test]
async fn a_full_bucket_grants_its_capacity_and_says_how_long_to_wait() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = Policy::new("thirds", &Quota::new(3, HOUR).capacity(10));
    for n in 1..=10_u32 {
        let taken = buckets.take(&[charge(1, &policy, 1)]).await.unwrap();
        assert!(taken.granted, "{n}");
        let left = (HOUR * n / 3).abs_diff(taken.debts[0]);
        assert!(left < MINUTE, "{n}: {:?}", taken.debts);
    }
    let refused = buckets.take(&[charge(1, &policy, 1)]).await.unwrap();
    assert!(!refused.granted);
    assert!(HOUR * 10 / 3 - refused.debts[0] < MINUTE, "{refused:?}");
    assert!(
        buckets
            .take(&[charge(2, &policy, 10)])
            .await
            .unwrap()
            .granted
    );
    assert_eq!(fits(&buckets, 3, &policy, 3).await, 3);
    assert_eq!(server.cli(&["dbsize"]), "3");
}

#[tokio::test]
async fn all_buckets_grant_or_none_is_touched_and_the_same_one_twice_is_summed() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let (few, many) = (still("few", 3), still("many", 10));
    let both = |cost| [charge(1, &many, cost), charge(1, &few, cost)];
    let before = calls(&server);
    assert!(buckets.take(&both(2)).await.unwrap().granted);
    assert_eq!(calls(&server), before + 2, "by hash, then with the source");
    let refused = buckets.take(&both(2)).await.unwrap();
    assert!(!refused.granted);
    assert_eq!(calls(&server), before + 3, "one trip");
    assert_eq!(refused.debts.len(), 2);
    let twice = [charge(2, &few, 2), charge(2, &few, 2)];
    assert!(!buckets.peek(&twice).await.unwrap().granted);
    assert!(!buckets.take(&twice).await.unwrap().granted);
    assert_eq!(fits(&buckets, 1, &many, 1).await, 8);
    assert_eq!(fits(&buckets, 1, &few, 1).await, 1);
    assert_eq!(fits(&buckets, 2, &few, 1).await, 3);
}

#[tokio::test]
async fn what_was_taken_of_one_principal_is_given_back_when_another_refuses() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let (user, all) = (still("user", 5), still("all", 3));
    let everybody = 0;
    let of = |user_id| [charge(user_id, &user, 2), charge(everybody, &all, 2)];
    assert!(buckets.take(&of(1)).await.unwrap().granted);
    let refused = buckets.take(&of(2)).await.unwrap();
    assert!(!refused.granted);
    assert_eq!(refused.debts[0], Duration::ZERO, "as if it had not asked");
    assert!(refused.debts[1] > HOUR * 2 - MINUTE);
    let all_of_it = [charge(2, &user, 5)];
    eventually(async || buckets.peek(&all_of_it).await.unwrap().granted).await;
    // The first refuses: the second is asked how it stands, and nothing more.
    let refused = buckets
        .take(&[charge(1, &user, 4), charge(everybody, &all, 1)])
        .await
        .unwrap();
    assert!(!refused.granted && refused.debts[1] > HOUR * 2 - MINUTE);
    assert_eq!(fits(&buckets, everybody, &all, 1).await, 1);
}

#[tokio::test]
async fn refunds_end_at_full_charges_at_their_limit_and_pauses_with_their_time() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("some", 5);
    let adjust = async |change| buckets.adjust(1, &policy, change).await.unwrap();
    assert_eq!(adjust(Change::Refund(3)).await, Duration::ZERO);
    assert_eq!(fits(&buckets, 1, &policy, 1).await, 5);
    assert!(
        !buckets
            .take(&[charge(1, &policy, 1)])
            .await
            .unwrap()
            .granted
    );
    let owing = adjust(Change::Charge {
        tokens: 9,
        beyond: 2,
    })
    .await;
    assert!(
        owing > HOUR * 7 - MINUTE && owing < HOUR * 7 + SECOND,
        "{owing:?}"
    );
    adjust(Change::Refund(3)).await;
    let taken = buckets.take(&[charge(1, &policy, 1)]).await.unwrap();
    assert!(
        taken.granted,
        "a refusal that was known is not believed any more"
    );
    assert!(
        !buckets
            .take(&[charge(1, &policy, 1)])
            .await
            .unwrap()
            .granted
    );

    let fast = Policy::new("fast", &Quota::per_second(1_000));
    let other = node(&server.url()).await;
    let began = tokio::time::Instant::now();
    let pause = Change::Pause(SECOND / 5);
    buckets.adjust(1, &fast, pause).await.unwrap();
    let one = [charge(1, &fast, 1)];
    eventually(async || other.take(&one).await.unwrap().granted).await;
    assert!(began.elapsed() >= SECOND / 5, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_bucket_ends_with_its_debt_and_not_before() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 5);
    assert!(
        buckets
            .take(&[charge(1, &policy, 1)])
            .await
            .unwrap()
            .granted
    );
    let key = server.cli(&["keys", "*"]);
    assert_eq!(key, format!("test:b:{{{:032x}}}:p", 1));
    let lasts = || Duration::from_millis(server.cli(&["pttl", &key]).parse().unwrap());
    let is_about = |expected: Duration| {
        let lasts = lasts();
        assert!(lasts <= expected && lasts > expected - MINUTE, "{lasts:?}");
    };
    is_about(5 * HOUR + SECOND);
    buckets
        .adjust(1, &policy, Change::Pause(HOUR))
        .await
        .unwrap();
    is_about(6 * HOUR + SECOND + SECOND / 1_000);
}

#[tokio::test]
async fn what_is_not_a_bucket_is_a_full_one_and_what_is_not_a_string_no_answer() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 5);
    let key = |principal: u128| format!("test:b:{{{principal:032x}}}:p");
    let nan = r"\xff\xff\xff\xff\xff\xff\xff\xff".repeat(2);
    let printf = format!(
        "printf '{nan}' | redis-cli -p {} -x set '{}'",
        server.port,
        key(3)
    );
    server.cli(&["set", &key(1), "rubbish"]);
    server.cli(&["set", &key(2), "sixteen letters."]);
    let shell = std::process::Command::new("sh")
        .args(["-c", &printf])
        .output();
    assert!(shell.unwrap().status.success());
    for principal in 1..=3 {
        assert_eq!(
            fits(&buckets, principal, &policy, 1).await,
            5,
            "{principal}"
        );
        let more = buckets
            .take(&[charge(principal, &policy, 1)])
            .await
            .unwrap();
        assert!(!more.granted, "{principal}");
    }
    for principal in 4..=6 {
        server.cli(&["set", &key(principal), "sixteen letters."]);
        let taken = buckets
            .take(&[charge(principal, &policy, 5)])
            .await
            .unwrap();
        assert!(taken.granted, "{principal}");
    }
    server.cli(&["lpush", &key(7), "a"]);
    let taken = buckets.take(&[charge(7, &policy, 1)]).await;
    assert_eq!(taken, Err(Unavailable::Refused));
}

#[tokio::test]
async fn a_server_that_is_full_or_has_forgotten_the_scripts_is_no_error() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 5);
    assert!(
        buckets
            .take(&[charge(1, &policy, 5)])
            .await
            .unwrap()
            .granted
    );
    server.cli(&["script", "flush"]);
    assert!(
        buckets
            .take(&[charge(2, &policy, 1)])
            .await
            .unwrap()
            .granted
    );
    server.config("maxmemory", "1");
    let taken = buckets.take(&[charge(2, &policy, 1)]).await;
    assert_eq!(taken, Err(Unavailable::Full));
    let refused = buckets.take(&[charge(1, &policy, 1)]).await.unwrap();
    assert!(!refused.granted, "a refusal writes nothing");
    server.config("maxmemory", "0");
    assert!(
        buckets
            .take(&[charge(2, &policy, 4)])
            .await
            .unwrap()
            .granted
    );
}

#[tokio::test]
async fn a_refusal_that_is_known_is_not_asked_again_until_it_may_have_changed() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = Policy::new("p", &Quota::per_second(10));
    let began = tokio::time::Instant::now();
    assert!(
        buckets
            .take(&[charge(1, &policy, 10)])
            .await
            .unwrap()
            .granted
    );
    assert!(
        !buckets
            .take(&[charge(1, &policy, 9)])
            .await
            .unwrap()
            .granted
    );
    let before = calls(&server);
    let mut last = Duration::MAX;
    for _ in 0..100 {
        let refused = buckets.take(&[charge(1, &policy, 9)]).await.unwrap();
        assert!(!refused.granted && refused.debts[0] <= last);
        last = refused.debts[0];
    }
    if began.elapsed() < SECOND / 2 {
        assert_eq!(calls(&server), before);
    }
    let nine = [charge(1, &policy, 9)];
    eventually(async || buckets.take(&nine).await.unwrap().granted).await;
    // Nine tokens take nine tenths of a second, on the clock of Redis.
    assert!(began.elapsed() > SECOND * 8 / 10, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_refusals_changes_no_bucket() {
    let server = Server::start();
    let redis = node(&server.url()).await.inner.redis.clone();
    let policies = Arc::new([still("a", 4), still("b", 7), still("c", 9)]);
    let keys: Vec<String> = (0..30).map(|key| format!("{{test}}:{key}")).collect();
    for (n, key) in keys.iter().enumerate() {
        // Nothing is left in one of three, and some in the others.
        let cost = if n % 3 == 0 { 4 } else { 1 + n as u64 % 4 };
        let ask = policies[n % 3].ask(cost);
        let taken = scripts::one(&redis, key.as_bytes(), ask, MINUTE).await;
        assert!(taken.unwrap().granted);
    }
    let state = || {
        let values = keys.iter().map(|key| server.cli(&["--no-raw", "get", key]));
        values.collect::<Vec<_>>()
    };
    let before = state();
    let callers = (0..16).map(|caller: usize| {
        let (redis, policies, keys) = (redis.clone(), Arc::clone(&policies), keys.clone());
        tokio::spawn(async move {
            for step in 0..steps(20_000) / 16 {
                let first = (caller * 7 + step) % 10 * 3;
                let group: Vec<_> = keys[first..first + 3]
                    .iter()
                    .map(String::as_bytes)
                    .collect();
                let asks = [1, 2, 1].map(|cost| policies[cost as usize - 1].ask(cost));
                let asks = [asks[0], asks[1], policies[2].ask(1)];
                let granted = match step % 3 {
                    0 => {
                        scripts::take(&redis, &group, &asks, 1, MINUTE)
                            .await
                            .unwrap()
                            .0
                    }
                    1 => {
                        scripts::one(&redis, group[0], asks[0], MINUTE)
                            .await
                            .unwrap()
                            .granted
                    }
                    _ => {
                        let run = scripts::Run {
                            ask: asks[0],
                            number: 5,
                        };
                        let taken = scripts::batch(&redis, group[0], 0.0, &[run], MINUTE).await;
                        taken.unwrap().1[0] > 0
                    }
                };
                assert!(!granted);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(state(), before);
}

#[test]
fn a_token_that_takes_long_is_not_granted_early() {
    let quota = Quota::strict(1, 24 * HOUR);
    let ask = Policy::new("p", &quota).ask(1);
    let early = |micros: f64| ask.answered(micros).granted;
    assert!(
        early(3.0) && !early(5.0),
        "by no more than what is rounded away"
    );
}
