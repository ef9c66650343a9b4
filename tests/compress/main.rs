//! Answers in the coding that their client asked for: made on the way, or kept by the cache.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/codings.rs"]
mod codings;

mod answers;
mod cached;
mod parts;
mod properties;
mod requests;
mod streams;
