//! What `bmdb run` prints: a line for each event, for people or as JSON.

use crate::output::{Output, Tone, interval};
use crate::printer::{Next, Printer};
use bmdb_core::control_loop::{Event, Machine, Outcome, Shutdown, Summary};
use bmdb_model::{Fence, Process};
use chrono::SecondsFormat;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// Where events go. Once nobody reads them any more, the loop is told to leave.
pub(super) struct Events {
    output: Output,
    process: Process,
    printer: Printer<Line>,
}

/// What is to be printed, and where.
enum Line {
    /// On standard output.
    Event(String),
    /// On standard error.
    Remark(String),
    /// On standard error, if somebody wants to know.
    Note(String),
}

impl Events {
    /// Starts the thread that prints them: nothing here ever waits for a reader.
    pub(super) fn start(output: Output, process: Process, shutdown: Shutdown) -> io::Result<Self> {
        let name = process.clone();
        let printer = Printer::start("printer", move |next| {
            let event = match next {
                Next::Line(Line::Event(line)) => line,
                Next::LeftOut(lines) => left_out(output, &name, lines),
                Next::Line(Line::Remark(line)) => return output.remark(&line),
                Next::Line(Line::Note(line)) => return output.note(&line),
            };
            if !output.line(&event) {
                shutdown.request();
            }
        })?;
        Ok(Self {
            output,
            process,
            printer,
        })
    }

    pub(super) fn show(&self, event: &Event<'_>) {
        if self.output.is_json() {
            let line = self.in_json(event).to_string();
            self.printer.put(Line::Event(line));
        } else if let Some((tone, line)) = for_people(event) {
            let line = self.output.paint(tone, &line);
            self.printer.put(Line::Event(line));
        }
    }

    /// A line that a command has printed, on standard error.
    pub(super) fn pass_on(&self, machine: &str, line: &str) {
        let line = format!("{}: {line}", short(machine));
        self.printer.put(Line::Remark(line));
    }

    /// Something that people may want to know, on standard error.
    pub(super) fn note(&self, line: String) {
        self.printer.put(Line::Note(line));
    }

    /// Prints what is left to print, and what it all came to.
    pub(super) async fn close(&self, summary: Option<&Summary>) {
        let last = summary.map(|summary| self.summary(summary));
        self.printer.close(last).await;
    }

    fn summary(&self, summary: &Summary) -> Line {
        if self.output.is_json() {
            let Summary {
                sessions,
                claimed,
                finished,
                failed,
                put_on_hold,
                canceled,
                lost,
                ..
            } = summary;
            let summary = json!({
                "event": "summary", "process": self.process.as_str(), "sessions": sessions,
                "claimed": claimed, "finished": finished, "failed": failed, "put_on_hold": put_on_hold,
                "canceled": canceled, "lost": lost,
            });
            Line::Event(summary.to_string())
        } else {
            Line::Note(summary.to_string())
        }
    }

    fn in_json(&self, event: &Event<'_>) -> Value {
        let mut line = match event {
            Event::SessionStarted { session } => {
                json!({"event": "session_started", "session": session.to_string()})
            }
            Event::SessionLost { session } => {
                json!({"event": "session_lost", "session": session.to_string()})
            }
            Event::Waiting { error, delay } => json!({
                "event": "waiting", "reason": error.to_string(), "seconds": delay.as_secs_f64(),
            }),
            Event::Started { work, machine } => {
                let mut line = subject(machine, work.fence());
                put(&mut line, "event", json!("started"));
                line
            }
            Event::Ended {
                machine,
                fence,
                outcome,
                took,
            } => {
                let mut line = subject(machine, *fence);
                put(&mut line, "seconds", json!(took.as_secs_f64()));
                ended(&mut line, outcome);
                line
            }
            Event::Draining { running, limit } => json!({
                "event": "draining", "running": running, "limit_seconds": limit.as_secs_f64(),
            }),
            other => json!({"event": "other", "text": format!("{other:?}")}),
        };
        put(&mut line, "process", json!(self.process.as_str()));
        line
    }
}

/// The line in the place of those for which there was no room.
fn left_out(output: Output, process: &Process, lines: usize) -> String {
    if output.is_json() {
        let line = json!({"event": "left_out", "lines": lines, "process": process.as_str()});
        return line.to_string();
    }
    let line = format!("left out  {lines} lines, which nobody has read in time");
    output.paint(Tone::Warn, &line)
}

fn put(line: &mut Value, name: &str, value: Value) {
    if let Some(fields) = line.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn subject(machine: &Machine, fence: Fence) -> Value {
    let provided = machine.provided.as_ref();
    json!({
        "machine": machine.id.to_string(),
        "provider": provided.map(|p| p.provider.as_str()),
        "provider_id": provided.map(|p| p.provider_id.as_str()),
        "fence": fence.get(),
        "attempt": machine.attempt,
    })
}

fn ended(line: &mut Value, outcome: &Outcome) {
    let event = match outcome {
        Outcome::Finished => "finished",
        Outcome::Canceled => "canceled",
        Outcome::Lost => "lost",
        Outcome::Failed {
            cause,
            interval,
            until,
            put_on_hold,
        } => {
            put(line, "cause", json!(cause));
            put(line, "interval_seconds", json!(interval.get()));
            let until = until.to_rfc3339_opts(SecondsFormat::Micros, true);
            put(line, "until", json!(until));
            put(line, "put_on_hold", json!(put_on_hold));
            "failed"
        }
        Outcome::Unrecorded { reason } => {
            put(line, "reason", json!(reason.to_string()));
            "unrecorded"
        }
        _ => "other",
    };
    put(line, "event", json!(event));
}

/// As much of a machine's id as a line has room for, and a command line takes.
fn short(machine: &str) -> &str {
    machine.get(..8).unwrap_or(machine)
}

fn who(machine: &Machine, fence: Fence) -> String {
    let id = machine.id.to_string();
    let provided = machine.provided.as_ref().map_or_else(
        || "provided by nobody".to_owned(),
        |p| format!("{}/{}", p.provider, p.provider_id),
    );
    let attempt = machine.attempt;
    format!(
        "{} {provided}  fence {fence}  attempt {attempt}",
        short(&id)
    )
}

fn for_people(event: &Event<'_>) -> Option<(Tone, String)> {
    let line = match event {
        Event::SessionStarted { session } => (Tone::Dim, format!("session   {session}")),
        Event::SessionLost { session } => (
            Tone::Warn,
            format!("session   {session} is lost; starting another"),
        ),
        Event::Waiting { error, delay } => (
            Tone::Warn,
            format!("waiting   {}: {error}", seconds(*delay)),
        ),
        Event::Started { work, machine } => (
            Tone::Plain,
            format!("started   {}", who(machine, work.fence())),
        ),
        Event::Ended {
            machine,
            fence,
            outcome,
            took,
        } => {
            let who = format!("{}  {}", who(machine, *fence), seconds(*took));
            match outcome {
                Outcome::Finished => (Tone::Good, format!("finished  {who}")),
                Outcome::Canceled => (Tone::Plain, format!("canceled {who}")),
                Outcome::Failed {
                    cause,
                    interval: rest,
                    put_on_hold,
                    ..
                } => {
                    let rest = match put_on_hold {
                        true => "put on hold".to_owned(),
                        false => format!("rests for up to {}", interval(rest.get().into())),
                    };
                    (Tone::Bad, format!("failed    {who}  {rest}: {cause}"))
                }
                Outcome::Unrecorded { reason } => (
                    Tone::Warn,
                    format!("lost      {who}  its end is not recorded: {reason}"),
                ),
                _ => (Tone::Warn, format!("lost      {who}")),
            }
        }
        Event::Draining { running, limit } => (
            Tone::Plain,
            format!(
                "draining  {running} running, for {} at most",
                seconds(*limit)
            ),
        ),
        _ => return None,
    };
    Some(line)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
