//! What holds for any client, in any order of the rooms.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::clients::{opaque, World};
use crate::codings::decoded;
use crate::rooms::{Order, Room};

/// One member of `Accept-Encoding`: a name, and a weight in thousandths where there is one.
type Accepted = (&'static str, Option<u16>);

fn accepted() -> impl Strategy<Value = Vec<Accepted>> {
    let names = ["gzip", "x-gzip", "br", "zstd", "identity", "*", "deflate"];
    let weight = prop::option::of(prop_oneof![Just(0), 0..=1000_u16]);
    prop::collection::vec((prop::sample::select(names.to_vec()), weight), 0..5)
}

fn line(accepted: &[Accepted]) -> String {
    let member = |(name, weight): &Accepted| match weight {
        None => (*name).to_owned(),
        Some(weight) => format!("{name};q={}.{:03}", weight / 1000, weight % 1000),
    };
    accepted.iter().map(member).collect::<Vec<_>>().join(", ")
}

/// Whether a client that says this takes this coding: its own weight counts, else that of `*`. Of
/// two weights for one name, neither may be a refusal.
fn takes(accepted: &[Accepted], coding: &str) -> bool {
    let names: &[&str] = match coding {
        "gzip" => &["gzip", "x-gzip"],
        coding => &[coding],
    };
    let weights = |names: &[&str]| {
        let of = accepted.iter().filter(|(name, _)| names.contains(name));
        of.map(|(_, weight)| weight.unwrap_or(1000)).min()
    };
    weights(names)
        .or(weights(&["*"]))
        .is_some_and(|least| least > 0)
}

/// Orders in which all that is said is ours.
fn ours() -> impl Strategy<Value = Order> {
    let ours = Order::all()
        .into_iter()
        .filter(|order| !order.has(Room::TowerHttp));
    prop::sample::select(ours.collect::<Vec<_>>())
}

/// Around what is worth a coding, and around what is made at once. Of two texts the shorter is the
/// beginning of the longer.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..700_usize, 590..610_usize, 60_000..70_000_usize]
}

fn now<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whoever asks, in whatever sequence: the content, in a coding that was not refused; one strong
    /// tag, one content; and 304 for any tag that was sent to the same client.
    #[test]
    fn what_is_sent_is_true_and_known_again(
        order in ours(),
        names: bool,
        lengths in [length(), length()],
        clients in prop::collection::vec(accepted(), 1..6),
        weakly: bool,
    ) {
        let worlds = lengths.map(|length| World::new(&order, length, names));
        let judges = order.judges();
        let mut named: HashMap<String, Bytes> = HashMap::new();
        now(async {
            for world in worlds.iter().chain(&worlds) {
                for client in &clients {
                    let accepted = line(client);
                    let answer = world.get(&accepted, &[]).await;
                    let what = world.what(&accepted, &[], &answer);
                    let coding = answer.field("content-encoding");
                    assert!(coding.is_empty() || takes(client, &coding), "{what}");
                    assert!(decoded(&coding, &answer.body) == world.content(), "{what}");
                    let tag = answer.field("etag");
                    if tag.starts_with('"') {
                        let known = named.entry(tag.clone()).or_insert_with(|| answer.body.clone());
                        assert!(*known == answer.body, "one strong tag, two contents: {what}");
                    }
                    if tag.is_empty() || !judges {
                        continue;
                    }
                    let tag = if weakly { format!("W/{}", opaque(&tag)) } else { tag };
                    let fields = [("if-none-match", tag.as_str())];
                    let answer = world.get(&accepted, &fields).await;
                    let what = world.what(&accepted, &fields, &answer);
                    assert_eq!((answer.status, answer.text()), (304, ""), "{what}");
                }
            }
        });
    }
}
