//! May this caller pass?

mod admit;
mod answer;
mod body;
mod builder;
mod core;
mod future;
mod key;
mod layer;
mod limiter;
mod list;
mod route;
mod rule;
mod service;
mod stats;
mod take;
mod tell;
pub mod wait;

pub use self::answer::Refusal;
pub use self::body::ResponseBody;
pub use self::builder::{Fallback, LimiterBuilder};
pub use self::future::ResponseFuture;
pub use self::key::{Key, PeerAddr};
pub use self::layer::LimitLayer;
pub use self::limiter::{Limiter, Reservation};
pub use self::list::List;
pub use self::rule::{is_hit, Missing, Source};
pub use self::service::Limit;
pub use self::stats::LimitStats;
pub use self::tell::Verdict;
pub use crate::header::rate_limit::Profile;
pub use crate::policy::bucket::{Decision, Quota};
pub use crate::policy::client_address::ClientAddress;
