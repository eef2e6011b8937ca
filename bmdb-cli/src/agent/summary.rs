//! The answer of `bmdb agent heartbeat`: how many heartbeats were written, and why others were not.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Page, Report};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Summary {
    /// Heartbeats that were written, or that the database has a later one for.
    pub(super) written: u64,
    /// Lines that are no heartbeat.
    pub(super) invalid: u64,
    /// Heartbeats of machines that do not exist.
    pub(super) unknown: u64,
    /// Heartbeats that could not be written in time.
    pub(super) dropped: u64,
    /// How often the session was lost.
    pub(super) outages: u64,
}

impl Summary {
    /// The failure if some heartbeats were not written.
    pub(super) fn failure(self) -> Option<Failure> {
        let all = self.written + self.invalid + self.unknown + self.dropped;
        let exit = match self {
            Self { dropped: 1.., .. } => Exit::Unreachable,
            Self { invalid: 1.., .. } => Exit::Usage,
            Self { unknown: 1.., .. } => Exit::NotFound,
            _ => return None,
        };
        let reasons = [
            (self.invalid, "invalid"),
            (self.unknown, "of unknown machines"),
            (self.dropped, "while the database was away"),
        ];
        let reasons: Vec<String> = reasons
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, reason)| format!("{count} {reason}"))
            .collect();
        let failed = all - self.written;
        let message = format!(
            "{failed} of {all} heartbeats were not written: {}",
            reasons.join(", ")
        );
        Some(Failure::new(exit, message))
    }
}

impl Report for Summary {
    fn show(&self, page: &mut Page) {
        let plural = if self.written == 1 { "" } else { "s" };
        page.line(format_args!("{} heartbeat{plural} written", self.written));
    }
}
