//! The protocol in one thread: several processes and a server, with everything that can go wrong
//! between them, from a seed.
//!
//! Truth is a number per tag that every invalidation raises before it is sent. A response carries the
//! moment its making began; it is purged data when an invalidation that began later was
//! acknowledged, and not deferred, before the look-up began. That may never be answered strictly; a
//! relaxed answer may be that old for a bounded time; in its own process an invalidation holds at
//! once; and when the faults have stopped nothing purged may be left anywhere.

mod answers;
mod cache;
mod faults;
mod network;
mod node;
mod oracle;
mod scripts;
mod server;
mod tests;
mod world;

use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(450);
const GRACE: Duration = Duration::from_millis(1500);
