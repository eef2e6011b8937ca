//! An answer that is shown again and again.

use super::{Output, Report};
use crate::failure::Failure;

/// A terminal is drawn anew; elsewhere answers follow each other, apart by a blank line, and in JSON one
/// a line.
#[derive(Debug)]
pub(crate) struct Screen {
    output: Output,
    drawn: bool,
}

impl Screen {
    pub(crate) const fn new(output: Output) -> Self {
        Self {
            output,
            drawn: false,
        }
    }

    pub(crate) fn draw<R: Report>(&mut self, report: &R) -> Result<(), Failure> {
        let Output { json, terminal, .. } = self.output;
        // One write, that it does not flicker.
        let before = match (json, terminal) {
            (true, _) => "",
            // Cleared, with what has scrolled away since the last time, from the top.
            (false, true) => "\u{1b}[H\u{1b}[2J\u{1b}[3J",
            (false, false) if self.drawn => "\n",
            (false, false) => "",
        };
        self.drawn = true;
        let text = match json {
            true => self.output.json_line(report)?,
            false => self.output.page(report),
        };
        self.output.write(&format!("{before}{text}"))
    }
}
