//! One cache, six places to keep its responses: what a route says holds in each of them.
//!
//! Every behaviour is run for two *nodes* of one service. In memory they are one cache; elsewhere they
//! are two, which share nothing but Redis: a single server, relaxed or strict, with the near tier or
//! without, and a Cluster of three. What one of them stores the other serves, and what one of them
//! invalidates the other shows no more: a strict one from the moment that the invalidation has
//! returned, a relaxed one moments later.

#![cfg(feature = "redis")]

#[path = "../support/drive.rs"]
mod drive;
#[path = "../support/masters.rs"]
mod masters;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod world;

/// Runs each behaviour in each place.
macro_rules! everywhere {
    ($($behaviour:ident),* $(,)?) => {
        everywhere! { memory Memory: $($behaviour)* }
        everywhere! { redis Redis: $($behaviour)* }
        everywhere! { strict Strict: $($behaviour)* }
        everywhere! { far Far: $($behaviour)* }
        everywhere! { lax Lax: $($behaviour)* }
        everywhere! { cluster Cluster: $($behaviour)* }
    };
    ($module:ident $place:ident: $($behaviour:ident)*) => {
        mod $module {
            use crate::world::{Place, World};

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    super::$behaviour(World::new(Place::$place).await).await;
                }
            )*
        }
    };
}

mod collapsing;
mod freshness;
mod invalidation;
mod keys;
mod signals;
mod storing;
mod values;
