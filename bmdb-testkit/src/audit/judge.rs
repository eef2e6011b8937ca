//! Judge: replays the attempts and collects violations. No I/O.

use super::findings::Audit;
use super::read::{Attempt, End};
use super::rules::{Rules, StillClaimed};
use super::violation::{AttemptRef, Violation};
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

    attempts.sort_by_cached_key(|a| (a.machine, a.lane.clone(), a.started, a.fence));
    for lane in attempts.chunk_by(|a, b| a.machine == b.machine && a.lane == b.lane) {
        judge_lane(lane, &mut audit.violations);
    }

    attempts.sort_by_cached_key(|a| (a.machine, a.process.clone(), a.fence));
    for item in attempts.chunk_by(|a, b| a.machine == b.machine && a.process == b.process) {
        judge_item(item, rules, &mut audit);
    }
    audit
}

fn count(attempts: &[Attempt], audit: &mut Audit) {
    for attempt in attempts {
        *match attempt.end.map(|end| end.outcome) {
            None => &mut audit.still_claimed,
            Some(Outcome::Finished) => &mut audit.finished,
            Some(Outcome::Failed) => &mut audit.failed,
            Some(Outcome::Canceled) => &mut audit.canceled,
            Some(Outcome::Expired) => &mut audit.expired,
        } += 1;
    }
    audit.attempts = attempts.len() - audit.still_claimed;
}

/// Every claim has exactly one end. The database cannot store two rows for one claim, so this looks
/// for claims without a row and for fences that two workers got.
fn judge_claims(attempts: &[Attempt], rules: &Rules, violations: &mut Vec<Violation>) {
    if rules.still_claimed == StillClaimed::Violation {
        let claimed = attempts.iter().filter(|attempt| attempt.end.is_none());
        violations.extend(claimed.map(|attempt| Violation::StillClaimed {
            attempt: reference(attempt),
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

/// Acknowledged ends are recorded, once each, and refused ends are not.
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

/// The attempts of one lane on one machine, sorted by start: one at a time, with growing fences.
fn judge_lane(lane: &[Attempt], violations: &mut Vec<Violation>) {
    // A long attempt may overlap several short ones, so comparing neighbors is not enough.
    let mut running = &lane[0];
    for (earlier, later) in lane.iter().zip(&lane[1..]) {
        if ended(earlier) > ended(running) {
            running = earlier;
        }
        if later.started < ended(running) {
            violations.push(Violation::Overlap {
                lane: later.lane.clone(),
                earlier: reference(running),
                later: reference(later),
                overlap: micros(ended(running).saturating_sub(later.started)),
            });
        }
        if later.fence < earlier.fence {
            violations.push(Violation::FenceWentBack {
                earlier: reference(earlier),
                later: reference(later),
            });
        }
    }
    let backwards = lane.iter().filter(|a| ended(a) < a.started);
    violations.extend(backwards.map(|a| Violation::EndedBeforeStart(reference(a))));
}

/// The attempts of one process on one machine, sorted by fence: backoffs are respected, and intervals
/// follow the policy.
fn judge_item(item: &[Attempt], rules: &Rules, audit: &mut Audit) {
    let mut state = BackoffState::default();
    for attempt in item {
        if let Some((imposed_by, until)) = state.until
            && attempt.started < until
        {
            audit.violations.push(Violation::InsideBackoff {
                attempt: reference(attempt),
                imposed_by,
                early: micros(until - attempt.started),
            });
        }
        let Some(end) = attempt.end else { continue };
        if end.outcome == Outcome::Failed {
            let expected = rules.policy(&attempt.process).next(state.interval);
            if end.interval != Some(expected) {
                audit.violations.push(Violation::WrongInterval {
                    attempt: reference(attempt),
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

/// The backoff that earlier attempts have left.
#[derive(Default)]
struct BackoffState {
    interval: Option<Seconds>,
    until: Option<(Fence, i64)>,
    run: Vec<u32>,
}

impl BackoffState {
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
            // An expired attempt can only lengthen the wait; the next failure's interval stays the same.
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

fn reference(attempt: &Attempt) -> AttemptRef {
    AttemptRef {
        machine: attempt.machine,
        process: attempt.process.clone(),
        fence: attempt.fence,
    }
}
