//! The faults of a proxy, and how one direction of a connection waits for its turn under them.

use super::listener::Life;
use std::io;
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// All that is wrong at the moment; the default is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) delay: Duration,
    pub(super) bytes_per_second: Option<NonZeroU64>,
    pub(super) requests_held: bool,
    pub(super) answers_held: bool,
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

impl Faults {
    fn hold(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.requests_held,
            Direction::ToClient => self.answers_held,
        }
    }

    /// How many of `length` bytes to pass at once: under a throttle a twentieth of a second's, so
    /// that they trickle.
    fn piece(&self, length: usize) -> usize {
        let Some(rate) = self.bytes_per_second else {
            return length;
        };
        usize::try_from(rate.get() / 20).map_or(length, |piece| piece.clamp(1, length))
    }

    /// How long a throttled line takes for that many bytes.
    fn time_of(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bytes_per_second else {
            return Duration::ZERO;
        };
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// One direction of one connection.
pub(super) struct Line<'a> {
    pub(super) direction: Direction,
    pub(super) faults: watch::Receiver<Faults>,
    pub(super) life: &'a Life,
}

impl Line<'_> {
    /// How many of `length` bytes to pass at once.
    pub(super) fn piece(&self, length: usize) -> usize {
        self.faults.borrow().piece(length)
    }

    /// Waits until the line lets that many bytes pass, which came in at `arrived`. Whatever
    /// changes meanwhile counts from now on. Fails when the connection was cut.
    pub(super) async fn clear(&mut self, arrived: Instant, bytes: usize) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let faults = *self.faults.borrow_and_update();
            if self.life.is_over() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            // A time beyond what the clock can count never comes.
            let due = arrived
                .checked_add(faults.delay)
                .zip(begun.checked_add(faults.time_of(bytes)))
                .filter(|_| !faults.hold(self.direction))
                .map(|(delayed, throttled)| delayed.max(throttled));
            if due.is_some_and(|due| due <= Instant::now()) {
                return Ok(());
            }
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                changed = self.faults.changed() => {
                    changed.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_cleared_once_the_connection_is_cut() {
        let faults = watch::Sender::new(Faults::default());
        let life = Life::new();
        let mut line = Line {
            direction: Direction::ToServer,
            faults: faults.subscribe(),
            life: &life,
        };
        assert!(line.clear(Instant::now(), 1).await.is_ok());
        life.end();
        assert!(line.clear(Instant::now(), 1).await.is_err());
    }
}
