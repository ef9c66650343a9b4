//! The settings of a handle, checked: what everything that keeps it connected goes by.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::address::Address;
use super::tls::Certificates;
use crate::clock::Clock;

/// The settings, checked.
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) deadline: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) prefix: String,
    pub(crate) certificates: Certificates,
    pub(crate) clock: Clock,
    /// The place of the Sentinel that answered last: it is asked first.
    pub(crate) sentinel: AtomicUsize,
}
