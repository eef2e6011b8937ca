//! Which fault comes when: drawn from the seed, and from nothing else.

use super::fault::{Kind, Track};
use super::rng::Dice;
use std::time::Duration;

/// Before the first fault.
const WARM_UP: Duration = Duration::from_secs(2);

/// After the last one.
const TAIL: Duration = Duration::from_secs(1);

/// A run of this length has long quiet times as well.
const LONG: Duration = Duration::from_secs(120);

/// A fault that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    /// Since the beginning of the run, or later if the fault before it took longer.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// How long it is to last.
    pub(crate) length: Duration,
    /// What else is to be chosen about it comes from this.
    pub(crate) draw: u64,
}

/// The faults of one track of a run of this length, in their order. The kinds take turns, each time in
/// another order, so that each of them occurs where there is time for all.
pub(crate) fn schedule(seed: u64, track: Track, kinds: &[Kind], time: Duration) -> Vec<Injection> {
    let kinds: Vec<Kind> = kinds
        .iter()
        .copied()
        .filter(|kind| kind.track() == track)
        .collect();
    let mut dice = Dice::new(bmdb_backoff::mix(u128::from(seed), track as u64));
    let mut deck = Vec::new();
    let mut schedule = Vec::new();
    let mut at = WARM_UP;
    while !kinds.is_empty() {
        if deck.is_empty() {
            deck.clone_from(&kinds);
        }
        let kind = deck.swap_remove(dice.place(deck.len()));
        let length = kind.length(&mut dice);
        if at + length + TAIL > time {
            break;
        }
        let draw = dice.draw();
        schedule.push(Injection {
            at,
            kind,
            length,
            draw,
        });
        at += length + pause(&mut dice, time);
    }
    schedule
}

/// When the last fault of a run of this length may begin where those before it took longer than planned.
pub(crate) fn latest(time: Duration) -> Duration {
    (time * 3 / 2).min(LONG).max(time)
}

fn pause(dice: &mut Dice, time: Duration) -> Duration {
    let short = Duration::from_millis(600 + u64::from(dice.roll(1_000)));
    if time >= LONG && dice.roll(6) == 0 {
        return short + Duration::from_millis(u64::from(dice.roll(12_000)));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seed: u64, seconds: u64) -> [Vec<Injection>; 2] {
        let time = Duration::from_secs(seconds);
        Track::ALL.map(|track| schedule(seed, track, &Kind::ALL, time))
    }

    #[test]
    fn a_seed_has_one_schedule_and_another_seed_another() {
        assert_eq!(of(7, 60), of(7, 60));
        assert_ne!(of(7, 60), of(8, 60));
    }

    #[test]
    fn every_kind_of_fault_comes_within_half_a_minute() {
        for seed in 0..500 {
            let schedules = of(seed, 30);
            let kinds: Vec<Kind> = schedules.iter().flatten().map(|i| i.kind).collect();
            for kind in Kind::ALL {
                assert!(kinds.contains(&kind), "seed {seed}: {kind}");
            }
        }
    }

    #[test]
    fn faults_of_a_track_do_not_overlap_and_are_over_before_the_end() {
        for seed in 0..50 {
            for schedule in of(seed, 200) {
                for pair in schedule.windows(2) {
                    assert!(pair[0].at + pair[0].length < pair[1].at);
                }
                let last = schedule.last().unwrap();
                assert!(last.at + last.length < Duration::from_secs(200));
            }
        }
    }

    #[test]
    fn only_a_short_run_may_take_longer() {
        for (time, at_the_latest) in [(30, 45), (100, 120), (120, 120), (3_600, 3_600)] {
            let latest = latest(Duration::from_secs(time));
            assert_eq!(latest, Duration::from_secs(at_the_latest));
        }
    }

    #[test]
    fn nothing_comes_that_was_not_asked_for() {
        let time = Duration::from_secs(60);
        assert_eq!(schedule(1, Track::Server, &[Kind::Cut], time), []);
        let cuts = schedule(1, Track::Worker, &[Kind::Cut], time);
        assert!(cuts.len() > 10 && cuts.iter().all(|i| i.kind == Kind::Cut));
        assert_eq!(
            schedule(1, Track::Worker, &Kind::ALL, Duration::from_secs(2)),
            []
        );
    }
}
