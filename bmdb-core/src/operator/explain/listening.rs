//! Explanations of silence that does not count, because nobody has been listening.

use super::moment::moment;
use bmdb_model::agent::Silence;
use chrono::{DateTime, Utc};

/// What listening adds to the explanation of the second gate.
pub(super) fn sentence(silence: &Silence, now: DateTime<Utc>) -> Option<String> {
    let listening = &silence.listening;
    let provider = &listening.provider;
    if listening.assumed && !listening.listened {
        return Some(format!(
            "Nobody is listening to the agents of {provider}, and an operator has said that their silence \
             counts nevertheless."
        ));
    }
    if silence.silent_at <= silence.quiet_at || silence.silent_at <= now {
        return None;
    }
    Some(
        match (listening.listened, listening.since, listening.heard_at) {
            (true, Some(since), _) => format!(
                "The agents of {provider} have been listened to without a gap only since {}: an earlier silence \
             does not count.",
                moment(since, now)
            ),
            (true, None, _) => return None,
            (false, _, Some(heard)) => format!(
                "Nobody has been listening to the agents of {provider} since {}: no silence counts, and recovery \
             begins at the earliest 10 minutes after somebody listens.",
                moment(heard, now)
            ),
            (false, _, None) => format!(
                "Nobody has ever been seen listening to the agents of {provider}: no silence counts, and recovery \
             begins at the earliest 10 minutes after somebody listens."
            ),
        },
    )
}

/// What to do while nobody listens.
pub(super) fn advice(silence: &Silence, process: &bmdb_model::Process) -> Option<String> {
    let listening = &silence.listening;
    let is_unheard = !listening.listened && !listening.assumed;
    (is_unheard && silence.silent_at > silence.quiet_at).then(|| {
        format!(
            "Start the program that writes heartbeats: `bmdb agent listening` shows who listens. \
             `bmdb process resume {process}` goes on regardless."
        )
    })
}
