//! `get_or_compute`: values that two nodes share.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use larder::{Cache, Invalidate};
use tokio::sync::Semaphore;

use crate::support::MINUTE;
use crate::world::{eventually, World};

everywhere! {
    a_value_is_computed_once_for_both_nodes_and_lives_for_its_ttl,
    callers_of_one_key_wait_for_one_computation,
    an_error_goes_to_its_caller_alone_and_is_not_stored,
    an_invalidation_on_one_node_reaches_values_on_both,
    a_value_that_an_invalidation_overtakes_is_not_stored,
}

/// What values are computed from: it counts how often, and waits for a permit each time.
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

    /// The number of the computation.
    fn ask(&self, node: &Cache) -> impl Future<Output = Result<usize, String>> {
        let (source, node) = (self.clone(), node.clone());
        let compute = || async move {
            let number = source.calls.fetch_add(1, Ordering::SeqCst) + 1;
            source.permits.acquire().await.unwrap().forget();
            Ok(number)
        };
        async move {
            node.get_or_compute("number", MINUTE, ["numbers"], compute)
                .await
        }
    }
}

/// What a node has in store; its computations fail.
async fn known(node: &Cache) -> Option<usize> {
    let compute = || async { Err::<usize, ()>(()) };
    node.get_or_compute("number", MINUTE, ["numbers"], compute)
        .await
        .ok()
}

/// Computes on the one node, and waits until the other has it.
async fn compute(source: &Source, on: &Cache, other: &Cache) -> usize {
    let number = source.ask(on).await.unwrap();
    eventually(|| async { known(other).await == Some(number) }).await;
    number
}

async fn is_gone(world: &World) {
    for node in [&world.a, &world.b] {
        if world.is_strict() {
            assert_eq!(known(node).await, None);
        }
        eventually(|| async { known(node).await.is_none() }).await;
    }
}

async fn a_value_is_computed_once_for_both_nodes_and_lives_for_its_ttl(world: World) {
    let source = Source::new(9);
    assert_eq!(compute(&source, &world.a, &world.b).await, 1);
    world.clock.advance(MINUTE - Duration::from_millis(1));
    for node in [&world.a, &world.b] {
        assert_eq!(source.ask(node).await, Ok(1));
    }
    world.clock.advance(Duration::from_millis(1));
    assert_eq!((known(&world.a).await, known(&world.b).await), (None, None));
    assert_eq!(compute(&source, &world.b, &world.a).await, 2);
    assert_eq!(source.calls(), 2);
}

async fn callers_of_one_key_wait_for_one_computation(world: World) {
    let source = Source::new(0);
    let callers: Vec<_> = (0..64)
        .map(|_| tokio::spawn(source.ask(&world.a)))
        .collect();
    eventually(|| async { source.calls() > 0 }).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    source.permits.add_permits(64);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(1));
    }
    assert_eq!(source.calls(), 1);
}

async fn an_error_goes_to_its_caller_alone_and_is_not_stored(world: World) {
    let failing = || async { Err::<usize, _>("no") };
    let failed = world
        .a
        .get_or_compute("number", MINUTE, ["numbers"], failing)
        .await;
    assert_eq!(failed, Err("no"));
    let source = Source::new(1);
    assert_eq!(compute(&source, &world.b, &world.a).await, 1);
}

async fn an_invalidation_on_one_node_reaches_values_on_both(world: World) {
    let source = Source::new(9);
    let all = [
        Invalidate::tag("numbers"),
        Invalidate::all(),
        // There is no use for a stale value.
        Invalidate::tag("numbers").soft(),
    ];
    for (i, what) in all.into_iter().enumerate() {
        assert_eq!(compute(&source, &world.a, &world.b).await, i + 1);
        assert!(!world.b.invalidate(what).await.deferred);
        is_gone(&world).await;
    }
    compute(&source, &world.a, &world.b).await;
    let _ = world.b.invalidate_tag("letters").await;
    assert_eq!(known(&world.a).await, Some(4));
}

async fn a_value_that_an_invalidation_overtakes_is_not_stored(world: World) {
    for invalidating in [&world.a, &world.b] {
        let source = Source::new(0);
        let caller = tokio::spawn(source.ask(&world.a));
        eventually(|| async { source.calls() == 1 }).await;
        let _ = invalidating.invalidate_tag("numbers").await;
        source.permits.add_permits(1);
        assert_eq!(caller.await.unwrap(), Ok(1), "its own caller gets it");
        is_gone(&world).await;
    }
}
