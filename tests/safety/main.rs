//! What must never happen, whatever a client sends and whatever a handler answers.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod credentials;
mod directives;
mod methods;
mod partial;
mod strangers;
mod variants;
