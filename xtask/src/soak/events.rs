//! Which faults have happened, and how long it took until work ended again.

use super::fault::Kind;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A fault that is over. Times are microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened {
    pub(crate) kind: Kind,
    pub(crate) over: i64,
    /// Whether anybody has felt it.
    pub(crate) felt: bool,
}

/// Of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) injected: usize,
    pub(crate) felt: usize,
    /// From the end of a fault to the next end of any work.
    pub(crate) longest_recovery: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Chronicle(Mutex<Vec<Happened>>);

impl Chronicle {
    pub(crate) fn add(&self, happened: Happened) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(happened);
    }

    pub(crate) fn all(&self) -> Vec<Happened> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The servers run on this machine, so this is the database's clock as well.
#[allow(
    clippy::disallowed_methods,
    reason = "where the database is away it cannot be asked; this only tells how long things took"
)]
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

/// By kind; `ends` are when works ended, in their order.
pub(crate) fn tally(happened: &[Happened], ends: &[i64]) -> BTreeMap<Kind, Tally> {
    let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
    for fault in happened {
        let tally = tallies.entry(fault.kind).or_default();
        tally.injected += 1;
        tally.felt += usize::from(fault.felt);
        let next = ends.partition_point(|end| *end < fault.over);
        if let Some(next) = ends.get(next) {
            tally.longest_recovery = tally.longest_recovery.max(micros(next - fault.over));
        }
    }
    tallies
}

/// A time in which no work ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    /// Since the beginning of the run.
    pub(crate) at: Duration,
    pub(crate) length: Duration,
}

/// The longest within the run.
pub(crate) fn longest_stall(began: i64, over: i64, ends: &[i64]) -> Stall {
    let within = ends
        .iter()
        .copied()
        .filter(|end| (began..over).contains(end));
    let mut last = began;
    let mut longest = Stall::default();
    for end in within.chain([over]) {
        let length = micros(end - last);
        if length > longest.length {
            let at = micros(last - began);
            longest = Stall { at, length };
        }
        last = end;
    }
    longest
}

pub(crate) fn micros(time: i64) -> Duration {
    Duration::from_micros(u64::try_from(time).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [i64; 4] = [1_000, 2_000, 9_000, 10_000];

    #[test]
    fn the_longest_stall_is_the_longest_time_without_an_end() {
        let stall = |began, over, ends| {
            let stall = longest_stall(began, over, ends);
            (stall.at.as_micros(), stall.length.as_micros())
        };
        assert_eq!(stall(500, 11_000, &ENDS), (1_500, 7_000));
        assert_eq!(stall(0, 40_000, &ENDS), (10_000, 30_000));
        assert_eq!(stall(9_500, 10_100, &ENDS), (0, 500));
        assert_eq!(stall(5, 9, &[]), (0, 4));
    }

    #[test]
    fn a_recovery_lasts_from_the_end_of_a_fault_to_the_next_end_of_work() {
        let fault = |over, felt| Happened {
            kind: Kind::Cut,
            over,
            felt,
        };
        let tallies = tally(
            &[fault(500, true), fault(2_500, false), fault(20_000, true)],
            &ENDS,
        );
        let cut = Tally {
            injected: 3,
            felt: 2,
            longest_recovery: Duration::from_micros(6_500),
        };
        assert_eq!(tallies, BTreeMap::from([(Kind::Cut, cut)]));
    }
}
