//! The server's part: two Lua scripts, and what they are called with.

use std::hash::{BuildHasher, RandomState};

use super::Reach;
use super::Strength;

/// The heartbeat.
pub(crate) const SYNC: &str = concat!(include_str!("head.lua"), include_str!("sync.lua"));
/// An invalidation.
pub(crate) const CLOCK: &str = concat!(include_str!("head.lua"), include_str!("clock.lua"));

/// What both scripts are told: how a new clock looks, and what the caller knows of the present one.
pub(crate) fn arguments(bits: u8, new_epoch: u64, knows: (u64, u64)) -> Vec<Vec<u8>> {
    let (epoch, seen) = knows;
    vec![
        bits.to_string().into_bytes(),
        new_epoch.to_be_bytes().into(),
        epoch.to_be_bytes().into(),
        seen.to_be_bytes().into(),
    ]
}

/// What the script of an invalidation is told besides.
pub(crate) fn invalidation(channel: &str, reach: &Reach) -> [Vec<u8>; 3] {
    let (everything, tags) = match reach {
        Reach::Everything(Strength::Hard) => ("h", Vec::new()),
        Reach::Everything(Strength::Soft) => ("s", Vec::new()),
        Reach::Tags(tags) => {
            let bytes = tags.iter().flat_map(|tag| tag.0.to_be_bytes());
            ("", bytes.collect())
        }
    };
    [channel.into(), everything.into(), tags]
}

/// A name for a life of the clock that no other one has: neither 0 nor the greatest.
pub(crate) fn new_epoch() -> u64 {
    // Seeded by the system, once per state.
    RandomState::new().hash_one("epoch").clamp(1, u64::MAX - 1)
}
