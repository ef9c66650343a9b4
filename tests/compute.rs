//! `get_or_compute`: cache-aside for what is not a response.

#[path = "support/drive.rs"]
mod drive;
mod support;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use drive::*;
use larder::{Cache, Invalidate};
use serde::{Deserialize, Serialize};
use support::*;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Post {
    id: u64,
    title: String,
    tags: Vec<String>,
}

fn post(id: u64) -> Post {
    Post {
        id,
        title: format!("post {id}"),
        tags: vec!["tech".to_owned()],
    }
}

/// A source of numbers that counts its calls, each of which waits for a permit.
#[derive(Clone)]
struct Source {
    permits: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
}

impl Source {
    fn new(permits: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            calls: Arc::default(),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The number of the call.
    async fn next(self) -> Result<usize, String> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.permits.acquire().await.unwrap().forget();
        Ok(number)
    }

    /// Fails for the first `failures` calls.
    async fn fail(self, failures: usize) -> Result<usize, String> {
        let number = self.next().await?;
        if number <= failures {
            return Err(format!("failure {number}"));
        }
        Ok(number)
    }

    fn ask(&self, cache: &Cache) -> impl Future<Output = Result<usize, String>> {
        let (source, cache) = (self.clone(), cache.clone());
        async move {
            cache
                .get_or_compute("number", MINUTE, ["numbers"], || source.next())
                .await
        }
    }

    fn ask_many(&self, count: usize, cache: &Cache) -> Vec<JoinHandle<Result<usize, String>>> {
        (0..count).map(|_| tokio::spawn(self.ask(cache))).collect()
    }
}

async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut values = Vec::new();
    for task in tasks {
        assert!(task.is_finished(), "a caller is stuck");
        values.push(task.await.unwrap());
    }
    values
}

#[tokio::test]
async fn a_typed_value_is_computed_once_and_read_back_as_it_was() {
    let (cache, _clock) = cache();
    for (id, computed) in [(7, true), (7, false), (8, true)] {
        let mut called = false;
        let compute = || {
            called = true;
            async move { Ok::<_, Infallible>(post(id)) }
        };
        let key = format!("post:{id}");
        let value = cache.get_or_compute(&key, MINUTE, ["posts"], compute).await;
        assert_eq!(value.unwrap(), post(id));
        assert_eq!(called, computed, "{id}");
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.hits, stats.misses, stats.stored, stats.entries),
        (1, 2, 2, 2)
    );
}

#[tokio::test]
async fn a_value_lives_as_long_as_its_ttl_and_no_longer() {
    let (cache, clock) = cache();
    let source = Source::new(9);
    assert_eq!(source.ask(&cache).await, Ok(1));
    clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(source.ask(&cache).await, Ok(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(source.ask(&cache).await, Ok(2));
}

#[tokio::test]
async fn a_value_with_a_ttl_of_zero_is_not_stored_and_holds_nobody_up() {
    let (cache, _clock) = cache();
    let source = Source::new(0);
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let (source, cache) = (source.clone(), cache.clone());
            tokio::spawn(async move {
                cache
                    .get_or_compute("number", Duration::ZERO, [] as [&str; 0], || source.next())
                    .await
            })
        })
        .collect();
    settle().await;
    source.permits.add_permits(1);
    settle().await;
    assert_eq!(source.calls(), 10);
    source.permits.add_permits(9);
    settle().await;
    all(callers).await;
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn values_are_invalidated_by_their_tags_and_with_everything_and_counted() {
    let (cache, _clock) = cache();
    let source = Source::new(9);
    assert_eq!(source.ask(&cache).await, Ok(1));
    assert_eq!(cache.invalidate_tag("other").await.entries, Some(0));
    assert_eq!(source.ask(&cache).await, Ok(1));
    assert_eq!(cache.invalidate_tag("numbers").await.entries, Some(1));
    assert_eq!(source.ask(&cache).await, Ok(2));
    assert_eq!(cache.invalidate_all().await.entries, Some(1));
    assert_eq!(source.ask(&cache).await, Ok(3));
    drop(cache.invalidate(Invalidate::tag("numbers").soft()));
    assert_eq!(
        source.ask(&cache).await,
        Ok(4),
        "a typed value is never used stale"
    );
}

#[tokio::test]
async fn values_and_responses_of_one_name_are_apart() {
    let (cache, _clock) = cache();
    let source = Source::new(9);
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::counting();
    send(&layer, &origin, get("/number", &[])).await;
    let value = cache
        .get_or_compute("/number", MINUTE, ["/number"], || source.clone().next())
        .await;
    assert_eq!(value, Ok(1));
    assert_eq!(cache.invalidate_uri("/number").await.entries, Some(1));
    let value = cache
        .get_or_compute("/number", MINUTE, ["/number"], || source.clone().next())
        .await;
    assert_eq!(value, Ok(1), "a value has no URI");
}

#[tokio::test]
async fn a_value_of_another_type_is_computed_anew() {
    let (cache, _clock) = cache();
    let as_text = || async { Ok::<_, Infallible>("seven".to_owned()) };
    let as_number = || async { Ok::<_, Infallible>(7u64) };
    let no_tags = [] as [&str; 0];
    let text: String = cache
        .get_or_compute("k", MINUTE, no_tags, as_text)
        .await
        .unwrap();
    let number: u64 = cache
        .get_or_compute("k", MINUTE, no_tags, as_number)
        .await
        .unwrap();
    assert_eq!((text.as_str(), number), ("seven", 7));
    // The latest one is the one that is stored.
    let again: u64 = cache
        .get_or_compute("k", MINUTE, no_tags, || async { Ok::<_, Infallible>(8) })
        .await
        .unwrap();
    assert_eq!(again, 7);
    assert_eq!(cache.stats().entries, 1);
}

#[tokio::test]
async fn concurrent_callers_of_one_key_wait_for_one_computation() {
    let (cache, _clock) = cache();
    let source = Source::new(0);
    let callers = source.ask_many(256, &cache);
    settle().await;
    assert_eq!(source.calls(), 1);
    source.permits.add_permits(1);
    settle().await;
    assert_eq!(all(callers).await, vec![Ok(1); 256]);
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.collapsed), (1, 255));
}

#[tokio::test]
async fn an_error_goes_to_its_own_caller_and_another_one_tries() {
    let (cache, _clock) = cache();
    let source = Source::new(0);
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let (source, cache) = (source.clone(), cache.clone());
            tokio::spawn(async move {
                cache
                    .get_or_compute("number", MINUTE, ["numbers"], || source.fail(1))
                    .await
            })
        })
        .collect();
    settle().await;
    source.permits.add_permits(2);
    settle().await;
    let mut answers = all(callers).await;
    answers.sort();
    assert_eq!(answers[..4], vec![Ok(2); 4]);
    assert_eq!(answers[4], Err("failure 1".to_owned()));
    assert_eq!(source.calls(), 2);
}

#[tokio::test]
async fn a_computation_that_panics_leaves_the_others_to_try() {
    let (cache, _clock) = cache();
    let of_leader = cache.clone();
    let leader = tokio::spawn(async move {
        let panics = || async {
            tokio::task::yield_now().await;
            panic!("the computation panicked, as its test wanted")
        };
        let value: Result<usize, String> = of_leader
            .get_or_compute("number", MINUTE, ["numbers"], panics)
            .await;
        value
    });
    let source = Source::new(1);
    let others = source.ask_many(5, &cache);
    settle().await;
    assert!(leader.await.unwrap_err().is_panic());
    assert_eq!(all(others).await, vec![Ok(1); 5]);
}

#[tokio::test]
async fn a_value_that_an_invalidation_overtakes_is_its_caller_s_alone() {
    let (cache, _clock) = cache();
    for what in [
        Invalidate::tag("numbers"),
        Invalidate::tag("numbers").soft(),
        Invalidate::all(),
    ] {
        let source = Source::new(0);
        let before = source.ask_many(1, &cache);
        settle().await;
        drop(cache.invalidate(what.clone()));
        // These begin after the invalidation: what was begun before it is not for them.
        let after = source.ask_many(5, &cache);
        settle().await;
        source.permits.add_permits(1);
        settle().await;
        assert_eq!(all(before).await, [Ok(1)], "{what:?}");
        assert_eq!(source.calls(), 2);
        source.permits.add_permits(1);
        settle().await;
        assert_eq!(all(after).await, vec![Ok(2); 5], "{what:?}");
        assert_eq!((source.calls(), cache.stats().entries), (2, 1));
        let _ = cache.invalidate_all().await;
    }
}

#[tokio::test]
async fn an_invalidation_inside_the_computation_itself_is_not_lost() {
    let (cache, _clock) = cache();
    let inner = cache.clone();
    let renames = || async move {
        drop(inner.invalidate_tag("numbers"));
        Ok::<_, String>(1)
    };
    assert_eq!(
        cache
            .get_or_compute("number", MINUTE, ["numbers"], renames)
            .await,
        Ok(1)
    );
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn a_caller_dropped_at_any_await_point_leaves_nobody_waiting() {
    for leads in [true, false] {
        for polls in 0.. {
            let (cache, _clock) = cache();
            let calls = Arc::new(AtomicUsize::new(0));
            let ask = || {
                let (cache, calls) = (cache.clone(), Arc::clone(&calls));
                async move {
                    let compute = || async {
                        calls.fetch_add(1, Ordering::SeqCst);
                        for _ in 0..3 {
                            tokio::task::yield_now().await;
                        }
                        Ok::<_, Infallible>(7)
                    };
                    cache
                        .get_or_compute("number", MINUTE, ["numbers"], compute)
                        .await
                        .unwrap()
                }
            };
            let mut others = Vec::new();
            if !leads {
                others.push(tokio::spawn(ask()));
                tokio::task::yield_now().await;
            }
            let completed = poll_and_drop(Box::pin(ask()), polls).await;
            others.extend((0..4).map(|_| tokio::spawn(ask())));
            settle().await;
            let expected = vec![7; others.len()];
            assert_eq!(all(others).await, expected, "dropped after {polls}");
            assert!(calls.load(Ordering::SeqCst) <= 2);
            let _ = cache.invalidate_all().await;
            let later = tokio::spawn(ask());
            settle().await;
            assert_eq!(all(vec![later]).await, [7], "a flight was left behind");
            if completed {
                assert!(polls > 3);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_caller_waits_no_longer_than_ten_seconds() {
    let (cache, clock) = cache();
    let source = Source::new(0);
    let callers = source.ask_many(2, &cache);
    settle().await;
    clock.advance(Duration::from_secs(10));
    settle().await;
    assert_eq!(source.calls(), 2);
    source.permits.add_permits(2);
    settle().await;
    all(callers).await;
}

#[tokio::test]
async fn callers_beyond_the_bound_of_waiters_compute_by_themselves() {
    let cache = Cache::builder().max_waiters(3).build().unwrap();
    let source = Source::new(0);
    let callers = source.ask_many(6, &cache);
    settle().await;
    assert_eq!(source.calls(), 3);
    source.permits.add_permits(3);
    settle().await;
    all(callers).await;
}

#[tokio::test]
async fn what_is_too_large_or_has_too_many_tags_is_computed_each_time() {
    let cache = Cache::builder()
        .body_limit(16)
        .max_tags(2)
        .max_key(64)
        .build()
        .unwrap();
    let long_key = "k".repeat(100);
    let rows: [(&str, &[&str], &str, u64); 5] = [
        ("fits", &["a", "b"], "short", 1),
        ("large", &[], "longer than sixteen bytes", 0),
        ("tags", &["a", "b", "c"], "short", 0),
        (&long_key, &[], "short", 0),
        ("fits too", &[], "short", 1),
    ];
    for (key, tags, value, stored) in rows {
        let before = cache.stats().entries;
        for _ in 0..2 {
            let compute = || async move { Ok::<_, Infallible>(value.to_owned()) };
            let got: String = cache
                .get_or_compute(key, MINUTE, tags, compute)
                .await
                .unwrap();
            assert_eq!(got, value);
        }
        assert_eq!(cache.stats().entries - before, stored, "{key}");
    }
}

type Nested = Pin<Box<dyn Future<Output = usize> + Send>>;

/// Computes the first of these keys with the help of the second, and so on; the sum is the depth.
fn nested(cache: Cache, keys: Vec<&'static str>, turns: usize) -> Nested {
    Box::pin(async move {
        let Some((key, inner)) = keys.split_first() else {
            return 0;
        };
        let (key, inner) = (*key, inner.to_vec());
        let again = cache.clone();
        let compute = || async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            Ok::<_, Infallible>(1 + nested(again, inner, turns).await)
        };
        cache
            .get_or_compute(key, MINUTE, ["nested"], compute)
            .await
            .unwrap()
    })
}

#[tokio::test]
async fn a_computation_may_ask_for_its_own_key() {
    let (cache, _clock) = cache();
    let value = tokio::spawn(nested(cache, vec!["k", "k", "k"], 1));
    settle().await;
    assert_eq!(all(vec![value]).await, [3]);
}

#[tokio::test]
async fn computations_that_need_each_other_never_wait_in_a_circle() {
    let chains: [&[&[&str]]; 4] = [
        &[&["a", "b", "a"], &["b", "a", "b"]],
        &[&["a", "b"], &["b", "c"], &["c", "a"]],
        &[
            &["a", "b", "c"],
            &["b", "c", "a"],
            &["c", "a", "b"],
            &["a", "c"],
        ],
        &[
            &["a", "a", "b", "b", "a"],
            &["b", "b", "a", "a"],
            &["a"],
            &["b"],
        ],
    ];
    for chain in chains {
        for turns in 0..6 {
            for offset in 0..4 {
                // The clock stands still: nobody is freed by a deadline.
                let (cache, _clock) = cache();
                let mut tasks = Vec::new();
                for keys in chain.iter() {
                    tasks.push(tokio::spawn(nested(cache.clone(), keys.to_vec(), turns)));
                    for _ in 0..offset {
                        tokio::task::yield_now().await;
                    }
                }
                settle().await;
                assert!(
                    all(tasks).await.into_iter().all(|depth| depth > 0),
                    "{chain:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_nested_wait_that_was_given_up_no_longer_counts_as_one() {
    let (cache, _clock) = cache();
    let (a, b) = (Source::new(0), Source::new(0));
    let ask_b = |cache: Cache| {
        let b = b.clone();
        Box::pin(async move {
            let compute = || b.next();
            cache.get_or_compute("b", MINUTE, ["b"], compute).await
        })
    };
    let (of_a, waits_for_b, source) = (cache.clone(), ask_b(cache.clone()), a.clone());
    let leads_a = tokio::spawn(async move {
        let compute = || async move {
            tokio::task::yield_now().await; // until the other one leads `b`
            assert!(!poll_and_drop(waits_for_b, 2).await);
            source.next().await
        };
        of_a.get_or_compute("a", MINUTE, ["a"], compute).await
    });
    let (of_b, source_a, source_b) = (cache.clone(), a.clone(), b.clone());
    let leads_b = tokio::spawn(async move {
        let compute = || async {
            source_b.next().await?;
            let nested = || source_a.next();
            of_b.get_or_compute("a", MINUTE, ["a"], nested).await
        };
        of_b.get_or_compute("b", MINUTE, ["b"], compute).await
    });
    settle().await;
    b.permits.add_permits(1); // from here on the second one wants `a`, and may wait for it
    settle().await;
    assert_eq!((a.calls(), b.calls()), (1, 1));
    a.permits.add_permits(1);
    settle().await;
    assert_eq!(all(vec![leads_a, leads_b]).await, [Ok(1), Ok(1)]);
}
