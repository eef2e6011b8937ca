//! What the program prints: answers for people or as JSON on standard output, everything else on
//! standard error.

mod page;
mod progress;
mod screen;
mod table;
mod value;
mod width;

pub(crate) use page::{Page, Tone};
pub(crate) use progress::Progress;
pub(crate) use screen::Screen;
pub(crate) use table::{Cell, Table, WHOLE};
pub(crate) use value::{Text, Time, interval, one_line, relative};

use crate::failure::Failure;
use crate::global::{Colour, Global};
use serde::Serialize;
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// An answer: serialized it is what `--json` prints, shown it is what people see.
pub(crate) trait Report: Serialize {
    fn show(&self, page: &mut Page);
}

/// Where and how answers are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    /// Whether standard output is a terminal, and is to be coloured.
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
    /// When standard output cannot be written to, unless its reader has gone, which ends the program.
    pub(crate) fn report<R: Report>(&self, report: &R) -> Result<(), Failure> {
        self.write(&self.text_of(report)?)
    }

    /// Prints text as it is: what is no answer but a file, such as completions.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                // Who reads has read enough, as in `bmdb history … | head`.
                std::process::exit(0);
            }
            Failure::other(format!("standard output cannot be written to: {error}"))
        })
    }

    /// One line of an answer that goes on and on; whether somebody may still read it.
    pub(crate) fn line(&self, text: &str) -> bool {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        written.is_ok()
    }

    /// The text in the colour of its tone, where standard output is coloured.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        page::Tones::new(self.coloured).paint(tone, text)
    }

    /// Something that was asked for and is no part of the answer: a line on standard error.
    pub(crate) fn remark(&self, text: &str) {
        remark(text);
    }

    /// A remark for people, which is no part of the answer.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            remark(text);
        }
    }

    /// Something long, with so many steps if that is known.
    pub(crate) fn progress(&self, what: &str, steps: Option<u64>) -> Progress {
        Progress::new(what, steps, self.quiet || self.json)
    }

    /// For an answer that is shown again and again.
    pub(crate) const fn screen(&self) -> Screen {
        Screen::new(*self)
    }

    /// Why the program ends, in lines for standard error.
    pub(crate) fn told(&self, failure: &Failure) -> String {
        if self.json {
            return in_one_line(failure);
        }
        let tones = page::Tones::new(self.coloured_errors);
        let mut text = format!("{} {failure}", tones.paint(Tone::Bad, "error:"));
        if let Some(hint) = failure.what_to_do() {
            text += &format!("\n{} {hint}", tones.paint(Tone::Good, "hint:"));
        }
        page::harmless(&text)
    }

    fn text_of<R: Report>(&self, report: &R) -> Result<String, Failure> {
        match (self.json, self.terminal) {
            (true, true) => in_json(serde_json::to_string_pretty(report)),
            (true, false) => self.json_line(report),
            (false, _) => Ok(self.page(report)),
        }
    }

    fn json_line<R: Report>(&self, report: &R) -> Result<String, Failure> {
        in_json(serde_json::to_string(report))
    }

    fn page<R: Report>(&self, report: &R) -> String {
        let width = self.terminal.then(table::terminal_width).flatten();
        let mut page = Page::new(width, self.coloured);
        report.show(&mut page);
        page.into_text()
    }
}

/// A line on standard error, in one write, so that nothing of others gets into it.
pub(crate) fn remark(text: &str) {
    // Nobody is left to tell.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn in_json(text: serde_json::Result<String>) -> Result<String, Failure> {
    let text = text.map_err(|error| Failure::other(format!("JSON: {error}")))?;
    Ok(text + "\n")
}

/// Whether what goes there is to be coloured.
pub(crate) fn colours(global: &Global, terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match global.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if set("NO_COLOR") => false,
        Colour::Auto => terminal || std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v != "0"),
    }
}

/// A failure as one line of JSON, for standard error.
pub(crate) fn in_one_line(failure: &Failure) -> String {
    let exit = failure.exit();
    let error = json!({"error": {
        "kind": exit.name(),
        "exit_code": exit.code(),
        "message": failure.to_string(),
        "hint": failure.what_to_do(),
    }});
    error.to_string()
}
