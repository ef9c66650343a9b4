//! May this caller pass?

mod builder;
mod core;
mod key;
mod limiter;
mod stats;
mod take;
pub mod wait;

pub use self::builder::{Fallback, LimiterBuilder};
pub use self::key::{Key, PeerAddr};
pub use self::limiter::{Limiter, Reservation};
pub use self::stats::LimitStats;
pub use crate::header::rate_limit::Profile;
pub use crate::policy::bucket::{Decision, Quota};
pub use crate::policy::client_address::ClientAddress;
