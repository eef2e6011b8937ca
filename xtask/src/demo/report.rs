//! What the demonstration says at the end: the audit of the log, in words or as JSON.

use super::progress::Snapshot;
use super::workers::Claims;
use super::{BACKOFF, Watched};
use crate::shell::Failure;
use bmdb_testkit::audit::{Audit, Rules, audit};
use serde_json::json;
use std::time::Duration;

pub(crate) struct Report {
    machines: i64,
    started: i64,
    audit: Audit,
    complete: bool,
    takeover: &'static str,
    claims_per_second: f64,
    elapsed: Duration,
}

impl Report {
    pub(crate) async fn new(
        url: &str,
        claims: &Claims,
        last: &Snapshot,
        watched: &Watched,
        elapsed: Duration,
    ) -> Result<Self, Failure> {
        let rules = Rules {
            claimed: Some(claims.clone()),
            ..Rules::new(BACKOFF)
        };
        Ok(Self {
            machines: last.machines,
            started: last.started,
            audit: audit(url, &rules).await.map_err(Failure::check)?,
            complete: watched.complete,
            takeover: match (&watched.killed, &watched.taken_over_by) {
                (None, _) => "none was killed: no machine took long enough",
                (Some(_), None) => "its machine was not taken over in time",
                (Some(_), Some(_)) => "its machine was taken over",
            },
            claims_per_second: watched.claims_per_second,
            elapsed,
        })
    }

    /// Whether everything that was promised holds.
    pub(crate) fn is_ok(&self) -> bool {
        self.complete && self.audit.is_clean()
    }

    pub(crate) fn print(&self, json: bool) {
        let Audit {
            attempts,
            finished,
            failed,
            canceled,
            expired,
            worst_intervals,
            ..
        } = &self.audit;
        let never = self.machines - self.started;
        let intervals: Vec<String> = worst_intervals.iter().map(u32::to_string).collect();
        let mut lines = vec![
            format!(
                "{} of {} machines started in {:.1} s, {never} fail for ever; up to {:.0} claims/s",
                self.started,
                self.machines,
                self.elapsed.as_secs_f64(),
                self.claims_per_second
            ),
            format!(
                "{attempts} attempts: {finished} finished, {failed} failed, {expired} expired, {canceled} canceled"
            ),
            format!("killed worker: {}", self.takeover),
            format!("intervals of the worst machine: {} s", intervals.join(", ")),
        ];
        let violations: Vec<String> = self
            .audit
            .violations
            .iter()
            .map(ToString::to_string)
            .collect();
        if violations.is_empty() {
            lines.push(
                "audit: no two holders at once, no start inside a backoff, every interval right, \
                 one end for every attempt"
                    .to_owned(),
            );
        } else {
            lines.push(format!("audit: {} VIOLATIONS", violations.len()));
            lines.extend(violations.iter().map(|violation| format!("  {violation}")));
        }
        if !self.complete {
            lines.push("stopped before everything was done: give it more --seconds".to_owned());
        }
        for line in lines {
            if json {
                eprintln!("{line}")
            } else {
                println!("{line}")
            }
        }
        if json {
            let line = json!({
                "ok": self.is_ok(),
                "machines": self.machines,
                "started": self.started,
                "attempts": attempts,
                "finished": finished,
                "failed": failed,
                "expired": expired,
                "canceled": canceled,
                "violations": violations,
                "worst_intervals": worst_intervals,
                "complete": self.complete,
                "seconds": (self.elapsed.as_secs_f64() * 10.0).round() / 10.0,
            });
            println!("{line}");
        }
    }
}
