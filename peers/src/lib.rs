//! The same work for every HTTP cache: what the benchmarks in `src/bin` drive.
//!
//! - [`origin`] is the inner service that every cache wraps, and the request that is sent to it.
//! - [`subjects`] are the services compared, one module each.
//! - [`served`] asks a server in a process of its own.
//! - [`driver`] runs any of them; it knows nothing of who it runs.

pub mod driver;
pub mod origin;
pub mod served;
pub mod stats;
pub mod subjects;
