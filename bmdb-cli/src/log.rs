//! Log: what the libraries report while a command runs, on standard error.

use crate::commands::Command;
use crate::global::Global;
use crate::output::{self, shown};
use crate::printer::{Next, Printer};
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use tracing::Dispatch;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) struct Log {
    /// `None`: each event is written at once, and its thread waits for that.
    printer: Option<Lines>,
}

impl Log {
    /// Writes the queued lines and then `last`. A command that holds leases does not wait for a reader that
    /// has stopped.
    pub(crate) async fn close(&self, last: Option<String>) {
        match (&self.printer, last) {
            (Some(lines), last) => lines.printer.close(last).await,
            (None, Some(last)) => output::error_line(&last),
            (None, None) => {}
        }
    }
}

/// Starts the log. A service logs what it does without `-v`.
pub(crate) fn start(global: &Global, command: &Command) -> io::Result<Log> {
    let is_service = command.is_service();
    let (filter, invalid) = filter(global, is_service);
    let style = Style {
        json: global.json,
        coloured: output::colours(global, io::stderr().is_terminal()),
        is_service,
    };
    let printer = match command.must_not_wait_for_log() {
        true => Some(Lines::start(style)?),
        false => None,
    };
    match printer.clone() {
        Some(lines) => style.subscriber(lines, filter).init(),
        None => style.subscriber(Direct(style), filter).init(),
    }
    if let Some(error) = invalid {
        tracing::warn!("ignoring invalid RUST_LOG: {error}");
    }
    Ok(Log { printer })
}

/// The filter, and the error if RUST_LOG is invalid.
fn filter(global: &Global, is_service: bool) -> (EnvFilter, Option<ParseError>) {
    let level = match (global.quiet, global.verbose, is_service) {
        (true, ..) => "error",
        // A migration that waits for a lock names its holder.
        (_, 0, false) => "warn,bmdb_core::db::migrate=info",
        (_, 0, true) => "warn,bmdb=info,bmdb_core=info,bmdb_web=info",
        (_, 1, _) => "warn,bmdb=info,bmdb_core=info,bmdb_model=info,bmdb_web=info",
        (_, 2, _) => "info,bmdb=debug,bmdb_core=debug,bmdb_model=debug,bmdb_web=debug",
        (_, 3.., _) => "trace",
    };
    let variable = std::env::var("RUST_LOG").unwrap_or_default();
    match variable.parse() {
        Ok(filter) if !variable.is_empty() => (filter, None),
        Ok(_) => (EnvFilter::new(level), None),
        Err(error) => (EnvFilter::new(level), Some(error)),
    }
}

/// The format of the log's lines.
#[derive(Clone, Copy)]
struct Style {
    json: bool,
    coloured: bool,
    /// Lines of a service have the time and the module.
    is_service: bool,
}

impl Style {
    fn subscriber<W>(self, writer: W, filter: EnvFilter) -> Dispatch
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(writer)
            .with_ansi(self.coloured);
        match (self.json, self.is_service) {
            (true, _) => log.json().into(),
            (false, true) => log.fmt_fields(self.fields()).into(),
            (false, false) => {
                let log = log.without_time().with_target(false);
                log.fmt_fields(self.fields()).into()
            }
        }
    }

    /// The fields of an event in text. Each value is escaped alone, or it could bring colours of its own.
    fn fields(self) -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
        let name_style = match self.coloured {
            true => anstyle::Style::new().dimmed(),
            false => anstyle::Style::new(),
        };
        let field = move |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
            let value = format!("{value:?}");
            let value = shown(&value);
            match field.name() {
                "message" => writer.write_str(&value),
                name => write!(writer, "{name_style}{name}={name_style:#}{value}"),
            }
        };
        debug_fn(field).delimited(" ")
    }

    /// The line of an event, whose values come from databases and commands.
    fn escape(self, line: &str) -> String {
        match (self.json, self.coloured) {
            (true, _) => output::shown_json(line).into_owned(),
            (false, false) => shown(line).into_owned(),
            (false, true) => escape_but_colours(line),
        }
    }
}

/// The escaped line with the subscriber's colours. The values are escaped already.
fn escape_but_colours(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut escaped = shown(pieces.next().unwrap_or_default()).into_owned();
    for piece in pieces {
        let numbers = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        let colour = piece.len() - numbers.len();
        match numbers.strip_prefix('m') {
            Some(text) => {
                escaped += &format!("\u{1b}[{}m{}", &piece[..colour], shown(text));
            }
            None => escaped += &shown(&format!("\u{1b}[{piece}")),
        }
    }
    escaped
}

/// A printer for the lines of the log.
#[derive(Clone)]
struct Lines {
    printer: Arc<Printer<String>>,
    style: Style,
}

impl Lines {
    fn start(style: Style) -> io::Result<Self> {
        // Writes at once, because it runs in the printer's own thread.
        let direct = style.subscriber(Direct(style), EnvFilter::new("warn"));
        let printer = Printer::start("log", move |next: Next<String>| match next {
            Next::Line(line) => output::error_line(&line),
            Next::Dropped(lines) => tracing::dispatcher::with_default(&direct, || {
                tracing::warn!(lines, "log lines dropped here: the reader was too slow");
            }),
        });
        Ok(Self {
            printer: Arc::new(printer?),
            style,
        })
    }
}

/// Writes each event at once.
struct Direct(Style);

/// The writer of one event, which the subscriber writes in one piece.
struct EventWriter<F>(Style, F);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = EventWriter<Box<dyn Fn(String) + 'a>>;

    fn make_writer(&'a self) -> Self::Writer {
        EventWriter(self.style, Box::new(|line| self.printer.put(line)))
    }
}

impl MakeWriter<'_> for Direct {
    type Writer = EventWriter<fn(String)>;

    fn make_writer(&self) -> Self::Writer {
        EventWriter(self.0, |line| output::error_line(&line))
    }
}

impl<F: Fn(String)> io::Write for EventWriter<F> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event.trim_ascii_end());
        self.1(self.0.escape(&line));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A cause with U+2028 and a line break began lines of the log that nobody had written.
    #[test]
    fn an_event_is_one_line_whatever_its_values_contain() {
        for (json, coloured) in [(false, false), (false, true), (true, false)] {
            let style = Style {
                json,
                coloured,
                is_service: true,
            };
            static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
            let keep: fn(String) = |line| LINES.lock().unwrap().push(line);
            let writer = move || EventWriter(style, keep);
            let log = style.subscriber(writer, EnvFilter::new("info"));
            let cause = "a\u{202e}b\nERROR forged\u{2028}c\u{1b}[8m\u{200b}";
            tracing::dispatcher::with_default(&log, || {
                tracing::warn!(cause, error = %cause, other = ?cause, "{cause}");
            });
            let line = LINES.lock().unwrap().pop().unwrap();
            assert_eq!(line.contains('\u{1b}'), coloured, "{line:?}");
            let text = line.replace('\u{1b}', "");
            assert!(
                !text.chars().any(bmdb_model::text::is_invisible),
                "{line:?}"
            );
            assert!(!line.contains("\u{1b}[8m"), "{line:?}");
            if json {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(event["fields"]["cause"], cause);
            }
        }
    }
}
