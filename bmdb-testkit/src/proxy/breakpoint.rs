//! The trap that waits for a request and loses it.

use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// What becomes of a request; its connection is cut in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It does not reach the server.
    Request,
    /// It reaches the server, which is not waited for: whether it takes effect is a race.
    Connection,
    /// The server has answered it; the answer does not reach the client.
    Answer,
}

impl Loss {
    /// Every loss there is, for tests that must hold for each.
    pub const ALL: [Self; 3] = [Self::Request, Self::Connection, Self::Answer];
}

/// Where a trap sprang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Catch {
    pub(super) loss: Loss,
    /// How many of the latest bytes there are up to the needle's end; at least one.
    pub(super) end: usize,
    trap: u64,
}

#[derive(Debug)]
struct Trap {
    loss: Loss,
    needle: Vec<u8>,
}

/// The trap that is set, if one is, and which one had its loss last. They are numbered from 1, so
/// that the loss of one that was replaced is not taken for that of its successor.
#[derive(Debug)]
pub(super) struct Traps {
    set: Mutex<(u64, Option<Trap>)>,
    lost: watch::Sender<u64>,
}

impl Default for Traps {
    fn default() -> Self {
        Self {
            set: Mutex::default(),
            lost: watch::Sender::new(0),
        }
    }
}

impl Traps {
    pub(super) fn set(&self, loss: Loss, needle: &[u8]) {
        let mut set = self.lock();
        let needle = needle.to_vec();
        *set = (set.0 + 1, Some(Trap { loss, needle }));
    }

    pub(super) fn forget(&self) {
        self.lock().1 = None;
    }

    pub(super) fn have_lost(&self) -> bool {
        self.is_last(*self.lost.borrow())
    }

    pub(super) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender is ours, so it is there as long as anybody waits.
        let _ = lost.wait_for(|lost| self.is_last(*lost)).await;
    }

    fn is_last(&self, trap: u64) -> bool {
        trap > 0 && self.lock().0 == trap
    }

    /// Springs when the bytes contain the needle. `before` is the end of what the same request had
    /// before them, as far as a needle may have begun there; it is kept up to date. `runs` says how
    /// many of the bytes there are up to where a statement is run that was prepared with the needle
    /// in its text, if one is.
    pub(super) fn spring(
        &self,
        before: &mut Vec<u8>,
        bytes: &[u8],
        runs: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> Option<Catch> {
        let mut set = self.lock();
        let (number, Some(Trap { loss, needle })) = &*set else {
            before.clear();
            return None;
        };
        let old = before.len();
        before.extend_from_slice(bytes);
        let literally =
            find(before, needle).map(|at| (at + needle.len()).saturating_sub(old).max(1));
        let by_name = runs(needle);
        if let Some(end) = literally.into_iter().chain(by_name).min() {
            let (loss, trap) = (*loss, *number);
            set.1 = None;
            return Some(Catch { loss, end, trap });
        }
        let useful = needle.len().saturating_sub(1).min(before.len());
        before.drain(..before.len() - useful);
        None
    }

    /// The loss has happened.
    pub(super) fn tell(&self, catch: Catch) {
        self.lost.send_replace(catch.trap);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Option<Trap>)> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    bytes.windows(needle.len()).position(|part| part == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_however_it_is_split() {
        let request = b"SELECT COMMIT\0 and more";
        for cut in 0..request.len() {
            let traps = Traps::default();
            traps.set(Loss::Answer, b"COMMIT\0");
            let mut before = Vec::new();
            let (first, second) = request.split_at(cut);
            let caught = [first, second].map(|bytes| {
                traps
                    .spring(&mut before, bytes, |_| None)
                    .map(|catch| catch.end)
            });
            let expected = if cut < 14 {
                [None, Some(14 - cut)]
            } else {
                [Some(14), None]
            };
            assert_eq!(caught, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_needle_is_found_in_single_bytes() {
        let traps = Traps::default();
        traps.set(Loss::Request, b"aab");
        let mut before = Vec::new();
        let caught: Vec<bool> = b"xaaab"
            .iter()
            .map(|byte| traps.spring(&mut before, &[*byte], |_| None).is_some())
            .collect();
        assert_eq!(caught, [false, false, false, false, true]);
    }

    #[test]
    fn a_trap_springs_once_and_its_loss_is_its_own() {
        let traps = Traps::default();
        assert!(!traps.have_lost());
        traps.set(Loss::Request, b"");
        let catch = traps.spring(&mut Vec::new(), b"x", |_| None).unwrap();
        assert!(traps.spring(&mut Vec::new(), b"x", |_| None).is_none());
        assert!(!traps.have_lost());
        traps.tell(catch);
        assert!(traps.have_lost());
        traps.set(Loss::Request, b"y");
        assert!(!traps.have_lost());
        traps.tell(catch);
        assert!(!traps.have_lost());
    }
}
