//! Events of `bmdb run`: prints a line for each event, for people or as JSON.

use super::{event_json, event_text};
use crate::failure::Failure;
use crate::output::{self, Output, Tone};
use crate::printer::{Next, Printer};
use bmdb_core::control_loop::{Event, Shutdown, Summary};
use bmdb_model::Process;
use serde_json::Value;
use std::io;
use std::sync::{Arc, OnceLock};

/// Prints events. When standard output cannot be written to any more, it shuts the loop down.
pub(super) struct Events {
    output: Output,
    process: Process,
    printer: Printer<Line>,
    /// Why an event could not be written.
    failure: Arc<OnceLock<Failure>>,
}

enum Line {
    /// For standard output.
    Event(String),
    /// For standard error.
    Error(String),
    /// For standard error, unless `--quiet` or `--json` is given.
    Note(String),
}

impl Events {
    /// Starts the printing thread, so that the loop never waits for a reader.
    pub(super) fn start(output: Output, process: Process, shutdown: Shutdown) -> io::Result<Self> {
        let name = process.clone();
        let failure = Arc::new(OnceLock::new());
        let keep = Arc::clone(&failure);
        let printer = Printer::start("printer", move |next| {
            let event = match next {
                Next::Line(Line::Event(line)) => line,
                Next::Dropped(lines) => dropped(output, &name, lines),
                Next::Line(Line::Error(line)) => return output::error_line(&line),
                Next::Line(Line::Note(line)) => return output.note(&line),
            };
            if let Err(error) = output.line(&event) {
                // A reader that has read enough, as in `bmdb run … | head`, is no failure.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    // Only the first one counts.
                    let _ = keep.set(output::not_written(&error));
                }
                shutdown.request();
            }
        })?;
        Ok(Self {
            output,
            process,
            printer,
            failure,
        })
    }

    pub(super) fn show(&self, event: &Event<'_>) {
        if self.output.is_json() {
            let line = json_line(event_json::event(event), &self.process);
            self.printer.put(Line::Event(line));
        } else if let Some((tone, line)) = event_text::render(event) {
            let line = self.output.paint(tone, &line);
            self.printer.put(Line::Event(line));
        }
    }

    /// Prints a line of a command's output on standard error.
    pub(super) fn command_output(&self, machine: &str, line: &str) {
        let line = format!("{}: {}", event_text::short(machine), output::shown(line));
        self.printer.put(Line::Error(line));
    }

    pub(super) fn note(&self, line: String) {
        self.printer.put(Line::Note(line));
    }

    /// Prints the queued lines and then the summary.
    ///
    /// # Errors
    /// When an event could not be written.
    pub(super) async fn close(&self, summary: Option<&Summary>) -> Result<(), Failure> {
        let last = summary.map(|summary| match self.output.is_json() {
            true => Line::Event(json_line(event_json::summary(summary), &self.process)),
            false => Line::Note(summary.to_string()),
        });
        self.printer.close(last).await;
        self.failure.get().cloned().map_or(Ok(()), Err)
    }
}

/// The line in the place of dropped lines.
fn dropped(output: Output, process: &Process, lines: usize) -> String {
    if output.is_json() {
        return json_line(event_json::left_out(lines), process);
    }
    let line = format!("dropped   {lines} lines: the reader was too slow");
    output.paint(Tone::Warn, &line)
}

fn json_line(mut line: Value, process: &Process) -> String {
    line["process"] = process.as_str().into();
    output::shown_json(&line.to_string()).into_owned()
}
