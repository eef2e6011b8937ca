//! Report of a soak or a stress: a table, or a line of JSON.

use crate::events::{Event, Stall, effects, longest_stall, micros};
use crate::fault::Kind;
use crate::journal::THE_END;
use crate::judge::{Facts, Invariant, Verdict, unexplained};
use crate::memory::Memory;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// How many findings are printed.
const SHOWN: usize = 20;

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) facts: Facts,
    pub(crate) seed: u64,
    pub(crate) replay: String,
    /// The counts that must not be 0.
    pub(crate) expected: &'static [&'static str],
    pub(crate) impossible: Vec<(Kind, String)>,
    /// When the faults began and were over: microseconds since the epoch.
    pub(crate) span: (i64, i64),
    pub(crate) events: Vec<Event>,
    pub(crate) workers: u32,
    /// Of the first worker.
    pub(crate) memory: Memory,
    /// Workers that ended by themselves, did not drain or did not recover.
    pub(crate) complaints: Vec<String>,
    pub(crate) interrupted: bool,
    /// Where the journals are if they are kept.
    pub(crate) journals: PathBuf,
}

impl Report {
    /// Everything that is wrong, as text.
    pub(crate) fn findings(&self) -> Vec<String> {
        let injected: Vec<Kind> = self.events.iter().map(|fault| fault.kind).collect();
        let errors = unexplained(&self.facts.errors, &injected);
        let errors = errors.into_iter().map(|(doing, error, times)| {
            format!("an error that no fault explains, {times} times: {doing}: {error}")
        });
        let unseen = self.unseen();
        let unseen = unseen.iter().map(|what| {
            format!("{what}: 0, so this run shows nothing about it; give it more --seconds")
        });
        let mut findings = self.complaints.clone();
        findings.extend(self.verdict.breaches.iter().map(ToString::to_string));
        findings.extend(self.facts.wrong.iter().cloned());
        findings.extend(self.memory.growth());
        findings.extend(errors);
        findings.extend(unseen);
        findings
    }

    fn unseen(&self) -> Vec<&'static str> {
        if self.interrupted {
            return Vec::new();
        }
        let counts = self.counts();
        let happened = |what: &str| {
            counts
                .iter()
                .any(|(name, count)| *name == what && *count > 0)
        };
        let expected = self.expected.iter().copied();
        expected.filter(|what| !happened(what)).collect()
    }

    pub(crate) fn print(&self, json: bool) {
        let text = self.text();
        if json {
            eprint!("{text}");
            println!("{}", self.json());
        } else {
            print!("{text}");
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![String::new()];
        lines.push("fault             injected  felt  longest recovery".to_owned());
        for (kind, effect) in effects(&self.events, &self.verdict.ends) {
            lines.push(format!(
                "{kind:<18}{:>8}{:>6}{:>16.1} s",
                effect.injected,
                effect.felt,
                effect.longest_recovery.as_secs_f64()
            ));
        }
        for (kind, reason) in &self.impossible {
            lines.push(format!("{kind:<18}NOT POSSIBLE HERE: {reason}"));
        }
        lines.push(String::new());
        for (what, count) in self.counts() {
            lines.push(format!("{count:>9}  {what}"));
        }
        let stall = self.stall();
        lines.push(format!(
            "{:>9.1}  s: longest stall, in which no attempt ended, from {:.1} s on",
            stall.length.as_secs_f64(),
            stall.at.as_secs_f64()
        ));
        lines.push(self.memory_line());
        lines.push(String::new());
        for invariant in Invariant::ALL {
            let breaches = self.verdict.breaches.iter();
            let count = breaches.filter(|b| b.invariant == invariant).count();
            lines.push(format!("{count:>9}  violations: {}", invariant.rule()));
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
            lines.push("interrupted: only what was done until then is judged".to_owned());
        }
        lines.push(format!("seed {}; again: {}", self.seed, self.replay));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn counts(&self) -> Vec<(&str, usize)> {
        let audit = &self.verdict.audit;
        let mut counts = vec![
            ("claims", audit.attempts + audit.still_claimed),
            ("finished", audit.finished),
            ("failed", audit.failed),
            ("canceled", audit.canceled),
            ("expired", audit.expired),
        ];
        counts.extend(self.facts.counts());
        let seen = self.facts.seen.iter();
        let seen = seen.filter(|(what, _)| *what != THE_END);
        counts.extend(seen.map(|(what, count)| (what.as_str(), *count)));
        counts.extend(self.verdict.counts.iter().copied());
        let felt = |kind| {
            self.events
                .iter()
                .filter(|e| e.kind == kind && e.felt)
                .count()
        };
        counts.extend([
            ("connections terminated", felt(Kind::Terminate)),
            ("workers killed", felt(Kind::KillWorker)),
            ("worker processes", self.workers as usize),
        ]);
        counts
    }

    fn stall(&self) -> Stall {
        let (began, over) = self.span;
        longest_stall(began, over, &self.verdict.ends)
    }

    fn memory_line(&self) -> String {
        match (self.memory.at_a_third(), self.memory.at_the_end()) {
            (Some(third), Some(end)) => format!(
                "{:>9}  MiB of memory: the first worker at the end, {} at a third of the run",
                end >> 10,
                third >> 10
            ),
            _ => "           memory cannot be measured here".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let (began, over) = self.span;
        let effects = effects(&self.events, &self.verdict.ends).into_iter();
        let faults: Map<String, Value> = effects
            .map(|(kind, effect)| {
                let effect = json!({
                    "injected": effect.injected,
                    "felt": effect.felt,
                    "longest_recovery_s": effect.longest_recovery.as_secs_f64(),
                });
                (kind.name().to_owned(), effect)
            })
            .collect();
        let impossible = self.impossible.iter();
        let impossible: Map<String, Value> = impossible
            .map(|(kind, reason)| (kind.name().to_owned(), json!(reason)))
            .collect();
        let counts = self.counts().into_iter();
        let counts: Map<String, Value> = counts
            .map(|(what, count)| (what.replace(' ', "_"), json!(count)))
            .collect();
        let findings = self.findings();
        json!({
            "ok": findings.is_empty(),
            "seed": self.seed,
            "replay": self.replay,
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
