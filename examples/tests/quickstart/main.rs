//! The quickstart as a stranger meets it: the program is started, and every route of its table is
//! asked over a socket, in memory alone and with a Redis.
//!
//! `cargo test` builds the examples; with `cargo test --test quickstart`, build it first.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod limits;
mod nodes;
mod outages;
mod process;
mod routes;
mod webhooks;
