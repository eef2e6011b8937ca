//! Report of the demonstration: the audit of the log, as text or as JSON.

use super::snapshot::Snapshot;
use super::takeover::Takeover;
use bmdb_testkit::audit::Audit;
use serde_json::json;
use std::time::Duration;

pub(super) struct Report {
    pub(super) audit: Audit,
    pub(super) interrupted: bool,
    pub(super) last: Snapshot,
    pub(super) takeover: Takeover,
    pub(super) elapsed: Duration,
}

impl Report {
    pub(super) fn is_ok(&self) -> bool {
        self.takeover.complete && self.audit.is_clean()
    }

    pub(super) fn print(&self, json: bool) {
        for line in self.lines() {
            if json {
                eprintln!("{line}");
            } else {
                println!("{line}");
            }
        }
        if json {
            println!("{}", self.json());
        }
    }

    fn violations(&self) -> Vec<String> {
        let violations = self.audit.violations.iter();
        violations.map(ToString::to_string).collect()
    }

    fn lines(&self) -> Vec<String> {
        let (
            Audit { attempts, .. },
            Snapshot {
                machines, started, ..
            },
        ) = (&self.audit, &self.last);
        let takeover = match (&self.takeover.killed, self.takeover.taken_over) {
            (None, _) => "none was killed: no machine took long enough",
            (Some(_), false) => "its machine was not taken over in time",
            (Some(_), true) => "its machine was taken over",
        };
        let intervals = self.audit.worst_intervals.iter();
        let intervals: Vec<String> = intervals.map(u32::to_string).collect();
        let mut lines = vec![
            format!(
                "{started} of {machines} machines started in {:.1} s, {} fail for ever; up to {:.0} \
                 claims/s",
                self.elapsed.as_secs_f64(),
                machines - started,
                self.last.best_rate
            ),
            format!(
                "{attempts} attempts: {} finished, {} failed, {} expired, {} canceled",
                self.audit.finished, self.audit.failed, self.audit.expired, self.audit.canceled
            ),
            format!("killed worker: {takeover}"),
            format!("intervals of the worst machine: {} s", intervals.join(", ")),
        ];
        let violations = self.violations();
        if violations.is_empty() {
            lines.push(
                "audit: no machine claimed twice at once, no start inside a backoff, every interval \
                 right, one end for every attempt"
                    .to_owned(),
            );
        } else {
            lines.push(format!("audit: {} VIOLATIONS", violations.len()));
            lines.extend(violations.iter().map(|violation| format!("  {violation}")));
        }
        if self.interrupted {
            lines.push("interrupted before everything was done".to_owned());
        } else if !self.takeover.complete {
            lines.push("stopped before everything was done: give it more --seconds".to_owned());
        }
        lines
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "ok": self.is_ok(),
            "machines": self.last.machines,
            "started": self.last.started,
            "attempts": self.audit.attempts,
            "finished": self.audit.finished,
            "failed": self.audit.failed,
            "expired": self.audit.expired,
            "canceled": self.audit.canceled,
            "violations": self.violations(),
            "worst_intervals": self.audit.worst_intervals,
            "complete": self.takeover.complete,
            "seconds": (self.elapsed.as_secs_f64() * 10.0).round() / 10.0,
        })
    }
}
