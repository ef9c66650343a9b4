//! What goes wrong: with the server, with the way to it, with its replica, with a node.

use std::thread::sleep;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::crew::Crew;
use super::proxy::{Held, Proxy};
use super::seed::Seed;
use super::server::{eventually, Server};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The clock is evicted, or deleted.
    LoseClock,
    /// It is ahead of time, as after a failover to a machine whose time is behind.
    HurryClock,
    /// Some of the responses are.
    LoseEntries,
    /// Memory runs out: everything is evicted, and nothing may be stored.
    Squeeze,
    FlushAll,
    KillClients,
    KillListeners,
    /// `CLIENT PAUSE`: nobody is answered for a while.
    Pause,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// Killed, and started again without its data.
    Restart,
    /// The master dies, and a replica takes over that lacks the latest invalidations.
    Failover,
    /// A replica takes over, and then the former master does again, as if nothing had been.
    Return,
    /// A node's connections are cut.
    Cut,
    /// Nothing passes between one node and the server.
    BlackHole,
    /// The server hears a node, and the node does not hear the server.
    Mute,
    /// A node hears answers, and nothing that is published.
    Deafen,
    /// What is published arrives late.
    Delay,
    /// A node is killed, and started again.
    Reboot,
}

impl Fault {
    pub const ALL: [Self; 18] = [
        Self::LoseClock,
        Self::HurryClock,
        Self::LoseEntries,
        Self::Squeeze,
        Self::FlushAll,
        Self::KillClients,
        Self::KillListeners,
        Self::Pause,
        Self::Freeze,
        Self::Restart,
        Self::Failover,
        Self::Return,
        Self::Cut,
        Self::BlackHole,
        Self::Mute,
        Self::Deafen,
        Self::Delay,
        Self::Reboot,
    ];

    /// Whether it is about the way between one node and the server.
    pub fn is_on_the_way(self) -> bool {
        let these = [
            Self::Cut,
            Self::BlackHole,
            Self::Mute,
            Self::Deafen,
            Self::Delay,
        ];
        these.contains(&self)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::LoseClock => "clock lost",
            Self::HurryClock => "clock ahead of time",
            Self::LoseEntries => "entries lost",
            Self::Squeeze => "memory full",
            Self::FlushAll => "flushed",
            Self::KillClients => "clients killed",
            Self::KillListeners => "listeners killed",
            Self::Pause => "paused",
            Self::Freeze => "frozen",
            Self::Restart => "restarted empty",
            Self::Failover => "failed over to a lagging replica",
            Self::Return => "former master back",
            Self::Cut => "node cut",
            Self::BlackHole => "node in a black hole",
            Self::Mute => "answers held",
            Self::Deafen => "pushes held",
            Self::Delay => "pushes late",
            Self::Reboot => "node rebooted",
        }
    }
}

/// A master, a replica, and a proxy in front of them for each node.
pub struct Site {
    servers: [Server; 2],
    master: usize,
    /// Between the replica and the master.
    link: Proxy,
    pub proxies: Vec<Proxy>,
    _network: Runtime,
}

impl Site {
    pub fn start(nodes: usize) -> Self {
        let network = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads can be started");
        let arguments = [
            "--repl-diskless-sync-delay",
            "0",
            "--maxmemory-policy",
            "allkeys-random",
        ];
        let servers = [Server::with(&arguments), Server::with(&arguments)];
        let proxy = || Proxy::to(servers[0].port, network.handle());
        let site = Self {
            link: proxy(),
            proxies: (0..nodes).map(|_| proxy()).collect(),
            servers,
            master: 0,
            _network: network,
        };
        site.replicate();
        site
    }

    pub fn url(&self, node: usize) -> String {
        format!("redis://127.0.0.1:{}", self.proxies[node].port)
    }

    fn master(&self) -> &Server {
        &self.servers[self.master]
    }

    fn replica(&self) -> &Server {
        &self.servers[1 - self.master]
    }

    /// Has the replica follow the master, and waits until it does.
    fn replicate(&self) {
        self.link.lead_to(self.master().port);
        self.link.heal();
        let port = self.link.port.to_string();
        self.replica().cli(&["replicaof", "127.0.0.1", &port]);
        self.await_replica();
    }

    fn await_replica(&self) {
        let follows = || {
            let state = self.replica().cli(&["info", "replication"]);
            state.contains("master_link_status:up")
        };
        assert!(eventually(follows), "the replica does not follow");
    }

    pub fn heal(&self) {
        self.proxies.iter().for_each(Proxy::heal);
    }

    /// One that is about the server, from its beginning to its end.
    pub fn break_server(&mut self, fault: Fault, seed: &mut Seed, crew: &Crew) {
        match fault {
            Fault::LoseClock => {
                self.master().cli(&["del", "larder:c"]);
            }
            Fault::HurryClock => {
                self.hurry_clock(seed.between(1, 40));
                if seed.one_in(2) {
                    sleep(seed.between(100, 400));
                    self.hurry_clock(Duration::from_millis(70));
                }
            }
            Fault::LoseEntries => {
                let some = "local n = 0 for i, key in ipairs(redis.call('keys', 'larder:e:*')) do \
                            if i % 2 == 0 then n = n + redis.call('unlink', key) end end return n";
                self.master().cli(&["eval", some, "0"]);
            }
            Fault::Squeeze => {
                self.master().config("maxmemory", "1");
                sleep(seed.between(20, 200));
                self.master().config("maxmemory", "0");
            }
            Fault::FlushAll => {
                self.master().cli(&["flushall"]);
            }
            Fault::KillClients => {
                self.master().cli(&["client", "kill", "type", "normal"]);
            }
            Fault::KillListeners => {
                self.master().cli(&["client", "kill", "type", "pubsub"]);
            }
            Fault::Pause => {
                let millis = seed.between(20, 400).as_millis().to_string();
                self.master().cli(&["client", "pause", &millis, "all"]);
            }
            Fault::Freeze => {
                self.master().freeze();
                sleep(seed.between(20, 1500));
                self.master().thaw();
            }
            Fault::Restart => {
                self.servers[self.master].restart();
                self.master().wait();
            }
            Fault::Failover => self.fail_over(seed),
            Fault::Return => self.leave_and_return(seed, crew),
            _ => unreachable!("{fault:?} is about a node"),
        }
    }

    /// Sets the clock ahead, by a minute for each millisecond. When it is an hour ahead, it is not
    /// believed any more and begins another life, whose numbers are below those of the former one.
    fn hurry_clock(&self, by: Duration) {
        let ahead = (by.as_millis() * 60_000_000).to_string();
        let set = "if redis.call('strlen', KEYS[1]) < 80 then return 0 end \
                   local s = struct.unpack('>I8', redis.call('getrange', KEYS[1], 16, 23)) \
                   local later = struct.pack('>I8', s + tonumber(ARGV[1])) \
                   return redis.call('setrange', KEYS[1], 16, later)";
        let command = ["eval", set, "1", "larder:c", &ahead];
        self.master().cli(&command);
    }

    fn fail_over(&mut self, seed: &mut Seed) {
        self.await_replica();
        // Invalidations that are acknowledged now are lost, and one node does not hear of them. It
        // reaches the new master before those who could tell it that something is missing.
        let unaware = seed.below(self.proxies.len());
        self.link.hold(Held::All);
        self.proxies[unaware].hold(Held::All);
        sleep(seed.between(20, 150));
        let former = self.master;
        let first = (unaware, seed.between(0, 300));
        self.lead_to(1 - former, first, |site| {
            site.servers[former].kill();
            site.master().cli(&["replicaof", "no", "one"]);
            site.proxies[unaware].hold(Held::Nothing);
        });
        self.servers[former].restart();
        self.servers[former].wait();
        self.replicate();
    }

    /// The replica takes over from a master that lives on and that nobody can reach. What is
    /// invalidated then, the former master knows nothing of when it comes back.
    ///
    /// A node that began after that, and reaches it before any other does, cannot know: so the next
    /// fault waits.
    fn leave_and_return(&mut self, seed: &mut Seed, crew: &Crew) {
        self.await_replica();
        let former = self.master;
        let (mut before, at_once) = (Vec::new(), (0, Duration::ZERO));
        self.lead_to(1 - former, at_once, |site| {
            site.link.refuse(true);
            site.master().cli(&["replicaof", "no", "one"]);
            before = crew.reconnects();
        });
        crew.await_reconnects(&before);
        sleep(seed.between(50, 300));
        self.lead_to(former, at_once, |_| before = crew.reconnects());
        crew.await_reconnects(&before);
        self.replicate();
    }

    /// All nodes are led to another server, one of them `first`. None of them reaches the former one
    /// any more when that one reaches the new one.
    fn lead_to(
        &mut self,
        server: usize,
        first: (usize, Duration),
        meanwhile: impl FnOnce(&mut Self),
    ) {
        self.proxies.iter().for_each(|proxy| proxy.refuse(true));
        // What was cut has ended by then.
        sleep(Duration::from_millis(20));
        self.master = server;
        meanwhile(self);
        let port = self.master().port;
        self.proxies.iter().for_each(|proxy| proxy.lead_to(port));
        self.proxies[first.0].refuse(false);
        sleep(first.1);
        self.proxies.iter().for_each(|proxy| proxy.refuse(false));
    }

    /// One that is about the way of one node; it lasts until the site is healed.
    pub fn break_way(&self, fault: Fault, node: usize, seed: &mut Seed) {
        let proxy = &self.proxies[node];
        match fault {
            Fault::Cut => proxy.cut(),
            Fault::BlackHole => proxy.hold(Held::All),
            Fault::Mute => proxy.hold(Held::Answers),
            Fault::Deafen => proxy.hold(Held::Pushes),
            Fault::Delay => proxy.delay(seed.between(5, 100)),
            _ => unreachable!("{fault:?} is about the server"),
        }
    }
}
