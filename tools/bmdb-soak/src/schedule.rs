//! When each fault comes: drawn from the seed, and from nothing else.

use crate::fault::{Kind, Track};
use crate::rng::Rng;
use std::time::Duration;

/// Before the first drawn fault.
const WARM_UP: Duration = Duration::from_secs(2);

/// After the last drawn fault.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// A run of this length has long quiet times as well.
const LONG: Duration = Duration::from_secs(120);

/// The pauses between the faults of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rhythm {
    /// Drawn, about a second each.
    Drawn,
    /// Always this long.
    Every(Duration),
}

/// A fault that will be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    /// Since the beginning of the run; later if the fault before it took longer than planned.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) length: Duration,
    /// Seeds the fault's other choices.
    pub(crate) draw: u64,
}

/// The faults of one track in a run of this length, in their order. The kinds take turns, each round in
/// another order, so each of them occurs if there is time for all.
pub(crate) fn schedule(
    seed: u64,
    track: Track,
    rhythm: Rhythm,
    kinds: &[Kind],
    time: Duration,
) -> Vec<Injection> {
    let kinds: Vec<Kind> = kinds
        .iter()
        .copied()
        .filter(|kind| kind.track() == track)
        .collect();
    // Beside the streams of the workers, which count up from 0.
    let mut rng = Rng::new(seed, u32::MAX - track as u32);
    let (mut at, cool_down) = match rhythm {
        Rhythm::Drawn => (WARM_UP, COOL_DOWN),
        Rhythm::Every(pause) => (pause, Duration::from_millis(1)),
    };
    let mut round = Vec::new();
    let mut schedule = Vec::new();
    while !kinds.is_empty() {
        if round.is_empty() {
            round.clone_from(&kinds);
        }
        let kind = round.swap_remove(rng.index(round.len()));
        let length = kind.length(&mut rng);
        if at + length + cool_down > time {
            break;
        }
        let draw = rng.draw();
        schedule.push(Injection {
            at,
            kind,
            length,
            draw,
        });
        at += length + pause(&mut rng, rhythm, time);
    }
    schedule
}

/// When the last fault of a run of this length may begin if those before it took longer than planned.
pub(crate) fn latest(time: Duration) -> Duration {
    (time * 3 / 2).min(LONG).max(time)
}

fn pause(rng: &mut Rng, rhythm: Rhythm, time: Duration) -> Duration {
    if let Rhythm::Every(pause) = rhythm {
        return pause;
    }
    let short = Duration::from_millis(600 + u64::from(rng.below(1_000)));
    if time >= LONG && rng.below(6) == 0 {
        return short + Duration::from_millis(u64::from(rng.below(12_000)));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seed: u64, seconds: u64) -> [Vec<Injection>; 3] {
        let time = Duration::from_secs(seconds);
        Track::ALL.map(|track| schedule(seed, track, Rhythm::Drawn, &Kind::SOAK, time))
    }

    #[test]
    fn a_seed_repeats_its_schedule_and_another_seed_has_another() {
        assert_eq!(of(7, 60), of(7, 60));
        assert_ne!(of(7, 60), of(8, 60));
    }

    #[test]
    fn every_kind_of_fault_comes_within_half_a_minute() {
        for seed in 0..500 {
            let schedules = of(seed, 30);
            let kinds: Vec<Kind> = schedules.iter().flatten().map(|i| i.kind).collect();
            for kind in Kind::SOAK {
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
    fn only_chosen_kinds_are_scheduled() {
        let of = |track, kinds: &[Kind], seconds| {
            let time = Duration::from_secs(seconds);
            schedule(1, track, Rhythm::Drawn, kinds, time)
        };
        assert_eq!(of(Track::Server, &[Kind::Cut], 60), []);
        let cuts = of(Track::Worker, &[Kind::Cut], 60);
        assert!(cuts.len() > 10 && cuts.iter().all(|i| i.kind == Kind::Cut));
        assert_eq!(of(Track::Worker, &Kind::SOAK, 2), []);
    }

    #[test]
    fn faults_at_a_fixed_rhythm_come_until_just_before_the_end() {
        let (rhythm, time) = (
            Rhythm::Every(Duration::from_millis(2_500)),
            Duration::from_secs(10),
        );
        let kills = schedule(1, Track::Worker, rhythm, &Kind::STRESS, time);
        let times: Vec<u128> = kills.iter().map(|i| i.at.as_millis()).collect();
        assert_eq!(times, [2_500, 5_000, 7_500]);
    }
}
