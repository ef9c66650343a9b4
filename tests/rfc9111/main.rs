//! Exchanges with a cache of `Profile::Rfc9111`, each beside the section that says how they must go.
//!
//! The rows are scripts, one exchange per line; `script.rs` tells how they are read.

mod age;
mod credentials;
mod freshness;
mod head;
mod invalidation;
mod posted;
mod profiles;
mod range;
mod requests;
mod reuse;
mod script;
mod stale;
mod storing;
mod targeted;
mod validation;
mod vary;
