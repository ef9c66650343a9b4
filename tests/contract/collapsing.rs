//! One call for all who ask the same at the same time.

use std::time::Duration;

use larder::Cache;

use crate::drive::spawn;
use crate::support::*;
use crate::world::{eventually, Place, World};

everywhere! {
    a_crowd_that_asks_for_one_cold_key_calls_once,
    a_crowd_whose_answer_cannot_be_stored_is_not_held_up,
    a_crowd_whose_first_call_fails_tries_again,
}

const CROWD: usize = 256;

/// Waits until one calls, and all others have looked and wait for it.
async fn all_wait(world: &World, node: &Cache, origin: &Origin, crowd: u64) {
    // A strict request asks by itself, as does one with nothing near; of others, the one who calls.
    let looked = || match node.stats().shared {
        Some(shared) if world.is_strict() || world.place == Place::Lax => shared.misses >= crowd,
        _ => true,
    };
    eventually(|| async { origin.calls() > 0 && looked() }).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn a_crowd_that_asks_for_one_cold_key_calls_once(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let (origin, permits) = Origin::gated(0, numbered);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| spawn(&nodes[0], &origin, get("/posts", &[])))
        .collect();
    all_wait(&world, &world.a, &origin, CROWD as u64).await;
    permits.add_permits(CROWD);
    for client in crowd {
        let answer = client.await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "call 1"));
    }
    assert_eq!(origin.calls(), 1);
    let stats = world.a.stats();
    assert_eq!((stats.misses, stats.bypassed), (1, 0), "{stats:?}");
}

async fn a_crowd_whose_answer_cannot_be_stored_is_not_held_up(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let (origin, permits) = Origin::gated(1, |number| {
        let mut response = numbered(number);
        response
            .headers_mut()
            .insert("cache-control", "no-store".parse().unwrap());
        response
    });
    let crowd: Vec<_> = (0..20)
        .map(|_| spawn(&nodes[0], &origin, get("/posts", &[])))
        .collect();
    // One was answered, and all others call side by side.
    eventually(|| async { origin.calls() == 20 }).await;
    permits.add_permits(20);
    let mut answers = Vec::new();
    for client in crowd {
        answers.push(client.await.unwrap().text().to_owned());
    }
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 20, "to each their own");
}

async fn a_crowd_whose_first_call_fails_tries_again(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let (origin, permits) = Origin::gated(0, |number| match number {
        1 => status(500),
        number => numbered(number),
    });
    let crowd: Vec<_> = (0..20)
        .map(|_| spawn(&nodes[1], &origin, get("/posts", &[])))
        .collect();
    all_wait(&world, &world.b, &origin, 20).await;
    permits.add_permits(20);
    let without_near = matches!(world.place, Place::Far | Place::Lax);
    let mut failed = 0;
    for client in crowd {
        let answer = client.await.unwrap();
        match answer.status {
            200 if without_near => {}
            200 => assert_eq!(answer.text(), "call 2"),
            _ => failed += 1,
        }
    }
    assert_eq!(failed, 1);
    // With nothing near, whoever comes between the end of a call and its store calls too.
    if !without_near {
        assert_eq!(origin.calls(), 2);
    }
}
