//! Judge: reads the database and the workers' journals, and decides whether anything was lost, done
//! twice or done at the wrong time. It shares no code with the workers or with what they call.
//!
//! It is built on the testkit's audit, which judges the log of attempts. The judge adds what only the
//! journals and the run's own tables show.

mod attempt;
mod errors;
mod facts;
mod invariant;
mod laws;
mod limits;
mod log;
#[cfg(test)]
mod tests;

pub(crate) use errors::unexplained;
pub(crate) use facts::Facts;
pub(crate) use invariant::{Breach, Invariant};

use crate::failure::Done;
use crate::fixture::BACKOFF;
use crate::journal::Tags;
use attempt::Attempt;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId};
use bmdb_testkit::audit::{self, Audit, Rules, Violation};
use log::Log;

/// What the judge found.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) audit: Audit,
    pub(crate) breaches: Vec<Breach>,
    /// When attempts ended, except expired ones: sorted, in microseconds since the epoch.
    pub(crate) ends: Vec<i64>,
    /// Counts that only the database knows.
    pub(crate) counts: Vec<(&'static str, usize)>,
}

/// Audits a database whose workers noted only their claims.
pub(crate) async fn audit_claims(url: &str, claimed: Vec<(MachineId, Fence)>) -> Done<Audit> {
    let mut rules = Rules::new(BACKOFF);
    rules.claimed = Some(claimed);
    Ok(audit::audit(url, &rules).await?)
}

/// Judges a database in which nothing runs any more.
pub(crate) async fn judge(url: &str, facts: &Facts) -> Done<Verdict> {
    let mut rules = Rules::new(BACKOFF);
    rules.claimed = Some(facts.claimed());
    rules.acknowledged = facts.acknowledged();
    rules.refused = facts.refused();
    let audit = audit::audit(url, &rules).await?;
    let mut breaches: Vec<Breach> = audit.violations.iter().map(breach).collect();
    let log = Log::read(url).await?;
    let mut find = |invariant, what: String| breaches.push(Breach { invariant, what });
    for attempt in log.attempts.values() {
        check_was_asked_for(attempt, facts, &mut find);
        check_has_its_tags(attempt, &log, facts, &mut find);
        check_is_as_claimed(attempt, facts, &mut find);
    }
    check_answers(&log, facts, &mut find);
    check_tags(&log, &mut find);
    breaches.extend(log.limits.check(log.attempts.values(), facts));
    breaches.extend(log.broken_laws);
    Ok(Verdict {
        audit,
        breaches,
        ends: log.ends,
        counts: log.counts,
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
        Violation::StillClaimed { .. } => Invariant::DeadHolder,
        _ => Invariant::OneEnd,
    };
    let what = violation.to_string();
    Breach { invariant, what }
}

/// Nothing finishes or fails unasked. Cancels and expirations need no request.
fn check_was_asked_for(attempt: &Attempt, facts: &Facts, find: &mut impl FnMut(Invariant, String)) {
    if matches!(attempt.outcome, Outcome::Canceled | Outcome::Expired) {
        return;
    }
    let asked = facts.asked(attempt.fence);
    if !asked.iter().any(|(outcome, _)| *outcome == attempt.outcome) {
        let what = format!(
            "{attempt} is recorded as {}, which no worker asked for",
            attempt.outcome
        );
        find(Invariant::Acknowledged, what);
    }
}

/// A finish is recorded with all of its tags, or without any if it has none.
fn check_has_its_tags(
    attempt: &Attempt,
    log: &Log,
    facts: &Facts,
    find: &mut impl FnMut(Invariant, String),
) {
    if attempt.outcome != Outcome::Finished {
        return;
    }
    let asked = facts.asked(attempt.fence);
    let mut finishes = asked
        .iter()
        .filter(|(outcome, _)| *outcome == Outcome::Finished)
        .peekable();
    let written = log.tags.get(&attempt.fence).map_or(0, Vec::len);
    let is_asked = finishes.peek().is_some();
    let is_as_asked = finishes.any(|(_, tags)| match tags {
        Tags::Written => written == 1,
        Tags::None => written == 0,
    });
    if is_asked && !is_as_asked {
        let what = format!("{attempt} finished, and wrote tags {written} times");
        find(Invariant::Acknowledged, what);
    }
}

/// Only finished attempts wrote tags, and only those of their machine.
fn check_tags(log: &Log, find: &mut impl FnMut(Invariant, String)) {
    for (fence, machines) in &log.tags {
        let attempt = log.attempts.get(fence);
        let outcome = attempt.map(|attempt| attempt.outcome);
        if outcome != Some(Outcome::Finished) {
            let outcome = outcome.map_or("nothing", |outcome| outcome.as_str());
            let what = format!("fence {fence} wrote tags, and is recorded as {outcome}");
            find(Invariant::Acknowledged, what);
        }
        for machine in machines {
            if attempt.is_some_and(|attempt| attempt.machine != *machine) {
                let what = format!("fence {fence} wrote tags of another machine, {machine}");
                find(Invariant::Acknowledged, what);
            }
        }
    }
}

/// An attempt is recorded as its worker claimed it. If the worker did not end it itself, the recorded
/// start is that of the write to the work item, a little before the one that the worker was answered.
fn check_is_as_claimed(attempt: &Attempt, facts: &Facts, find: &mut impl FnMut(Invariant, String)) {
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

/// The backoffs that workers were answered are recorded, and only ends of noted claims were
/// acknowledged.
fn check_answers(log: &Log, facts: &Facts, find: &mut impl FnMut(Invariant, String)) {
    for (fence, (interval, until)) in facts.backoffs() {
        let Some(attempt) = log.attempts.get(&fence) else {
            continue;
        };
        let pause = i64::from(interval) * 1_000_000;
        if attempt.interval != Some(i64::from(interval)) || attempt.ended + pause != until {
            let what = format!(
                "the answer to the end of {attempt} was an interval of {interval} s until {until}; \
                 recorded are an end at {} and an interval of {:?}",
                attempt.ended, attempt.interval
            );
            find(Invariant::Interval, what);
        }
    }
    for fence in facts.unclaimed() {
        let what = format!("the end of fence {fence} was acknowledged, but no claim was noted");
        find(Invariant::OneEnd, what);
    }
}
