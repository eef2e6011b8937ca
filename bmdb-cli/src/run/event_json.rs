//! Events of `bmdb run` as JSON, as docs/cli/run.md describes.

use bmdb_core::control_loop::{Event, Machine, Outcome, Summary};
use bmdb_model::Fence;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

pub(super) fn event(event: &Event<'_>) -> Value {
    match event {
        Event::SessionStarted { session } => {
            json!({"event": "session_started", "session": session.to_string()})
        }
        Event::SessionLost { session } => {
            json!({"event": "session_lost", "session": session.to_string()})
        }
        Event::Waiting { error, delay } => json!({
            "event": "waiting", "reason": error.to_string(), "seconds": delay.as_secs_f64(),
        }),
        Event::HostFailing {
            cause,
            failures,
            delay,
        } => json!({
            "event": "host_failing", "cause": cause, "failures": failures,
            "seconds": delay.as_secs_f64(),
        }),
        Event::Started { work, machine } => attempt("started", machine, work.fence()),
        Event::Ended {
            machine,
            fence,
            outcome,
            took,
        } => {
            let mut line = ended(outcome, machine, *fence);
            line["seconds"] = json!(took.as_secs_f64());
            line
        }
        Event::Draining { running, limit } => json!({
            "event": "draining", "running": running, "limit_seconds": limit.as_secs_f64(),
        }),
        other => json!({"event": "other", "text": format!("{other:?}")}),
    }
}

pub(super) fn summary(summary: &Summary) -> Value {
    json!({
        "event": "summary",
        "sessions": summary.sessions,
        "claimed": summary.claimed,
        "finished": summary.finished,
        "unproductive": summary.unproductive,
        "failed": summary.failed,
        "put_on_hold": summary.put_on_hold,
        "canceled": summary.canceled,
        "host_failed": summary.host_failed,
        "lost": summary.lost,
    })
}

pub(super) fn left_out(lines: usize) -> Value {
    json!({"event": "left_out", "lines": lines})
}

fn attempt(event: &str, machine: &Machine, fence: Fence) -> Value {
    let provided = machine.provided.as_ref();
    json!({
        "event": event,
        "machine": machine.id.to_string(),
        "provider": provided.map(|p| p.provider.as_str()),
        "provider_id": provided.map(|p| p.provider_id.as_str()),
        "fence": fence.get(),
        "attempt": machine.attempt,
    })
}

fn time(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn ended(outcome: &Outcome, machine: &Machine, fence: Fence) -> Value {
    let attempt = |event| attempt(event, machine, fence);
    match outcome {
        Outcome::Finished { rest } => {
            let mut line = attempt("finished");
            line["rest"] = json!(rest.map(|rest| rest.to_string()));
            line
        }
        Outcome::Snoozed { rest } => {
            let mut line = attempt("snoozed");
            line["rest_seconds"] = json!(rest.as_secs_f64());
            line
        }
        Outcome::ProviderPaused {
            cause,
            provider,
            until,
        } => {
            let mut line = attempt("provider_paused");
            line["cause"] = json!(cause);
            line["paused"] = json!(provider.as_str());
            line["until"] = json!(until.as_ref().map(time));
            line
        }
        Outcome::Canceled => attempt("canceled"),
        Outcome::HostFailed { cause } => {
            let mut line = attempt("host_failed");
            line["cause"] = json!(cause);
            line
        }
        Outcome::Lost => attempt("lost"),
        Outcome::Failed {
            cause,
            interval,
            until,
            put_on_hold,
            process_on_hold,
        } => {
            let mut line = attempt("failed");
            line["cause"] = json!(cause);
            line["interval_seconds"] = json!(interval.get());
            line["until"] = json!(time(until));
            line["put_on_hold"] = json!(put_on_hold);
            line["process_on_hold"] = json!(process_on_hold);
            line
        }
        Outcome::Unrecorded { reason } => {
            let mut line = attempt("unrecorded");
            line["reason"] = json!(reason.to_string());
            line
        }
        _ => attempt("other"),
    }
}
