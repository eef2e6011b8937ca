//! What a clock that was set back has to do with a machine that waits.

use super::moment::moment;
use bmdb_model::gates::Gates;
use chrono::{DateTime, TimeDelta, Utc};

/// Times may differ by this much without a reason: that of a claim is read after the statement's own.
const SLACK: TimeDelta = TimeDelta::seconds(1);

/// What to do about times in the future that only a clock that was set back can leave behind.
pub(super) fn advice(gates: &Gates) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some((what, time)) = in_the_future(gates) {
        advice.push(format!(
            "The database's clock was set back: {what} {}. Janitors let backoffs that began later begin now; \
             look at the server's time synchronization.",
            moment(time, gates.at)
        ));
    }
    if let Some(holder) = gates.claim.as_ref().filter(|holder| holder.is_overlong) {
        advice.push(format!(
            "`bmdb session end {}` ends the overlong lease now; `bmdb janitor` ends it after {} s without a heartbeat.",
            holder.session, holder.interval_seconds
        ));
    }
    advice
}

fn in_the_future(gates: &Gates) -> Option<(&'static str, DateTime<Utc>)> {
    let claimed = gates.claim.as_ref();
    let claimed = claimed.map(|holder| ("the machine was claimed", holder.started_at));
    let ended = gates.last.as_ref();
    let ended = ended.map(|last| ("the last attempt ended", last.ended_at));
    let times = [claimed, ended].into_iter().flatten();
    times
        .filter(|(_, time)| *time > gates.at + SLACK)
        .max_by_key(|(_, time)| *time)
}
