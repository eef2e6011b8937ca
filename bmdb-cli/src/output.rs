//! Output: answers for people or as JSON on standard output, everything else on standard error.

mod answer;
mod cell;
mod charset;
mod line;
mod page;
mod progress;
mod screen;
mod table;
mod terminal;
mod tone;
mod value;
mod width;

pub(crate) use answer::answer;
pub(crate) use cell::Cell;
pub(crate) use charset::{ellipsis, is_ascii, shown, shown_json};
pub(crate) use line::Line;
pub(crate) use page::Page;
pub(crate) use progress::Progress;
pub(crate) use screen::Screen;
pub(crate) use table::{Table, WHOLE};
pub(crate) use tone::Tone;
pub(crate) use value::{Text, Time, interval, relative};

use crate::failure::Failure;
use crate::global::{Colour, Global};
use serde::Serialize;
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// An answer: `--json` prints it serialized, people see what `show` writes.
pub(crate) trait Report: Serialize {
    fn show(&self, page: &mut Page);
}

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    /// Whether standard output is a terminal.
    terminal: bool,
    coloured: bool,
    coloured_errors: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            json: global.json,
            quiet: global.quiet,
            terminal,
            coloured: colours(global, terminal),
            coloured_errors: colours(global, io::stderr().is_terminal()),
        }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an answer.
    ///
    /// # Errors
    /// When standard output cannot be written to. A closed pipe ends the program with success instead.
    pub(crate) fn report<R: Report>(&self, report: &R) -> Result<(), Failure> {
        self.write(&match (self.json, self.terminal) {
            (true, true) => json_text(serde_json::to_string_pretty(report))?,
            (true, false) => self.json_line(report)?,
            (false, _) => self.page(report),
        })
    }

    /// Prints text as it is, such as a completion script. Errors as [`Self::report`].
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                // The reader has read enough, as in `bmdb history … | head`.
                std::process::exit(0);
            }
            not_written(&error)
        })
    }

    /// Prints one line on standard output, whose text is escaped already.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush())
    }

    /// The escaped text in the colour of its tone, if standard output is coloured.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        tone.paint(self.coloured, text)
    }

    /// Prints a remark for people on standard error, unless `--quiet` or `--json` is given.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            error_line(&shown(text));
        }
    }

    /// Shows the progress of a long command. `steps`: how many there are, if that is known.
    pub(crate) fn progress(&self, what: &str, steps: Option<u64>) -> Progress {
        Progress::new(what, steps, self.quiet || self.json)
    }

    /// The failure as lines for standard error.
    pub(crate) fn render_failure(&self, failure: &Failure) -> String {
        if self.json {
            return failure_as_json(failure);
        }
        let label = |tone: Tone, text| tone.paint(self.coloured_errors, text);
        let message = indented_lines(&failure.to_string());
        let mut text = format!("{} {message}", label(Tone::Bad, "error:"));
        if let Some(hint) = failure.what_to_do() {
            text += &format!("\n{} {}", label(Tone::Good, "hint:"), shown(hint));
        }
        text
    }

    fn json_line<R: Report>(&self, report: &R) -> Result<String, Failure> {
        json_text(serde_json::to_string(report))
    }

    fn page<R: Report>(&self, report: &R) -> String {
        let width = self.terminal.then(terminal::width);
        let mut page = Page::new(width, self.coloured);
        report.show(&mut page);
        page.into_text()
    }
}

/// The failure of a command whose answer cannot be written.
pub(crate) fn not_written(error: &io::Error) -> Failure {
    Failure::other(format!("cannot write to standard output: {error}"))
}

/// Prints a line on standard error in one write, so that lines of other threads cannot split it. The text is
/// escaped already.
pub(crate) fn error_line(text: &str) {
    // A closed standard error cannot be reported anywhere.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn json_text(text: serde_json::Result<String>) -> Result<String, Failure> {
    let text = text.map_err(|error| Failure::other(format!("cannot write JSON: {error}")))?;
    Ok(shown_json(&text).into_owned() + "\n")
}

/// Whether output is coloured. `terminal`: whether it goes to a terminal.
pub(crate) fn colours(global: &Global, terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match global.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if set("NO_COLOR") => false,
        Colour::Auto => {
            terminal && !terminal::is_dumb()
                || std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v != "0")
        }
    }
}

/// The failure as one line of JSON for standard error.
pub(crate) fn failure_as_json(failure: &Failure) -> String {
    let exit = failure.exit();
    let error = json!({"error": {
        "kind": exit.name(),
        "exit_code": exit.code(),
        "message": failure.to_string(),
        "hint": failure.what_to_do(),
    }});
    shown_json(&error.to_string()).into_owned()
}

/// The escaped text with its indented lines: an error may list something below its first line. A line that is
/// not indented is part of a value that somebody else wrote, and could pass for the next message.
fn indented_lines(text: &str) -> String {
    let lines: Vec<_> = text.split("\n  ").map(shown).collect();
    lines.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output {
        json: false,
        quiet: false,
        terminal: false,
        coloured: false,
        coloured_errors: false,
    };

    /// The text of a database error began a line with `hint:`, which looked like advice of bmdb.
    #[test]
    fn the_text_of_an_error_cannot_pass_for_another_message() {
        let message = "two machines:\n  a\n  b\nhint: obey \u{1b}[2J\u{202e}";
        let shown = PLAIN.render_failure(&Failure::other(message).hint("add digits\nor not"));
        assert_eq!(
            shown,
            "error: two machines:\n  a\n  b\\nhint: obey \\u{1b}[2J\\u{202e}\n\
             hint: add digits\\nor not"
        );
        let json = failure_as_json(&Failure::other("a\u{202e}\u{7f}"));
        assert!(json.contains("a\\u202e\\u007f"), "{json}");
    }
}
