//! The supervisor: the one who connects, so that no request ever has to.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::address::Place;
use super::breaker::Backoff;
use super::call::{Failure, Fresh, Meaning, NoAnswer, Request};
use super::nodes::{Node, Server, Set};
use super::shared::Shared;
use super::{cluster, listen};

/// What must succeed on new connections to the server that has a key.
pub(crate) struct Hook {
    pub(crate) key: Vec<u8>,
    run: Box<dyn Fn(Fresh) -> Running + Send + Sync>,
}

type Running = Pin<Box<dyn Future<Output = Result<(), NoAnswer>> + Send>>;

impl Hook {
    pub(crate) fn new<F, Done>(key: Vec<u8>, run: F) -> Self
    where
        F: Fn(Fresh) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<(), NoAnswer>> + Send + 'static,
    {
        let run = Box::new(move |fresh| -> Running { Box::pin(run(fresh)) });
        Self { key, run }
    }
}

/// Runs until it is aborted, or its runtime ends; then the next call starts another one.
pub(crate) async fn supervise(shared: Arc<Shared>) {
    // Dropped with this future, and all tasks with it.
    let mut tasks = JoinSet::new();
    tasks.spawn(listen::listen(Arc::clone(&shared)));
    // What an earlier runtime left behind: nobody drives those connections any more.
    let nodes = Arc::clone(&shared.nodes.read());
    for node in nodes.all() {
        if let Some(set) = node.clear() {
            set.breaker.broke();
        }
        tasks.spawn(keep(Arc::clone(&shared), Arc::clone(node)));
    }
    drop(nodes);
    match &shared.settings.address.place {
        Place::Cluster(seeds) => cluster::follow(&shared, seeds, &mut tasks).await,
        _ => while tasks.join_next().await.is_some() {},
    }
}

/// Keeps one server connected, for as long as it is one of ours.
pub(crate) async fn keep(shared: Arc<Shared>, node: Arc<Node>) {
    let mut backoff = Backoff::default();
    let mut told = false;
    while is_ours(&shared, &node) {
        match connect(&shared, &node).await {
            Ok(set) => {
                told = false;
                let connected = tokio::time::Instant::now();
                until_broken(&shared, &set).await;
                backoff.lasted(connected.elapsed());
            }
            Err(failure) => {
                if !told {
                    tracing::warn!(error = %failure.why, "redis cannot be reached; trying on");
                }
                told = true;
            }
        }
        tokio::time::sleep(backoff.wait()).await;
    }
    if let Some(set) = node.clear() {
        set.breaker.broke();
    }
}

fn is_ours(shared: &Shared, node: &Arc<Node>) -> bool {
    let nodes = shared.nodes.read();
    nodes.all().iter().any(|ours| Arc::ptr_eq(ours, node))
}

/// Connects, runs the hooks, and puts the set into use.
async fn connect(shared: &Shared, node: &Arc<Node>) -> Result<Arc<Set>, Failure> {
    let set = shared.settings.connect(node).await?;
    let hooks = hooks(shared, node);
    for hook in &hooks {
        let fresh = Fresh {
            connection: set.connections[0].clone(),
        };
        let failed = |why: NoAnswer| Failure::new(Meaning::Broken, why.to_string());
        let run = (hook.run)(fresh);
        let done = shared.settings.in_time(async { run.await.map_err(failed) });
        done.await?;
    }
    let installed = node.install(&set, || same(&hooks, &self::hooks(shared, node)));
    if !installed {
        return Err(Failure::new(
            Meaning::Broken,
            "what must run first has changed",
        ));
    }
    if node.connected_before.swap(true, Ordering::Relaxed) {
        shared.counters.reconnects.add(1);
    }
    tracing::info!(server = %set.server, "redis is up");
    shared.changed();
    Ok(set)
}

/// The hooks whose key this server has.
fn hooks(shared: &Shared, node: &Arc<Node>) -> Vec<Arc<Hook>> {
    let nodes = Arc::clone(&shared.nodes.read());
    let ours = |hook: &&Arc<Hook>| {
        let owner = nodes.of_key(&hook.key);
        owner.is_some_and(|owner| Arc::ptr_eq(owner, node))
    };
    shared.hooks.lock().iter().filter(ours).cloned().collect()
}

fn same(a: &[Arc<Hook>], b: &[Arc<Hook>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// How often a connection is tried, so that a dead one is noticed before a request meets it.
const PING: Duration = Duration::from_secs(1);

async fn until_broken(shared: &Shared, set: &Arc<Set>) {
    while !set.breaker.is_open() {
        if tokio::time::timeout(PING, set.gone.notified())
            .await
            .is_ok()
        {
            continue;
        }
        while !set.breaker.is_open() && !ping(shared, set).await {}
        if master_moved(shared, set).await {
            shared.renew(set, "the Sentinels name another master");
        }
    }
}

/// False when a connection did not answer in time.
async fn ping(shared: &Shared, set: &Arc<Set>) -> bool {
    let deadline = shared.settings.deadline;
    for connection in &set.connections {
        let request = Request::from(redis::cmd("PING"));
        let mut connection = connection.clone();
        match tokio::time::timeout(deadline, request.send(&mut connection)).await {
            Ok(Ok(_)) => set.breaker.answered(),
            Ok(Err(failure)) if failure.meaning == Meaning::Broken => {
                shared.give_up(set, &failure.why);
            }
            Ok(Err(_)) => {}
            Err(_) => {
                shared.timed_out(set, deadline);
                return false;
            }
        }
    }
    true
}

async fn master_moved(shared: &Shared, set: &Arc<Set>) -> bool {
    let by_sentinel = set
        .node
        .upgrade()
        .is_some_and(|node| node.server == Server::Master);
    if !by_sentinel {
        return false;
    }
    match shared.settings.master().await {
        Ok(master) => master.to_string() != set.server,
        Err(_) => false,
    }
}
