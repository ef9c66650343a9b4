//! A TCP proxy that holds, delays, cuts and refuses: the network of one node.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What does not get through. What is held arrives late, unless its connection is cut before: so a
/// question that was given up may still be carried out, and an answer may be old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    #[default]
    Nothing,
    /// Everything, in both directions: a black hole.
    All,
    /// What the server says: it carries out what nobody hears of.
    Answers,
    /// What is published: the connection that listens is silently dead.
    Pushes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    held: Held,
    /// What is published takes this much longer.
    delay: Duration,
    refuses: bool,
    /// Connections of an earlier life are cut.
    life: u64,
}

/// One listening port in front of one server at a time.
pub struct Proxy {
    pub port: u16,
    target: Arc<AtomicU16>,
    gate: watch::Sender<Gate>,
}

impl Proxy {
    pub fn to(target: u16, network: &Handle) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = network
            .block_on(TcpListener::bind(address))
            .expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let target = Arc::new(AtomicU16::new(target));
        let (gate, gates) = watch::channel(Gate::default());
        network.spawn(accept(listener, Arc::clone(&target), gates));
        Self { port, target, gate }
    }

    pub fn hold(&self, held: Held) {
        self.gate.send_modify(|gate| gate.held = held);
    }

    pub fn delay(&self, delay: Duration) {
        self.gate.send_modify(|gate| gate.delay = delay);
    }

    /// Ends all connections; what they held is lost.
    pub fn cut(&self) {
        self.gate.send_modify(|gate| gate.life += 1);
    }

    /// Ends all connections and takes no new ones, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.gate.send_modify(|gate| {
            gate.refuses = refuses;
            gate.life += u64::from(refuses);
        });
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.gate.send_modify(|gate| {
            *gate = Gate {
                life: gate.life,
                ..Gate::default()
            }
        });
    }
}

async fn accept(listener: TcpListener, target: Arc<AtomicU16>, gates: watch::Receiver<Gate>) {
    while let Ok((client, _)) = listener.accept().await {
        let life = gates.borrow().life;
        if gates.borrow().refuses {
            continue;
        }
        let (target, gates) = (target.load(Ordering::SeqCst), gates.clone());
        tokio::spawn(async move {
            let mut ending = gates.clone();
            let ended = ending.wait_for(|gate| gate.life != life);
            tokio::select! {
                _ = carry(client, target, gates) => {}
                _ = ended => {}
            }
        });
    }
}

/// Carries bytes both ways until either side ends.
async fn carry(client: TcpStream, target: u16, gates: watch::Receiver<Gate>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let listens = AtomicBool::new(false);
    let questions = Way {
        answers: false,
        listens: &listens,
        gates: gates.clone(),
    };
    let answers = Way {
        answers: true,
        listens: &listens,
        gates,
    };
    tokio::select! {
        () = questions.pass(from_client, to_server) => {}
        () = answers.pass(from_server, to_client) => {}
    }
}

/// One direction of one connection.
struct Way<'a> {
    answers: bool,
    /// Whether the client has subscribed to something.
    listens: &'a AtomicBool,
    gates: watch::Receiver<Gate>,
}

impl Way<'_> {
    async fn pass(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..read];
            if !self.answers && bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
                self.listens.store(true, Ordering::SeqCst);
            }
            self.wait().await;
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    async fn wait(&mut self) {
        let is_push = self.answers && self.listens.load(Ordering::SeqCst);
        let delay = self.gates.borrow().delay;
        if is_push && !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answers = self.answers;
        let passes = |gate: &Gate| match gate.held {
            Held::Nothing => true,
            Held::All => false,
            Held::Answers => !answers,
            Held::Pushes => !is_push,
        };
        let _ = self.gates.wait_for(passes).await;
    }
}
