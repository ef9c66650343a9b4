//! Exchanges with a cache of `Profile::Rfc9111`, each beside the section that says how they must go.
//!
//! The rows are tables of scripts (`rows/`), one exchange per line; `script` tells how they are read. They run
//! here through the layer, and through the proxy on sockets in `examples/tests/rfc9111`.

mod credentials;
mod layer;
mod parts;
mod posted;
mod profiles;
mod rows;
#[allow(
    dead_code,
    reason = "each runner uses the part of the language it needs"
)]
mod script;
mod searches;
mod status;
#[path = "../support/mod.rs"]
mod support;

use crate::layer::InProcess;
use crate::script::Runner;

/// Where the tables are, seen from the package.
const TABLES: &str = "tests/rfc9111";

fn check(table: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let player = async |clock: &_| InProcess::new(clock);
    let rows = script::check(table, Runner::InProcess, player);
    runtime.unwrap().block_on(rows);
}
