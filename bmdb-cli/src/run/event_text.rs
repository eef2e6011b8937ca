//! Events of `bmdb run` as lines for people.

use crate::output::{Tone, interval};
use bmdb_core::control_loop::{Event, Machine, Outcome};
use bmdb_model::Fence;
use std::time::Duration;

pub(super) fn render(event: &Event<'_>) -> Option<(Tone, String)> {
    Some(match event {
        Event::SessionStarted { session } => (Tone::Dim, format!("session   {session}")),
        Event::SessionLost { session } => (
            Tone::Warn,
            format!("session   {session} is lost; starting another"),
        ),
        Event::Waiting { error, delay } => (
            Tone::Warn,
            format!("waiting   {}: {error}", seconds(*delay)),
        ),
        Event::HostFailing {
            cause,
            failures,
            delay,
        } => (
            Tone::Bad,
            format!(
                "waiting   {}: this host cannot process machines, {failures} in a row: {cause}",
                seconds(*delay)
            ),
        ),
        Event::Started { work, machine } => (
            Tone::Plain,
            format!("started   {}", attempt(machine, work.fence())),
        ),
        Event::Ended {
            machine,
            fence,
            outcome,
            took,
        } => ended(
            outcome,
            &format!("{}  {}", attempt(machine, *fence), seconds(*took)),
        ),
        Event::Draining { running, limit } => (
            Tone::Plain,
            format!("draining  {running} running, at most {}", seconds(*limit)),
        ),
        _ => return None,
    })
}

fn ended(outcome: &Outcome, attempt: &str) -> (Tone, String) {
    match outcome {
        Outcome::Finished { rest: None } => (Tone::Good, format!("finished  {attempt}")),
        Outcome::Finished { rest: Some(rest) } => {
            (Tone::Warn, format!("finished  {attempt}  rests, {rest}"))
        }
        Outcome::Snoozed { rest } => {
            let rests = format!("rests for {}", seconds(*rest));
            (Tone::Plain, format!("snoozed   {attempt}  {rests}"))
        }
        Outcome::ProviderPaused {
            cause,
            provider,
            until,
        } => {
            let until = match until {
                Some(until) => format!("until {}", until.format("%Y-%m-%d %H:%M:%SZ")),
                None => "until it is resumed".to_owned(),
            };
            let paused = format!("{provider} is paused {until}: {cause}");
            (Tone::Warn, format!("paused    {attempt}  {paused}"))
        }
        Outcome::HostFailed { cause } => (
            Tone::Bad,
            format!("released  {attempt}  this host cannot process it: {cause}"),
        ),
        Outcome::Canceled => (Tone::Plain, format!("canceled  {attempt}")),
        Outcome::Failed {
            cause,
            interval: backoff,
            put_on_hold,
            process_on_hold,
            ..
        } => {
            let next = match (put_on_hold, process_on_hold) {
                (true, _) => "put on hold".to_owned(),
                (_, true) => "the process is put on hold there".to_owned(),
                _ => format!("backs off for up to {}", interval(backoff.get().into())),
            };
            (Tone::Bad, format!("failed    {attempt}  {next}: {cause}"))
        }
        Outcome::Unrecorded { reason } => (
            Tone::Warn,
            format!("lost      {attempt}  its end is not recorded: {reason}"),
        ),
        _ => (Tone::Warn, format!("lost      {attempt}")),
    }
}

fn attempt(machine: &Machine, fence: Fence) -> String {
    let id = machine.id.to_string();
    let provided = machine.provided.as_ref();
    let provided = provided.map_or_else(
        || "without a provider".to_owned(),
        |p| format!("{}/{}", p.provider, p.provider_id),
    );
    let attempt = machine.attempt;
    format!(
        "{} {provided}  fence {fence}  attempt {attempt}",
        short(&id)
    )
}

/// The first digits of a machine's id, which commands accept as its name.
pub(super) fn short(machine: &str) -> &str {
    machine.get(..8).unwrap_or(machine)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
