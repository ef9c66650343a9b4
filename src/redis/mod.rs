//! Redis, reached in a way that nobody notices when it cannot be.
//!
//! A cache that waits for its store is slower than no cache. So no request ever connects, reconnects,
//! retries or probes: a supervisor does, in the background, and requests use what is there. What they
//! may rely on:
//!
//! 1. A call takes no longer than the deadline (50 ms, [`RedisBuilder::deadline`]), whatever Redis
//!    or the network does. One that gets no answer is a miss, never an error.
//! 2. While Redis is down, a call costs less than a microsecond: there is nothing to ask.
//! 3. Three timeouts in a row, or one error after which nothing would work (a closed connection, a
//!    server that is loading, follows another one, or is busy with a script), open the breaker.
//! 4. After a restart or a failover Redis is back in use within a second, without a request having
//!    tried. First it answers a `PING` and says that it is a master, and what must run first has run.
//! 5. A server that is full is read from, and not written to until it takes writes again.
//! 6. What is under way is bounded: calls ([`RedisBuilder::in_flight`]) and stores. What is beyond
//!    that is not made, and counted in [`RedisHealth`].
//!
//! ```text
//!            first use              PING, ROLE, hooks
//!  (nothing) ──────────► connecting ────────────────► connected ◄─┐
//!                         ▲     │ ▲                     │   │     │ OOM: no stores
//!                         │     └─┘                     │   └─────┘ for a second
//!                         │  10 ms .. 500 ms            │
//!                         └─────────────────────────────┘
//!                           breaker opens: 3 timeouts in a row, or one break
//! ```
//!
//! Each server has a few multiplexed connections ([`RedisBuilder::connections`]); a key decides which
//! one carries its calls. They are made together and given up together. With Sentinels, each attempt
//! asks them for the master; in a Cluster, each master is a server of its own with a breaker of its
//! own, so that a dead node takes only its own keys away.
//!
//! A call that timed out may still be carried out by the server. Nothing may depend on its absence.
//!
//! What this leaves to you: a Sentinel setup where old masters cannot go on (`min-replicas-to-write`),
//! and an ACL user, if you use one, who may run on the handle's prefix what this crate sends and what
//! its scripts do: `+@connection +@read +@write +@scripting +@pubsub +info +role +time`, in a Cluster also
//! `+cluster|slots`; with `~prefix:*` for keys and `&prefix:*` for channels.

mod address;
mod breaker;
mod builder;
mod call;
mod cluster;
mod connect;
mod handle;
mod health;
mod listen;
mod nodes;
mod settings;
mod shared;
mod supervisor;
mod tls;

pub use builder::RedisBuilder;
pub use handle::Redis;
pub use health::RedisHealth;

pub(crate) use {
    call::{Fresh, NoAnswer, Script},
    listen::Event,
};

#[cfg(test)]
use call::Request;

#[cfg(test)]
mod tests;
