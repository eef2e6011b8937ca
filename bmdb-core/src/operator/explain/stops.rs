//! The fourth gate: pauses and limits.

use super::gate::Gate;
use super::moment::moment;
use bmdb_backoff::Seconds;
use bmdb_model::gates::Gates;
use bmdb_model::process_control::{Pause, PauseSource, Per, ProcessGate, SlotKind};
use chrono::{DateTime, Utc};

pub(super) fn explain(gates: &Gates) -> Gate {
    let stops = &gates.stops;
    let mut sentences: Vec<String> = stops.iter().map(|stop| sentence(gates, stop)).collect();
    if sentences.is_empty() {
        sentences.push("It is not paused, and no limit is reached.".to_owned());
    }
    let pauses = stops.iter().filter_map(|stop| match stop {
        ProcessGate::Paused(pause) => Some(pause.since),
        _ => None,
    });
    // It opens when the last of them does, if that is known of each.
    let opens_at: Option<Vec<_>> = stops.iter().map(ProcessGate::opens_at).collect();
    Gate {
        is_open: stops.is_empty(),
        since: pauses.min(),
        opens_at: opens_at.and_then(|times| times.into_iter().max()),
        sentences,
    }
}

/// What closes it, for the summary.
pub(super) fn in_short(gates: &Gates) -> &'static str {
    match gates.stops.first() {
        Some(ProcessGate::Paused(_)) => "it is paused",
        _ => "it is limited",
    }
}

fn sentence(gates: &Gates, stop: &ProcessGate) -> String {
    match stop {
        ProcessGate::Paused(pause) => paused(pause, gates.at),
        ProcessGate::Limited {
            per,
            kind,
            taken,
            maximum,
            window_seconds,
            opens_at,
            ..
        } => {
            let place = match (per, &gates.eligible.provider) {
                (Per::Provider, Some(provider)) => format!(" for {provider}"),
                _ => String::new(),
            };
            let used = match (kind, window_seconds) {
                (SlotKind::Start, Some(window)) => {
                    format!("{taken} of {maximum} starts within {}", length(*window))
                }
                _ => format!("{taken} of {maximum} running"),
            };
            let next = match opens_at {
                Some(at) => format!("next slot at {}", moment(*at, gates.at)),
                None => "the next slot becomes free when one of them ends".to_owned(),
            };
            format!("Limited: {used}{place}, {next}.")
        }
        _ => "Something else keeps it from starting.".to_owned(),
    }
}

fn paused(pause: &Pause, now: DateTime<Utc>) -> String {
    let place = match &pause.provider {
        Some(provider) => format!(" for {provider}"),
        None => String::new(),
    };
    let by = match pause.source {
        PauseSource::Breaker => "its breaker".to_owned(),
        PauseSource::Attempt => format!("an attempt of {}", pause.paused_by),
        _ => pause.paused_by.clone(),
    };
    let until = match pause.until {
        Some(until) => moment(until, now),
        None => "somebody resumes it".to_owned(),
    };
    format!(
        "Paused{place} by {by} since {} because {:?}, until {until}.",
        moment(pause.since, now),
        pause.reason
    )
}

/// What to do about it.
pub(super) fn advice(gates: &Gates) -> Vec<String> {
    let process = &gates.process;
    let mut advice = Vec::new();
    for stop in &gates.stops {
        let ProcessGate::Paused(pause) = stop else {
            continue;
        };
        if pause.source == PauseSource::Breaker {
            advice.push(format!(
                "`bmdb process show {process}` shows what its breaker has counted: find out why before you \
                 resume."
            ));
        }
        let provider = match &pause.provider {
            Some(provider) => format!(" --provider {provider}"),
            None => String::new(),
        };
        advice.push(format!(
            "`bmdb process resume {process}{provider}` lets it start again."
        ));
    }
    if matches!(gates.stops.last(), Some(ProcessGate::Limited { .. })) {
        advice.push(format!(
            "`bmdb process show {process}` shows its limits and their use, `bmdb process limit {process}` \
             changes them."
        ));
    }
    advice
}

/// As limits are written: `10m`.
fn length(seconds: i64) -> String {
    Seconds::try_from(seconds).map_or_else(|_| format!("{seconds}s"), |length| length.to_string())
}
