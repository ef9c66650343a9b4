//! Do we have the answer already?
//!
//! placeholder
mod answer;
mod body;
mod collapse;
mod compute;
mod content;
mod exchange;
mod future;
mod handle;
mod invalidate;
mod keyed;
mod layer;
mod lookup;
mod publish;
mod route;
mod service;
mod signals;
mod stats;
mod status;
mod uncacheable;
pub mod user;
mod watch;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use handle::{Cache, CacheBuilder};
pub use invalidate::{Invalidated, Invalidating};
pub use keyed::{BodyKeyed, HeadKeyed, KeyedBy};
pub use layer::CacheLayer;
pub use route::ClientCache;
pub use service::CacheService;
pub use signals::{CacheFor, Invalidate, NoStore, Tags};
pub use stats::Stats;
pub use watch::{Watch, WatchFuture, WatchLayer};
