//! Lease clock: the monotonic clock of leases, which also counts the time for which the computer was asleep.
//!
//! The monotonic clock of most systems, and every timer of tokio, stands still while a computer is suspended;
//! the database's clock does not. So a moment of this clock is a moment of tokio's clock plus the time asleep
//! since the program's first look. Timers only decide when somebody looks again: whether a moment has come is
//! judged whenever a future is polled.

use std::ops::Add;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How soon a future that waits for a moment looks at the clock after the computer was asleep.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Shorter differences between the clocks are the time between two readings of them.
const SHORTEST_SLEEP: Duration = Duration::from_millis(10);

/// How often the clocks are read to get two readings that belong together.
const READINGS: usize = 8;

/// Readings this close to one another belong together.
const CLOSE: Duration = Duration::from_micros(50);

/// A moment by the lease clock. It has no meaning for timers, which do not count the time asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseInstant(Instant);

impl LeaseInstant {
    pub(crate) fn now() -> Self {
        Self(Instant::now() + time_asleep())
    }

    /// How long ago it was; zero if it is ahead.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_duration_since(self.0)
    }

    /// How far ahead it is; zero if it has come.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Self::now().0)
    }

    pub(crate) fn has_come(self) -> bool {
        Self::now() >= self
    }

    /// When a timer of tokio would fire for this moment, if the computer does not sleep until then.
    pub(crate) fn as_timer(self) -> Instant {
        Instant::now() + self.left()
    }

    /// Resolves when the moment has come. Every poll looks at the clock, so after a stop of the process, or of
    /// the computer, the first poll sees it, whether a timer has fired or not.
    pub(crate) async fn reached(self) {
        let mut timer = std::pin::pin!(self.next_look());
        std::future::poll_fn(|context| {
            loop {
                if self.has_come() {
                    return Poll::Ready(());
                }
                match timer.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => timer.set(self.next_look()),
                }
            }
        })
        .await;
    }

    fn next_look(self) -> Sleep {
        tokio::time::sleep(self.left().min(LOOK_INTERVAL))
    }
}

impl Add<Duration> for LeaseInstant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

/// For how long the computer was asleep since the first call. Never decreases.
fn time_asleep() -> Duration {
    /// In nanoseconds.
    static LONGEST_SEEN: AtomicU64 = AtomicU64::new(0);
    static FIRST: LazyLock<Option<Reading>> = LazyLock::new(Reading::take);
    let longest = LONGEST_SEEN.load(Ordering::Relaxed);
    let asleep = match (*FIRST, Reading::take()) {
        (Some(first), Some(now)) => now.asleep_since(first),
        _ => Duration::ZERO,
    };
    let asleep = u64::try_from(asleep.as_nanos()).unwrap_or(u64::MAX);
    let is_longer = asleep.saturating_sub(longest) >= nanos(SHORTEST_SLEEP);
    let longest = if is_longer {
        LONGEST_SEEN
            .fetch_max(asleep, Ordering::Relaxed)
            .max(asleep)
    } else {
        longest
    };
    #[cfg(test)]
    let longest = longest.saturating_add(simulated::asleep());
    Duration::from_nanos(longest)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Both clocks, read at the same moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Stands still while the computer is asleep.
    awake: std::time::Instant,
    /// Does not.
    boot: Duration,
}

impl Reading {
    /// `None` on systems without a clock that counts the time asleep.
    fn take() -> Option<Self> {
        let mut closest: Option<(Duration, Self)> = None;
        for _ in 0..READINGS {
            let awake = std::time::Instant::now();
            let boot = boot_time()?;
            // The process may have been stopped between the readings.
            let apart = awake.elapsed();
            if closest.is_none_or(|(least, _)| apart < least) {
                closest = Some((apart, Self { awake, boot }));
            }
            if apart <= CLOSE {
                break;
            }
        }
        closest.map(|(_, reading)| reading)
    }

    fn asleep_since(self, first: Self) -> Duration {
        let all = self.boot.saturating_sub(first.boot);
        all.saturating_sub(self.awake.saturating_duration_since(first.awake))
    }
}

/// The time since a fixed moment, by a clock that goes on while the computer is asleep. Not by an adjustable
/// one: people and NTP set it.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn boot_time() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    // There it counts the time asleep, and `std::time::Instant` uses one that does not.
    #[cfg(target_vendor = "apple")]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    clock_gettime(CLOCK).ok().map(Duration::from)
}

/// There the lease clock is tokio's, which may stand still while the computer is asleep.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn boot_time() -> Option<Duration> {
    None
}

/// A simulated suspension: the time asleep grows while tokio's clock stands still.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static ASLEEP: Cell<u64> = const { Cell::new(0) };
    }

    /// Suspends the computer of this thread's test.
    pub(crate) fn suspend(time: Duration) {
        ASLEEP.set(ASLEEP.get() + super::nanos(time));
    }

    pub(super) fn asleep() -> u64 {
        ASLEEP.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_moment_is_reached_when_tokios_clock_reaches_it() {
        let start = Instant::now();
        (LeaseInstant::now() + Duration::from_secs(100))
            .reached()
            .await;
        assert_eq!(start.elapsed(), Duration::from_secs(100));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_poll_after_a_suspension_sees_that_the_moment_has_come() {
        let moment = LeaseInstant::now() + Duration::from_secs(5);
        let mut reached = std::pin::pin!(moment.reached());
        assert!(reached.as_mut().now_or_never().is_none());
        simulated::suspend(Duration::from_secs(6));
        assert!(reached.as_mut().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_suspension_a_waiting_task_looks_at_the_clock_soon() {
        let start = Instant::now();
        let moment = LeaseInstant::now() + Duration::from_secs(3600);
        let suspension = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            simulated::suspend(Duration::from_secs(3600));
        };
        tokio::join!(moment.reached(), suspension);
        assert!(start.elapsed() <= Duration::from_secs(1) + LOOK_INTERVAL);
    }

    #[test]
    fn the_time_asleep_is_the_difference_of_the_clocks() {
        let first = Reading::take().unwrap();
        let seconds = Duration::from_secs;
        let later = |awake, boot| Reading {
            awake: first.awake + seconds(awake),
            boot: first.boot + seconds(boot),
        };
        assert_eq!(later(10, 10).asleep_since(first), seconds(0));
        assert_eq!(later(10, 70).asleep_since(first), seconds(60));
        // Two readings never belong together exactly.
        assert_eq!(later(10, 9).asleep_since(first), seconds(0));
    }
}
