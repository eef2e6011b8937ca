//! The faults of a proxy, and how one direction of a connection waits under them.

use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The current faults; the default is none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) delay: Duration,
    pub(super) stop_requests: bool,
    pub(super) stop_answers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

/// One direction of one connection.
pub(super) struct Gate<'a> {
    pub(super) direction: Direction,
    pub(super) faults: watch::Receiver<Faults>,
    pub(super) cut: &'a CancellationToken,
}

impl Gate<'_> {
    /// Waits until the faults let data pass that arrived at `arrived`. A change of the faults takes
    /// effect at once. Fails when the connection was cut.
    pub(super) async fn pass(&mut self, arrived: Instant) -> io::Result<()> {
        loop {
            let faults = *self.faults.borrow_and_update();
            if self.cut.is_cancelled() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let is_stopped = match self.direction {
                Direction::ToServer => faults.stop_requests,
                Direction::ToClient => faults.stop_answers,
            };
            // A time beyond the range of the clock never comes.
            let due = arrived.checked_add(faults.delay).filter(|_| !is_stopped);
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
    async fn nothing_passes_once_the_connection_is_cut() {
        let faults = watch::Sender::new(Faults::default());
        let cut = CancellationToken::new();
        let mut gate = Gate {
            direction: Direction::ToServer,
            faults: faults.subscribe(),
            cut: &cut,
        };
        assert!(gate.pass(Instant::now()).await.is_ok());
        cut.cancel();
        assert!(gate.pass(Instant::now()).await.is_err());
    }
}
