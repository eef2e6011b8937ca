//! What a run says at the end: a table, or a line of JSON.

use super::Args;
use super::check::{Facts, Invariant, Verdict};
use super::events::{Happened, Stall, longest_stall, micros, tally};
use super::fault::Kind;
use super::invariants::unaccounted;
use super::memory::Memory;
use serde_json::{Value, json};
use std::path::Path;

/// How many findings are printed in words.
const SHOWN: usize = 20;

pub(crate) struct Report<'r> {
    pub(crate) args: &'r Args,
    pub(crate) seed: u64,
    /// When it began and when the faults were over: microseconds since the epoch.
    pub(crate) span: (i64, i64),
    pub(crate) verdict: &'r Verdict,
    pub(crate) facts: &'r Facts,
    pub(crate) happened: &'r [Happened],
    pub(crate) workers: u32,
    pub(crate) memory: &'r Memory,
    /// Workers that ended by themselves, or did not when they were to.
    pub(crate) complaints: &'r [String],
    /// What was asked for and cannot be done here, and why.
    pub(crate) impossible: &'r [(Kind, String)],
    pub(crate) interrupted: bool,
    /// Where the journals are if they are kept.
    pub(crate) journals: &'r Path,
}

impl Report<'_> {
    /// Everything that is not as it should be, in words.
    pub(crate) fn findings(&self) -> Vec<String> {
        let injected: Vec<Kind> = self.happened.iter().map(|fault| fault.kind).collect();
        let errors = unaccounted(&self.facts.errors, &injected);
        let errors = errors.into_iter().map(|(doing, error, times)| {
            format!("an error that no fault accounts for, {times} times: {doing}: {error}")
        });
        let breaches = self.verdict.breaches.iter().map(ToString::to_string);
        let complaints = self.complaints.iter().cloned();
        let growth = self.memory.growth();
        complaints
            .chain(breaches)
            .chain(growth)
            .chain(errors)
            .collect()
    }

    /// The command that draws the same faults again; the timing is the machine's.
    fn replay(&self) -> String {
        let Args {
            seconds,
            workers,
            faults,
            ..
        } = self.args;
        let faults: Vec<&str> = faults.iter().map(|choice| choice.name()).collect();
        format!(
            "cargo xtask soak --seconds {seconds} --workers {workers} --faults {} --seed {}",
            faults.join(","),
            self.seed
        )
    }

    pub(crate) fn print(&self) {
        let text = self.text();
        if self.args.json {
            eprint!("{text}");
            println!("{}", self.json());
        } else {
            print!("{text}");
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![String::new()];
        lines.push("fault             injected  felt  longest recovery".to_owned());
        for (kind, tally) in tally(self.happened, &self.verdict.ends) {
            lines.push(format!(
                "{kind:<18}{:>8}{:>6}{:>16.1} s",
                tally.injected,
                tally.felt,
                tally.longest_recovery.as_secs_f64()
            ));
        }
        for (kind, why) in self.impossible {
            lines.push(format!("{kind:<18}NOT POSSIBLE HERE: {why}"));
        }
        lines.push(String::new());
        for (what, count) in self.counts() {
            lines.push(format!("{count:>9}  {what}"));
        }
        let stall = self.stall();
        lines.push(format!(
            "{:>9.1}  s: longest stall, in which no work ended anywhere, from {:.1} s on",
            stall.length.as_secs_f64(),
            stall.at.as_secs_f64()
        ));
        lines.push(self.memory_in_words());
        lines.push(String::new());
        for invariant in Invariant::ALL {
            let breaches = self.breaches(invariant);
            lines.push(format!("{breaches:>9}  violations: {}", invariant.rule()));
        }
        let findings = self.findings();
        lines.push(format!(
            "{:>9}  violations and errors in all",
            findings.len()
        ));
        for finding in findings.iter().take(SHOWN) {
            lines.push(format!("           {finding}"));
        }
        if findings.len() > SHOWN {
            lines.push(format!("           and {} more", findings.len() - SHOWN));
        }
        if !findings.is_empty() {
            lines.push(format!("journals: {}", self.journals.display()));
        }
        if self.interrupted {
            lines.push("interrupted: what was done until then is judged".to_owned());
        }
        lines.push(format!("seed {}; again: {}", self.seed, self.replay()));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn breaches(&self, invariant: Invariant) -> usize {
        let breaches = self.verdict.breaches.iter();
        breaches.filter(|b| b.invariant == invariant).count()
    }

    fn counts(&self) -> Vec<(&'static str, usize)> {
        let audit = &self.verdict.audit;
        let errors = self.facts.errors.values().sum();
        let seen = |what| self.facts.seen.get(what).copied().unwrap_or_default();
        vec![
            ("works claimed", audit.attempts + audit.held),
            ("finished", audit.finished),
            ("failed", audit.failed),
            ("canceled", audit.canceled),
            ("expired", audit.expired),
            ("claims noted by workers", self.facts.claims()),
            ("ends acknowledged", self.facts.acknowledgements()),
            ("ends refused", self.facts.refusals()),
            ("ends asked for again", seen("ends asked for again")),
            ("errors that workers went on after", errors),
            ("worker processes", self.workers as usize),
        ]
    }

    fn stall(&self) -> Stall {
        let (began, over) = self.span;
        longest_stall(began, over, &self.verdict.ends)
    }

    fn memory_in_words(&self) -> String {
        match (self.memory.at_a_third(), self.memory.at_the_end()) {
            (Some(third), Some(end)) => format!(
                "{:>9}  MiB of memory: the first worker at the end, {} at a third of the run",
                end >> 10,
                third >> 10
            ),
            _ => "           memory is not known here".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let (began, over) = self.span;
        let faults: serde_json::Map<String, Value> = tally(self.happened, &self.verdict.ends)
            .into_iter()
            .map(|(kind, tally)| {
                let recovery = tally.longest_recovery.as_secs_f64();
                let told = json!({
                    "injected": tally.injected,
                    "felt": tally.felt,
                    "longest_recovery_s": recovery,
                });
                (kind.name().to_owned(), told)
            })
            .collect();
        let impossible: serde_json::Map<String, Value> = self
            .impossible
            .iter()
            .map(|(kind, why)| (kind.name().to_owned(), json!(why)))
            .collect();
        let counts: serde_json::Map<String, Value> = self
            .counts()
            .into_iter()
            .map(|(what, count)| (what.replace(' ', "_"), json!(count)))
            .collect();
        let findings = self.findings();
        json!({
            "ok": findings.is_empty(),
            "seed": self.seed,
            "replay": self.replay(),
            "seconds": micros(over - began).as_secs_f64(),
            "interrupted": self.interrupted,
            "faults": faults,
            "not_possible_here": impossible,
            "counts": counts,
            "longest_stall_s": self.stall().length.as_secs_f64(),
            "memory_kib_at_a_third": self.memory.at_a_third(),
            "memory_kib_at_the_end": self.memory.at_the_end(),
            "violations": self.verdict.breaches.len(),
            "findings": findings,
        })
    }
}
