//! The independent checker: reads the database and the workers' journals, shares no code with what it
//! judges, and decides whether anything was lost, done twice, or done at the wrong time.

mod attempts;
mod facts;
#[cfg(test)]
mod tests;

pub(crate) use facts::Facts;

use crate::shell::Failure;
use attempts::{Attempt, Log};
use bmdb_backoff::Backoff;
use bmdb_model::Fence;
use bmdb_model::history::Outcome;
use bmdb_testkit::audit::{self, Audit, Rules, Violation};
use bmdb_testkit::journal::Tags;
use std::fmt;

/// What must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// Never two holders of a lane at once.
    Lane,
    /// Never a start inside a backoff.
    Backoff,
    /// What was acknowledged is recorded so, what was not is not half there.
    Acknowledged,
    /// Intervals are the algorithm's.
    Interval,
    /// Every attempt has exactly one end.
    OneEnd,
    /// No machine is locked by a dead holder.
    DeadHolder,
}

impl Invariant {
    pub(crate) const ALL: [Self; 6] = [
        Self::Lane,
        Self::Backoff,
        Self::Acknowledged,
        Self::Interval,
        Self::OneEnd,
        Self::DeadHolder,
    ];

    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Lane => "I1 never two holders of a lane",
            Self::Backoff => "I2 never a start inside a backoff",
            Self::Acknowledged => "I3 what was acknowledged is there, nothing is half there",
            Self::Interval => "I4 intervals are the algorithm's",
            Self::OneEnd => "I5 every attempt has exactly one end",
            Self::DeadHolder => "I6 no machine is locked by a dead holder",
        }
    }
}

/// A breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.rule(), self.what)
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) audit: Audit,
    pub(crate) breaches: Vec<Breach>,
    /// When attempts ended that were not lost, in their order: microseconds since the epoch.
    pub(crate) ends: Vec<i64>,
}

/// Judges a database in which everything has come to rest.
pub(crate) async fn check(url: &str, facts: &Facts, policy: Backoff) -> Result<Verdict, Failure> {
    let mut rules = Rules::new(policy);
    rules.claimed = Some(facts.claimed());
    rules.acknowledged = facts.acknowledged();
    rules.refused = facts.refused();
    let audit = audit::audit(url, &rules).await.map_err(Failure::check)?;
    let mut breaches: Vec<Breach> = audit.violations.iter().map(breach).collect();
    let log = Log::read(url).await?;
    let mut find = |invariant, what: String| breaches.push(Breach { invariant, what });
    for attempt in log.attempts.values() {
        asked_for(attempt, facts, &mut find);
        with_its_tags(attempt, &log, facts, &mut find);
        as_claimed(attempt, facts, &mut find);
    }
    as_acknowledged(&log, facts, &mut find);
    tags_of_finished(&log, &mut find);
    for left in &log.left {
        find(Invariant::DeadHolder, left.clone());
    }
    for stranger in &log.strangers {
        find(Invariant::Acknowledged, stranger.clone());
    }
    Ok(Verdict {
        audit,
        breaches,
        ends: log.ends(),
    })
}

fn breach(violation: &Violation) -> Breach {
    let invariant = match violation {
        Violation::Overlap { .. } | Violation::FenceWentBack { .. } => Invariant::Lane,
        Violation::InsideBackoff { .. } => Invariant::Backoff,
        Violation::OtherEnd { .. }
        | Violation::EndedTwice { .. }
        | Violation::RefusedEnd { .. } => Invariant::Acknowledged,
        Violation::WrongInterval { .. } => Invariant::Interval,
        Violation::StillHeld { .. } => Invariant::DeadHolder,
        _ => Invariant::OneEnd,
    };
    let what = violation.to_string();
    Breach { invariant, what }
}

/// Nothing finishes or fails that nobody has asked to: only giving back, and losing, go unasked.
fn asked_for(attempt: &Attempt, facts: &Facts, find: &mut impl FnMut(Invariant, String)) {
    if matches!(attempt.outcome, Outcome::Canceled | Outcome::Expired) {
        return;
    }
    let asked = facts.asked(attempt.fence);
    if !asked.iter().any(|(outcome, _)| *outcome == attempt.outcome) {
        let what = format!(
            "{attempt} is recorded as {}, which nobody has asked for",
            attempt.outcome
        );
        find(Invariant::Acknowledged, what);
    }
}

/// A finish is there with its tags, or without if it has none, but not with half of them.
fn with_its_tags(
    attempt: &Attempt,
    log: &Log,
    facts: &Facts,
    find: &mut impl FnMut(Invariant, String),
) {
    if attempt.outcome != Outcome::Finished {
        return;
    }
    let asked = facts.asked(attempt.fence);
    let finishes = asked
        .iter()
        .filter(|(outcome, _)| *outcome == Outcome::Finished);
    let written = log.tags.get(&attempt.fence).map_or(0, Vec::len);
    let lawful = finishes.clone().any(|(_, tags)| match tags {
        Tags::Written => written == 1,
        Tags::None => written == 0,
    });
    if finishes.clone().next().is_some() && !lawful {
        let what = format!("{attempt} has finished, and has written tags {written} times");
        find(Invariant::Acknowledged, what);
    }
}

/// The tags of what has not finished are not there, nor those of another machine.
fn tags_of_finished(log: &Log, find: &mut impl FnMut(Invariant, String)) {
    for (fence, machines) in &log.tags {
        let attempt = log.attempts.get(fence);
        let outcome = attempt.map(|attempt| attempt.outcome);
        if outcome != Some(Outcome::Finished) {
            let outcome = outcome.map_or("nothing", |outcome| outcome.as_str());
            let what = format!("fence {fence} has written tags, and is recorded as {outcome}");
            find(Invariant::Acknowledged, what);
        }
        let others = machines
            .iter()
            .filter(|machine| attempt.is_some_and(|attempt| attempt.machine != **machine));
        for machine in others {
            let what = format!("fence {fence} has written tags of another machine, {machine}");
            find(Invariant::Acknowledged, what);
        }
    }
}

/// An attempt is that of the claim that its worker got. What its worker did not end itself is recorded
/// as begun when the item was written, which is a little before the worker was told.
fn as_claimed(attempt: &Attempt, facts: &Facts, find: &mut impl FnMut(Invariant, String)) {
    let Some(claim) = facts.claim(attempt.fence) else {
        return;
    };
    let is_same = claim.machine == attempt.machine
        && claim.process == attempt.process
        && claim.session == attempt.session
        && match attempt.outcome {
            Outcome::Canceled | Outcome::Expired => claim.started >= attempt.started,
            _ => claim.started == attempt.started,
        };
    if !is_same {
        let what = format!(
            "{attempt} of session {} since {} was claimed as {} of machine {} by session {} at {}",
            attempt.session,
            attempt.started,
            claim.process,
            claim.machine,
            claim.session,
            claim.started
        );
        find(Invariant::OneEnd, what);
    }
}

/// What a worker was told of a backoff is what is recorded, and the ends of claims that it has not
/// noted are acknowledged to nobody.
fn as_acknowledged(log: &Log, facts: &Facts, find: &mut impl FnMut(Invariant, String)) {
    for (fence, interval, until) in facts.backoffs() {
        let Some(attempt) = log.attempts.get(&fence) else {
            continue;
        };
        let pause = i64::from(interval) * 1_000_000;
        if attempt.interval != Some(i64::from(interval)) || attempt.ended + pause != until {
            let what = format!(
                "{attempt} was told to rest for {interval} s until {until}; it ended at {}, with \
                 an interval of {:?}",
                attempt.ended, attempt.interval
            );
            find(Invariant::Interval, what);
        }
    }
    for fence in facts.unclaimed() {
        let what = format!("fence {fence} was acknowledged, but no claim of it was noted");
        find(Invariant::OneEnd, what);
    }
}

/// For people.
fn named(fence: Fence, process: &impl fmt::Display, machine: &impl fmt::Display) -> String {
    format!("fence {fence} ({process} of machine {machine})")
}
