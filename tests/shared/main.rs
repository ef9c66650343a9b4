//! A cache and a real Redis: what it costs, what happens when it fails, and what it may not be told.

#![cfg(feature = "redis")]

#[cfg(all(feature = "gzip", feature = "br", feature = "zstd"))]
#[path = "../support/codings.rs"]
mod codings;
#[path = "../support/drive.rs"]
mod drive;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;

mod cancelling;
mod conditions;
mod deadline;
mod deploys;
mod grace;
mod leases;
mod nodes;
mod outages;
mod profiles;
#[cfg(all(feature = "gzip", feature = "br", feature = "zstd"))]
mod representations;
mod rights;
mod rubbish;
mod schedules;
#[cfg(feature = "encryption")]
mod sealing;
mod trips;
mod users;
