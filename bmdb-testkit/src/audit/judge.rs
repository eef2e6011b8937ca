//! Replays attempts and finds violations, without I/O.

use super::read::{Attempt, End};
use super::{Audit, Held, Place, Rules, Violation};
use bmdb_backoff::Seconds;
use bmdb_model::Fence;
use bmdb_model::history::Outcome;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

pub(super) fn judge(mut attempts: Vec<Attempt>, rules: &Rules) -> Audit {
    let mut audit = Audit::default();
    count(&attempts, &mut audit);
    judge_claims(&attempts, rules, &mut audit.violations);
    judge_ends(&attempts, rules, &mut audit.violations);

    attempts.sort_by(|a, b| {
        (a.machine, a.lane.as_str(), a.started, a.fence).cmp(&(
            b.machine,
            b.lane.as_str(),
            b.started,
            b.fence,
        ))
    });
    for lane in attempts.chunk_by(|a, b| a.machine == b.machine && a.lane == b.lane) {
        judge_lane(lane, &mut audit.violations);
    }

    attempts.sort_by(|a, b| {
        (a.machine, a.process.as_str(), a.fence).cmp(&(b.machine, b.process.as_str(), b.fence))
    });
    for item in attempts.chunk_by(|a, b| a.machine == b.machine && a.process == b.process) {
        judge_item(item, rules, &mut audit);
    }
    audit
}

fn count(attempts: &[Attempt], audit: &mut Audit) {
    for attempt in attempts {
        *match attempt.end.map(|end| end.outcome) {
            None => &mut audit.held,
            Some(Outcome::Finished) => &mut audit.finished,
            Some(Outcome::Failed) => &mut audit.failed,
            Some(Outcome::Canceled) => &mut audit.canceled,
            Some(Outcome::Expired) => &mut audit.expired,
        } += 1;
    }
    audit.attempts = attempts.len() - audit.held;
}

/// Every claim ended exactly once. The table cannot have two rows for one claim, so this looks for a
/// claim without a row, and for a fence that two workers got.
fn judge_claims(attempts: &[Attempt], rules: &Rules, violations: &mut Vec<Violation>) {
    if rules.held == Held::Violation {
        let held = attempts.iter().filter(|attempt| attempt.end.is_none());
        violations.extend(held.map(|attempt| Violation::StillHeld {
            attempt: place(attempt),
            session: attempt.session,
        }));
    }
    let known: HashSet<_> = attempts.iter().map(|a| (a.machine, a.fence)).collect();
    let mut claims = BTreeMap::new();
    for claim in rules.claimed.iter().flatten() {
        *claims.entry(*claim).or_insert(0) += 1;
    }
    for ((machine, fence), times) in claims {
        if !known.contains(&(machine, fence)) {
            violations.push(Violation::NoEnd { machine, fence });
        }
        if times > 1 {
            violations.push(Violation::ClaimedTwice {
                machine,
                fence,
                times,
            });
        }
    }
}

/// The ends that were acknowledged are recorded, and the refused ones are not.
fn judge_ends(attempts: &[Attempt], rules: &Rules, violations: &mut Vec<Violation>) {
    let recorded: HashMap<_, Outcome> = attempts
        .iter()
        .filter_map(|a| Some(((a.machine, a.fence), a.end?.outcome)))
        .collect();
    let mut acknowledged = BTreeMap::new();
    for &(machine, fence, outcome) in &rules.acknowledged {
        *acknowledged.entry((machine, fence)).or_insert(0) += 1;
        let recorded = recorded.get(&(machine, fence)).copied();
        if recorded != Some(outcome) {
            violations.push(Violation::OtherEnd {
                machine,
                fence,
                acknowledged: outcome,
                recorded,
            });
        }
    }
    for ((machine, fence), times) in acknowledged.into_iter().filter(|(_, times)| *times > 1) {
        violations.push(Violation::EndedTwice {
            machine,
            fence,
            times,
        });
    }
    for &(machine, fence, outcome) in &rules.refused {
        if recorded.get(&(machine, fence)) == Some(&outcome) {
            violations.push(Violation::RefusedEnd {
                machine,
                fence,
                outcome,
            });
        }
    }
}

/// The attempts of one lane on one machine, by their start: one at a time, with growing fences.
fn judge_lane(lane: &[Attempt], violations: &mut Vec<Violation>) {
    // Not only neighbors: a long attempt may overlap several short ones.
    let mut running = &lane[0];
    for (earlier, later) in lane.iter().zip(&lane[1..]) {
        if ended(earlier) > ended(running) {
            running = earlier;
        }
        if later.started < ended(running) {
            violations.push(Violation::Overlap {
                lane: later.lane.clone(),
                earlier: place(running),
                later: place(later),
                overlap: micros(ended(running).saturating_sub(later.started)),
            });
        }
        if later.fence < earlier.fence {
            violations.push(Violation::FenceWentBack {
                earlier: place(earlier),
                later: place(later),
            });
        }
    }
    let backwards = lane.iter().filter(|a| ended(a) < a.started);
    violations.extend(backwards.map(|a| Violation::EndedBeforeStart(place(a))));
}

/// The attempts of one process on one machine, by their fence: backoffs are respected, and intervals
/// follow the policy.
fn judge_item(item: &[Attempt], rules: &Rules, audit: &mut Audit) {
    let mut state = Backing::default();
    for attempt in item {
        if let Some((imposed_by, until)) = state.until
            && attempt.started < until
        {
            audit.violations.push(Violation::InsideBackoff {
                attempt: place(attempt),
                imposed_by,
                early: micros(until - attempt.started),
            });
        }
        let Some(end) = attempt.end else { continue };
        if end.outcome == Outcome::Failed {
            let expected = rules.policy(&attempt.process).next(state.interval);
            if end.interval != Some(expected) {
                audit.violations.push(Violation::WrongInterval {
                    attempt: place(attempt),
                    previous: state.interval.map(Seconds::get),
                    recorded: end.interval.map(Seconds::get),
                    expected: expected.get(),
                });
            }
        }
        state.end(attempt.fence, &end);
        if state.run.len() > audit.worst_intervals.len() {
            audit.worst_intervals.clone_from(&state.run);
        }
    }
}

/// The backoff that earlier attempts impose on the next one.
#[derive(Default)]
struct Backing {
    interval: Option<Seconds>,
    until: Option<(Fence, i64)>,
    run: Vec<u32>,
}

impl Backing {
    fn end(&mut self, fence: Fence, end: &End) {
        let until = end.interval.map(|interval| {
            let pause = i64::from(interval.get()) * 1_000_000;
            (fence, end.at.saturating_add(pause))
        });
        match end.outcome {
            Outcome::Finished => *self = Self::default(),
            Outcome::Failed => {
                self.interval = end.interval;
                self.until = until;
                self.run.extend(end.interval.map(Seconds::get));
            }
            // An expired attempt can only lengthen the wait, and does not change the next interval.
            Outcome::Expired => {
                let both = self.until.into_iter().chain(until);
                self.until = both.max_by_key(|(_, at)| *at);
            }
            Outcome::Canceled => {}
        }
    }
}

fn ended(attempt: &Attempt) -> i64 {
    attempt.end.map_or(i64::MAX, |end| end.at)
}

fn micros(difference: i64) -> Duration {
    Duration::from_micros(difference.unsigned_abs())
}

fn place(attempt: &Attempt) -> Place {
    Place {
        machine: attempt.machine,
        process: attempt.process.clone(),
        fence: attempt.fence,
    }
}
