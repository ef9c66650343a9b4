//! The reverse proxy as clients and origins meet it: the program is started between an origin that a
//! test scripts and a client that writes and reads bytes.
//!
//! `cargo test` builds the examples; with `cargo test --test reverse_proxy`, build it first. What needs
//! `chromium` or `nginx` runs when asked to, with those installed:
//!
//! ```sh
//! cargo test -p larder-examples --test reverse_proxy -- --ignored
//! ```

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses the part of the support it needs"
)]

#[path = "../../reverse_proxy/hop_by_hop.rs"]
mod hop_by_hop;
#[path = "../../reverse_proxy/informational.rs"]
mod informational;
#[path = "../../../tests/support/server.rs"]
mod server;

mod bodies;
mod broken;
mod browser;
mod caching;
mod client;
mod curl;
mod downgrades;
mod endless;
mod files;
mod forwarding;
mod http2;
mod interim;
mod origin;
mod outbound;
mod process;
mod proxy;
mod requests;
mod soak;
mod upgrades;
mod writing;
