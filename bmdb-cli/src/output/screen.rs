//! Screen: an answer that `--watch` prints repeatedly.

use super::{Output, Report, terminal};
use crate::failure::Failure;

/// Clears a terminal before each answer. Elsewhere it puts a blank line between answers, or prints one JSON
/// object a line.
#[derive(Debug)]
pub(crate) struct Screen {
    output: Output,
    is_drawn: bool,
}

impl Screen {
    pub(crate) const fn new(output: Output) -> Self {
        Self {
            output,
            is_drawn: false,
        }
    }

    pub(crate) fn draw<R: Report>(&mut self, report: &R) -> Result<(), Failure> {
        let Output { json, terminal, .. } = self.output;
        let before = match (json, terminal && !terminal::is_dumb()) {
            (true, _) => "",
            // Clears the scrollback too and starts at the top.
            (false, true) => "\u{1b}[H\u{1b}[2J\u{1b}[3J",
            (false, false) if self.is_drawn => "\n",
            (false, false) => "",
        };
        self.is_drawn = true;
        let text = match json {
            true => self.output.json_line(report)?,
            false => self.output.page(report),
        };
        // One write, so that the terminal does not flicker.
        self.output.write(&format!("{before}{text}"))
    }
}
