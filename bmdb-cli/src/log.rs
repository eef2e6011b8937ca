//! Log: what the libraries report while a command runs, on standard error.

use crate::commands::Command;
use crate::global::Global;
use crate::output;
use crate::printer::{Next, Printer};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
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
            (Some(lines), last) => lines.0.close(last).await,
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
        None => style.subscriber(io::stderr, filter).init(),
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
            (false, true) => log.into(),
            (false, false) => log.without_time().with_target(false).into(),
        }
    }
}

/// A printer for the lines of the log.
#[derive(Clone)]
struct Lines(Arc<Printer<String>>);

impl Lines {
    fn start(style: Style) -> io::Result<Self> {
        // Writes at once, because it runs in the printer's own thread.
        let direct = style.subscriber(io::stderr, EnvFilter::new("warn"));
        let printer = Printer::start("log", move |next: Next<String>| match next {
            Next::Line(line) => output::error_line(&line),
            Next::Dropped(lines) => tracing::dispatcher::with_default(&direct, || {
                tracing::warn!(lines, "log lines dropped here: the reader was too slow");
            }),
        });
        Ok(Self(Arc::new(printer?)))
    }
}

/// The writer of one event, which the subscriber writes in one piece.
struct EventWriter<'a>(&'a Printer<String>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> EventWriter<'a> {
        EventWriter(&self.0)
    }
}

impl io::Write for EventWriter<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event.trim_ascii_end());
        self.0.put(line.into_owned());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
