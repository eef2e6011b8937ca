//! Which faults were injected, and how long it took until a work item ended again.

use crate::fault::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

/// A fault that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// In microseconds since the epoch.
    pub(crate) over: i64,
    /// Whether a worker could notice it.
    pub(crate) felt: bool,
}

/// What all faults of one kind did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) injected: usize,
    pub(crate) felt: usize,
    /// From the end of a fault to the next end of an attempt.
    pub(crate) longest_recovery: Duration,
}

/// The time in microseconds since the epoch. The servers run on this machine, so it is also the
/// database's.
#[allow(
    clippy::disallowed_methods,
    reason = "the database may be down; this only measures durations"
)]
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// The effects by kind; `ends` are the sorted times at which attempts ended.
pub(crate) fn effects(events: &[Event], ends: &[i64]) -> BTreeMap<Kind, Effect> {
    let mut effects: BTreeMap<Kind, Effect> = BTreeMap::new();
    for fault in events {
        let effect = effects.entry(fault.kind).or_default();
        effect.injected += 1;
        effect.felt += usize::from(fault.felt);
        let next = ends.partition_point(|end| *end < fault.over);
        if let Some(next) = ends.get(next) {
            effect.longest_recovery = effect.longest_recovery.max(micros(next - fault.over));
        }
    }
    effects
}

/// A time in which no attempt ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    /// Since the beginning of the run.
    pub(crate) at: Duration,
    pub(crate) length: Duration,
}

/// The longest stall between two times.
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
    fn a_recovery_lasts_from_the_end_of_a_fault_to_the_next_end_of_an_attempt() {
        let cut = |over, felt| Event {
            kind: Kind::Cut,
            over,
            felt,
        };
        let events = [cut(500, true), cut(2_500, false), cut(20_000, true)];
        let expected = Effect {
            injected: 3,
            felt: 2,
            longest_recovery: Duration::from_micros(6_500),
        };
        assert_eq!(
            effects(&events, &ENDS),
            BTreeMap::from([(Kind::Cut, expected)])
        );
    }
}
