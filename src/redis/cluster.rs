//! A Cluster: who has which slot, asked in the background and whenever a call learns better.
//!
//! Calls go to the node that has the key's slot, by connections that are supervised like those to
//! one server, so a node that is down or frozen costs the others nothing. A call that was sent to
//! the wrong node (`MOVED`) is not sent again: it has no answer, and the map is asked for anew. That
//! also makes it visible that a key has another master now, on which the hooks must run first.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::task::JoinSet;

use super::address::Host;
use super::breaker::Backoff;
use super::call::{Failure, Meaning, Request};
use super::connect;
use super::nodes::{Node, Nodes, Server};
use super::shared::Shared;
use super::supervisor;

/// How old the map may become when nothing hints that it is wrong.
const REFRESH: Duration = Duration::from_secs(5);

/// Keeps the map up to date, and every node in it connected.
pub(crate) async fn follow(shared: &Arc<Shared>, seeds: &[Host], tasks: &mut JoinSet<()>) {
    let mut changes = shared.changes.subscribe();
    let mut backoff = Backoff::default();
    let mut told = false;
    for turn in 0.. {
        shared.moved.store(false, Ordering::Release);
        match ask(shared, seeds, turn).await {
            Ok(map) => {
                told = false;
                install(shared, &map, tasks);
            }
            Err(failure) => {
                if !told {
                    tracing::warn!(error = %failure.why, "no node of the redis cluster answers; trying on");
                }
                told = true;
            }
        }
        while tasks.try_join_next().is_some() {}
        if is_up(shared) {
            backoff = Backoff::default();
        }
        tokio::time::sleep(backoff.wait()).await;
        let doubtful = || shared.moved.load(Ordering::Acquire) || !is_up(shared);
        let doubt = changes.wait_for(|_| doubtful());
        // Whichever comes first, the map is asked for again.
        let _ = tokio::time::timeout(REFRESH, doubt).await;
    }
}

fn is_up(shared: &Shared) -> bool {
    let (nodes, up) = shared.nodes.read().count();
    nodes > 0 && nodes == up
}

/// Slots, and the master that has them.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    host: Host,
}

/// Asks one node after the other until one answers, beginning with another one each turn.
async fn ask(shared: &Shared, seeds: &[Host], turn: usize) -> Result<Vec<Range>, Failure> {
    let nodes = Arc::clone(&shared.nodes.read());
    let mut failure = Failure::new(Meaning::Broken, "there are no nodes");
    let mut silent = Vec::new();
    let count = nodes.all().len();
    for place in 0..count {
        let node = &nodes.all()[(place + turn) % count];
        let Server::At(host) = &node.server else {
            continue;
        };
        let Some(set) = node.set() else {
            silent.push(host);
            continue;
        };
        let question = question();
        let mut connection = set.connections[0].clone();
        let answer = shared.settings.in_time(question.send(&mut connection));
        match answer.await.and_then(|map| read(&map, &host.name)) {
            Ok(map) => return Ok(map),
            Err(why) => failure = why,
        }
    }
    silent.extend(seeds);
    for host in silent {
        let answer = shared.settings.ask_node(host, &question()).await;
        match answer.and_then(|map| read(&map, &host.name)) {
            Ok(map) => return Ok(map),
            Err(why) => failure = Failure::new(why.meaning, format!("{host}: {}", why.why)),
        }
    }
    Err(failure)
}

fn question() -> Request {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    command.into()
}

/// Reads the answer to `CLUSTER SLOTS`; a node that does not know its own name has the one by which
/// it was `asked`.
fn read(map: &Value, asked: &str) -> Result<Vec<Range>, Failure> {
    let ranges = match map {
        Value::Array(ranges) => ranges
            .iter()
            .map(|range| read_range(range, asked))
            .collect(),
        _ => None,
    };
    match ranges {
        Some(ranges) if Vec::is_empty(&ranges) => Err(Failure::new(
            Meaning::Broken,
            "the cluster has no slots yet",
        )),
        Some(ranges) => Ok(ranges),
        None => Err(Failure::new(
            Meaning::Broken,
            "the map of slots cannot be read",
        )),
    }
}

fn read_range(range: &Value, asked: &str) -> Option<Range> {
    let Value::Array(parts) = range else {
        return None;
    };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else {
        return None;
    };
    let name = match master.first()? {
        Value::Nil => asked,
        name => match connect::text(name)? {
            "" | "?" => asked,
            name => name,
        },
    };
    Some(Range {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok()?,
        host: Host {
            name: name.to_owned(),
            port: connect::port(master.get(1)?)?,
        },
    })
}

/// Puts a map into use: known nodes keep their connections, new ones are connected to, others are
/// let go.
fn install(shared: &Arc<Shared>, map: &[Range], tasks: &mut JoinSet<()>) {
    let old = Arc::clone(&shared.nodes.read());
    let mut all: Vec<Arc<Node>> = Vec::new();
    let mut ranges = Vec::new();
    for Range { first, last, host } in map {
        let server = Server::At(host.clone());
        let place = all.iter().position(|node| node.server == server);
        let place = place.unwrap_or_else(|| {
            let known = old.all().iter().find(|node| node.server == server);
            all.push(known.map_or_else(|| Node::new(server), Arc::clone));
            all.len() - 1
        });
        ranges.push((*first, *last, place));
    }
    let new = Arc::new(Nodes::cluster(all, &ranges));
    // A hook runs on the new owner of its key before that owner is asked for it. The second time is
    // for connections that were made while the map changed.
    renew_moved(shared, &old, &new);
    *shared.nodes.write() = Arc::clone(&new);
    renew_moved(shared, &old, &new);
    let is_in = |nodes: &Nodes, node: &Arc<Node>| {
        let mut all = nodes.all().iter();
        all.any(|other| Arc::ptr_eq(other, node))
    };
    for node in new.all().iter().filter(|node| !is_in(&old, node)) {
        tasks.spawn(supervisor::keep(Arc::clone(shared), Arc::clone(node)));
    }
    for node in old.all().iter().filter(|node| !is_in(&new, node)) {
        if let Some(set) = node.set() {
            shared.renew(&set, "it has no slots any more");
        }
    }
    shared.changed();
}

fn renew_moved(shared: &Shared, old: &Nodes, new: &Nodes) {
    let hooks = shared.hooks.lock().clone();
    for hook in hooks {
        let (before, now) = (old.of_key(&hook.key), new.of_key(&hook.key));
        let Some(now) = now else { continue };
        let moved = before.is_none_or(|before| !Arc::ptr_eq(before, now));
        if let Some(set) = now.set().filter(|_| moved) {
            shared.renew(&set, "it has keys now on which something must run first");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, name: Value, port: i64) -> Value {
        let master = Value::Array(vec![name, Value::Int(port), bulk("id")]);
        let replica = Value::Array(vec![bulk("other"), Value::Int(1), bulk("id")]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
    }

    #[test]
    fn the_map_of_slots_is_read_or_refused() {
        let map = Value::Array(vec![
            range(0, 5460, bulk("10.0.0.1"), 7000),
            range(5461, 5461, Value::Nil, 7001),
            range(5462, 16383, bulk(""), 7002),
        ]);
        let read_ranges = read(&map, "asked").unwrap();
        let found: Vec<_> = read_ranges
            .iter()
            .map(|range| (range.first, range.last, range.host.to_string()))
            .collect();
        let host = |host: &str| host.to_owned();
        assert_eq!(
            found,
            [
                (0, 5460, host("10.0.0.1:7000")),
                (5461, 5461, host("asked:7001")),
                (5462, 16383, host("asked:7002")),
            ]
        );
        let odd = [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(-1, 5, bulk("h"), 1)]),
            Value::Array(vec![range(0, 70_000, bulk("h"), 1)]),
            Value::Array(vec![range(0, 5, bulk("h"), 70_000)]),
            Value::Array(vec![range(0, 5, Value::Int(5), 1)]),
        ];
        for map in odd {
            let printed = format!("{map:?}");
            read(&map, "asked").expect_err(&printed);
        }
    }
}
