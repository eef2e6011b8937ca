//! Pausing and resuming.

use super::{check_known, control, invalid, uncontrol};
use crate::column::Column;
use crate::error::storable;
use crate::gates::is_about_silence;
use crate::internal::agent;
use crate::process_control::{Pause, PauseSource};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Process, Provider, fleet};
use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// The longest pause that ends by itself after a given time: 366 days.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// When a pause ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseEnd {
    /// When a person resumes the process.
    Resumed,
    /// After that time, by the database's clock.
    After(Duration),
    /// At that time.
    At(DateTime<Utc>),
}

/// A pause to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPause<'a> {
    /// The process.
    pub process: &'a Process,
    /// Whose machines; `None` is all.
    pub provider: Option<&'a Provider>,
    /// When it ends.
    pub end: PauseEnd,
    /// What pauses.
    pub source: PauseSource,
    /// Who pauses.
    pub paused_by: &'a str,
    /// Why. Line breaks and other control characters become spaces.
    pub reason: &'a str,
    /// Whether attempts that run are to stop, too.
    pub stop_running: bool,
}

type Columns = (
    Text,
    Nullable<Text>,
    Timestamptz,
    Nullable<Timestamptz>,
    Text,
    Text,
    Text,
    Bool,
);

statement! {
    Before<'a> = "SELECT p.process, nullif(p.provider, ''), p.since, \
                         CASE WHEN isfinite(p.until) THEN p.until END, p.source, p.paused_by, p.reason, p.stop_running \
                  FROM process_pause p \
                  WHERE p.process = $1 AND p.provider = coalesce($2::text, '') AND p.until > clock_timestamp() \
                  FOR UPDATE";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>) -> Columns
}

statement! {
    /// By the database's clock; nothing for a time that has passed.
    Set<'a> = "INSERT INTO process_pause (process, provider, until, source, paused_by, reason, stop_running) \
               SELECT * FROM (SELECT $1::text, coalesce($2::text, ''), \
                                     coalesce($3::timestamptz, \
                                              clock_timestamp() + $4::bigint * interval '1 millisecond', \
                                              'infinity') AS until, \
                                     $5::text, $6::text, $7::text, $8::boolean) p \
               WHERE p.until > clock_timestamp() \
               ON CONFLICT (process, provider) DO UPDATE SET since = excluded.since, until = excluded.until, \
                   source = excluded.source, paused_by = excluded.paused_by, reason = excluded.reason, \
                   stop_running = excluded.stop_running \
               RETURNING process, nullif(provider, ''), since, CASE WHEN isfinite(until) THEN until END, \
                         source, paused_by, reason, stop_running";
    (
        process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>,
        at: Option<DateTime<Utc>> => Nullable<Timestamptz>, after: Option<i64> => Nullable<BigInt>,
        source: PauseSource => Text, paused_by: &'a str => Text, reason: &'a str => Text,
        stop_running: bool => Bool
    ) -> Columns
}

/// Pauses a process. A pause of the same machines that is in force is replaced; returns the new one and that
/// one.
///
/// Claims that are under way at this moment may still start.
///
/// # Errors
/// [`Error::InvalidControl`] for a time that has passed or is too far away, and for a provider that no machine
/// has; [`Error::NoSuchProcess`], [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`], [`Error::Database`].
pub async fn pause(
    conn: &mut AsyncPgConnection,
    pause: &NewPause<'_>,
) -> Result<(Pause, Option<Pause>), Error> {
    let process = pause.process;
    storable("reason", pause.reason)?;
    let reason = one_line(pause.reason);
    Column::REASON.check_non_empty(&reason)?;
    Column::OPERATOR.check_non_empty(pause.paused_by)?;
    let (at, after) = match pause.end {
        PauseEnd::Resumed => (None, None),
        PauseEnd::At(time) => (Some(time), None),
        PauseEnd::After(time) if (Duration::from_millis(1)..=LONGEST).contains(&time) => {
            (None, i64::try_from(time.as_millis()).ok())
        }
        PauseEnd::After(_) => {
            return Err(invalid(
                process,
                "a pause must last between 1 millisecond and 366 days; give no time for one that lasts until \
                 somebody resumes the process",
            ));
        }
    };
    check_known(conn, process).await?;
    if let Some(provider) = pause.provider {
        check_provider(conn, process, provider).await?;
    }
    control(conn, process).await?;
    let provider = pause.provider;
    let before = Before { process, provider }
        .get_result(conn)
        .await
        .optional()?;
    let set = Set {
        process,
        provider,
        at,
        after,
        source: pause.source,
        paused_by: pause.paused_by,
        reason: &reason,
        stop_running: pause.stop_running,
    };
    match set.get_result(conn).await.optional()? {
        Some(set) => Ok((set, before)),
        None => Err(invalid(
            process,
            "the time at which the pause is to end has passed already, by the database's clock: give a later one",
        )),
    }
}

async fn check_provider(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: &Provider,
) -> Result<(), Error> {
    let known = fleet::providers(conn).await?;
    if known.contains(provider) {
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(Provider::as_str).collect();
    Err(invalid(
        process,
        match names.is_empty() {
            true => format!("no machine has the provider {provider}, or any other provider"),
            false => format!(
                "no machine has the provider {provider}: the providers are {}",
                names.join(", ")
            ),
        },
    ))
}

/// The text in one line: line breaks and other runs of white space and control characters become one space.
fn one_line(text: &str) -> String {
    let is_gap = |c: char| c.is_whitespace() || c.is_control();
    let words: Vec<&str> = text.split(is_gap).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

statement! {
    ForgetFailures<'a> = "DELETE FROM process_failures WHERE process = $1 \
                          AND ($2::text IS NULL OR per = 'provider' AND partition = $2)";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>) -> ()
}

statement! {
    /// A pause has the name of the partition whose breaker made it.
    Disarm<'a> = "UPDATE process_breaker_state s SET disarmed = true, evaluate_after = '-infinity' \
                  FROM process_pause p \
                  WHERE p.process = $1 AND p.provider = coalesce($2::text, p.provider) \
                    AND p.until > clock_timestamp() AND p.source = 'Breaker' \
                    AND s.process = p.process AND s.partition = p.provider";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>) -> ()
}

statement! {
    Resume<'a> = "DELETE FROM process_pause p \
                  WHERE p.process = $1 AND p.provider = coalesce($2::text, p.provider) \
                    AND p.until > clock_timestamp() \
                  RETURNING p.process, nullif(p.provider, ''), p.since, \
                            CASE WHEN isfinite(p.until) THEN p.until END, p.source, p.paused_by, p.reason, \
                            p.stop_running";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>) -> Columns
}

/// What [`resume`] has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The pauses that it ended.
    pub pauses: Vec<Pause>,
    /// The providers whose agents' silence counts from now on although nobody listens to them: replan.
    pub assumed: Vec<Provider>,
}

/// Resumes a process, or one provider of it. Its breaker does not trip again until no more machines than
/// allowed need the process, and counts failures from the start. If the process is one for silent machines,
/// their silence counts where nobody listens, until somebody does.
///
/// # Errors
/// [`Error::Database`].
pub async fn resume(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Resumed, Error> {
    // Claims lock the state of a breaker before its pause, and ends its failures.
    ForgetFailures { process, provider }.execute(conn).await?;
    Disarm { process, provider }.execute(conn).await?;
    let pauses = Resume { process, provider }.load(conn).await?;
    let workflow = crate::process::of(conn, process).await?.workflow;
    let is_about_silence = match workflow {
        Some(workflow) => is_about_silence(conn, &workflow).await?,
        None => false,
    };
    let assumed = if is_about_silence {
        agent::observe_listening(conn).await?;
        agent::assume_listening(conn, provider).await?
    } else {
        Vec::new()
    };
    uncontrol(conn, process).await?;
    Ok(Resumed { pauses, assumed })
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_reason_becomes_one_line() {
        assert_eq!(one_line(" a\r\nb\t\u{7}c \u{2028} d\n"), "a b c d");
        assert_eq!(one_line("\n \u{0}"), "");
    }
}
