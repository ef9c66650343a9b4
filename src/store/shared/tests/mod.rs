//! The shared tier against real servers.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs them")]

#[allow(clippy::duplicate_mod, reason = "integration tests use it too")]
#[path = "../../../../tests/support/masters.rs"]
pub(super) mod masters;
#[allow(clippy::duplicate_mod, reason = "integration tests use it too")]
#[path = "../../../../tests/support/server.rs"]
pub(super) mod server;

mod cluster;
mod index;
mod leases;
mod processes;
mod stampede;
