//! What the libraries tell while a command runs, on standard error.

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

/// Where the log goes.
pub(crate) struct Log {
    /// None where the log is written at once, whoever has to wait for that.
    printer: Option<Lines>,
}

impl Log {
    /// Writes what is left to write, and `last` behind it. A reader that has stopped is not waited for,
    /// unless the command is one that may wait for it.
    pub(crate) async fn close(&self, last: Option<String>) {
        match (&self.printer, last) {
            (Some(lines), last) => lines.0.close(last).await,
            (None, Some(last)) => output::remark(&last),
            (None, None) => {}
        }
    }
}

/// Starts telling. A program that runs for good tells what it does without being asked.
pub(crate) fn start(global: &Global, command: &Command) -> io::Result<Log> {
    let runs_for_good = command.runs_for_good();
    let (filter, wrong) = filter(global, runs_for_good);
    let style = Style {
        json: global.json,
        coloured: output::colours(global, io::stderr().is_terminal()),
        of_a_service: runs_for_good,
    };
    let printer = match command.waits_for_nobody() {
        true => Some(Lines::start(style)?),
        false => None,
    };
    match printer.clone() {
        Some(lines) => style.subscriber(lines, filter).init(),
        None => style.subscriber(io::stderr, filter).init(),
    }
    if let Some(error) = wrong {
        tracing::warn!("RUST_LOG is passed over: {error}");
    }
    Ok(Log { printer })
}

/// What is to be told, and what is wrong with RUST_LOG.
fn filter(global: &Global, runs_for_good: bool) -> (EnvFilter, Option<ParseError>) {
    let level = match (global.quiet, global.verbose, runs_for_good) {
        (true, ..) => "error",
        // Whoever waits for a migration wants to know for whom.
        (_, 0, false) => "warn,bmdb_core::migrate=info",
        (_, 0, true) => "warn,bmdb=info,bmdb_core=info,bmdb_web=info",
        (_, 1, _) => "warn,bmdb=info,bmdb_core=info,bmdb_model=info,bmdb_web=info",
        (_, 2, _) => "info,bmdb=debug,bmdb_core=debug,bmdb_model=debug,bmdb_web=debug",
        (_, 3.., _) => "trace",
    };
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    match asked.parse() {
        Ok(filter) if !asked.is_empty() => (filter, None),
        Ok(_) => (EnvFilter::new(level), None),
        Err(error) => (EnvFilter::new(level), Some(error)),
    }
}

/// What the log's lines look like.
#[derive(Clone, Copy)]
struct Style {
    json: bool,
    coloured: bool,
    /// With the time, and with what told of it.
    of_a_service: bool,
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
        match (self.json, self.of_a_service) {
            (true, _) => log.json().into(),
            (false, true) => log.into(),
            (false, false) => log.without_time().with_target(false).into(),
        }
    }
}

/// Lines of the log, which a thread of their own writes.
#[derive(Clone)]
struct Lines(Arc<Printer<String>>);

impl Lines {
    fn start(style: Style) -> io::Result<Self> {
        // It writes at once, in the only thread that may.
        let at_once = style.subscriber(io::stderr, EnvFilter::new("warn"));
        let printer = Printer::start("log", move |next: Next<String>| match next {
            Next::Line(line) => output::remark(&line),
            Next::LeftOut(lines) => tracing::dispatcher::with_default(&at_once, || {
                tracing::warn!(
                    lines,
                    "lines are left out here, which nobody has read in time"
                );
            }),
        });
        Ok(Self(Arc::new(printer?)))
    }
}

/// The writer of an event, which comes in one piece.
struct Later<'a>(&'a Printer<String>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Later<'a>;

    fn make_writer(&'a self) -> Later<'a> {
        Later(&self.0)
    }
}

impl io::Write for Later<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event.trim_ascii_end());
        self.0.put(line.into_owned());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
