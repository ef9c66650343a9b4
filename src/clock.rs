//! The one place that asks what time it is.
//!
//! Every rule takes the time as an argument, and every service takes it from the [`Clock`] it was
//! configured with, so a test moves hours in no time: build the cache with
//! [`ManualClock::clock`] and call [`ManualClock::advance`].
//!
//! Times are wall-clock milliseconds, because the ages and dates of HTTP are wall-clock times that
//! travel between machines.

use std::fmt;
use std::future::{poll_fn, Future};
use std::pin::pin;
#[cfg(feature = "redis")]
use std::sync::atomic::AtomicI64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
#[cfg(feature = "redis")]
use std::time::Instant;

use tokio::sync::watch;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(u64);

impl Timestamp {
    #[cfg(any(test, feature = "redis"))]
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    #[cfg(feature = "redis")]
    pub(crate) const fn as_millis(self) -> u64 {
        self.0
    }

    pub(crate) const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time since `earlier`, or zero when the clock was set back in between.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    pub(crate) const fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

/// The whole milliseconds of a duration, saturated.
pub(crate) const fn millis(duration: Duration) -> u64 {
    let millis = duration.as_millis();
    if millis > u64::MAX as u128 {
        u64::MAX
    } else {
        millis as u64
    }
}

/// The time that this process has lived, in milliseconds, including what the machine slept.
///
/// The monotonic clock of most systems stands still while the machine is suspended. Against the wall
/// clock that shows as a jump, and a jump, in either direction, is taken as time that has passed: who
/// asks how old something can be at most must not be told too little.
#[cfg(feature = "redis")]
#[derive(Debug)]
pub(crate) struct Elapsed {
    /// By how much the wall clock is ahead of the monotonic one.
    ahead: AtomicI64,
    slept: AtomicU64,
}

#[cfg(feature = "redis")]
impl Elapsed {
    /// Less than this is the wall clock being disciplined.
    const JUMP: i64 = 50;

    /// Both clocks are read in milliseconds.
    pub(crate) fn since(monotonic: u64, wall: u64) -> Self {
        Self {
            ahead: AtomicI64::new(wall.wrapping_sub(monotonic).cast_signed()),
            slept: AtomicU64::new(0),
        }
    }

    pub(crate) fn at(&self, monotonic: u64, wall: u64) -> u64 {
        let ahead = wall.wrapping_sub(monotonic).cast_signed();
        let jump = ahead.wrapping_sub(self.ahead.load(Ordering::SeqCst));
        if jump.unsigned_abs() > Self::JUMP.unsigned_abs() {
            // Two threads may both count it: too much, never too little.
            self.slept.fetch_add(jump.unsigned_abs(), Ordering::SeqCst);
            self.ahead.store(ahead, Ordering::SeqCst);
        }
        monotonic.saturating_add(self.slept.load(Ordering::SeqCst))
    }
}

/// [`Elapsed`] by the system's clocks: for what concerns connections rather than responses, and so is
/// not moved by a [`ManualClock`].
#[cfg(feature = "redis")]
#[derive(Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    elapsed: Elapsed,
}

#[cfg(feature = "redis")]
impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that asks")]
    pub(crate) fn start() -> Self {
        let wall = Clock::system().now().as_millis();
        Self {
            started: Instant::now(),
            elapsed: Elapsed::since(0, wall),
        }
    }

    /// Milliseconds since the start, at least 1.
    pub(crate) fn now(&self) -> u64 {
        let wall = Clock::system().now().as_millis();
        self.elapsed.at(millis(self.started.elapsed()), wall).max(1)
    }
}

/// Where a cache takes the time from: the system, or a hand that moves it.
///
/// The default is the system's clock.
#[derive(Clone, Default)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(ManualClock),
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => system_time(),
            Source::Manual(clock) => Timestamp(clock.hand.now()),
        }
    }

    /// Nanoseconds since some moment of long ago; never set back by the system.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        match &self.source {
            Source::System => monotonic_nanos(),
            Source::Manual(clock) => clock.hand.now().saturating_mul(1_000_000),
        }
    }

    /// Waits until `duration` has passed on this clock.
    pub(crate) async fn sleep(&self, duration: Duration) {
        match &self.source {
            Source::System => tokio::time::sleep(duration).await,
            Source::Manual(clock) => {
                let deadline = self.now().plus(duration).0;
                let mut moved = clock.hand.moved.subscribe();
                let has_passed = |(): &()| clock.hand.now() >= deadline;
                if moved.wait_for(has_passed).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Waits for `future`, but no longer than `limit`.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(limit));
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            sleep.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

/// The system's time as the kernel noted it at its last tick, a few milliseconds ago at most. Every
/// look-up asks, and reading the hardware would cost it several times as much.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn system_time() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Timestamp(seconds * 1000 + nanos / 1_000_000)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::disallowed_methods, reason = "this is the one place that asks")]
fn system_time() -> Timestamp {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let elapsed = elapsed.unwrap_or_default();
    // Not `as_millis`, which divides 128 bits.
    Timestamp(elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis()))
}

/// The precise one: a bucket that is refilled every few microseconds would see the other one jump.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanos
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::disallowed_methods, reason = "this is the one place that asks")]
fn monotonic_nanos() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    let elapsed = START.elapsed();
    // Not `as_nanos`, which multiplies 128 bits; never zero.
    elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos()) + 1
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::System => f.write_str("Clock::system"),
            Source::Manual(_) => f.write_str("Clock::manual"),
        }
    }
}

/// A clock that stands still until it is told to move, for tests.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
/// use larder::{Cache, ManualClock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = ManualClock::new();
/// let cache = Cache::builder().clock(clock.clock()).build()?;
/// let minute = Duration::from_secs(60);
/// let remember = |n: u32| cache.get_or_compute("n", minute, ["n"], move || async move { Ok::<_, Infallible>(n) });
///
/// assert_eq!(remember(1).await?, 1);
/// assert_eq!(remember(2).await?, 1);
/// clock.advance(minute); // what was stored for a minute is stale now
/// assert_eq!(remember(3).await?, 3);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ManualClock {
    hand: Arc<Hand>,
}

struct Hand {
    /// Milliseconds since the Unix epoch. Apart, so that to read it takes no lock.
    now: AtomicU64,
    moved: watch::Sender<()>,
}

impl Hand {
    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    fn set(&self, time: impl Fn(u64) -> u64) {
        let set = |now| Some(time(now));
        let _ = self
            .now
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, set);
        self.moved.send_replace(());
    }
}

impl ManualClock {
    /// A clock that stands at 2026-01-01 00:00:00 UTC.
    pub fn new() -> Self {
        Self {
            hand: Arc::new(Hand {
                now: AtomicU64::new(1_767_225_600_000),
                moved: watch::Sender::new(()),
            }),
        }
    }

    /// The clock to configure a cache with; it follows this one.
    pub fn clock(&self) -> Clock {
        Clock {
            source: Source::Manual(self.clone()),
        }
    }

    /// Moves the clock forward and wakes whoever waited for a moment that has now passed.
    pub fn advance(&self, by: Duration) {
        self.hand.set(|now| now.saturating_add(millis(by)));
    }

    /// Sets the clock back, as an operator or a bad time server would.
    pub fn set_back(&self, by: Duration) {
        self.hand.set(|now| now.saturating_sub(millis(by)));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock")
            .field(&self.hand.now())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "compared with the other clock")]
    fn the_system_clock_is_milliseconds_behind_the_precise_one_at_most() {
        use std::time::{SystemTime, UNIX_EPOCH};

        let precise = || millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let behind = |_| {
            let before = precise();
            before.saturating_sub(Clock::system().now().0)
        };
        // A thread may be put aside in between, but not every time.
        assert!((0..100).map(behind).min().unwrap() <= 20);
        assert!(Clock::system().now().0 <= precise());
    }

    #[cfg(feature = "redis")]
    #[test]
    fn time_that_the_machine_slept_has_passed_and_small_corrections_have_not() {
        let elapsed = Elapsed::since(1_000, 500_000);
        assert_eq!(elapsed.at(2_000, 501_000), 2_000);
        assert_eq!(
            elapsed.at(3_000, 502_020),
            3_000,
            "the clock is disciplined"
        );
        assert_eq!(elapsed.at(4_000, 563_000), 64_000, "a minute asleep");
        assert_eq!(elapsed.at(5_000, 564_000), 65_000);
        assert_eq!(elapsed.at(6_000, 555_000), 76_000, "set back: who knows");
    }
}
