//! Attempt ends: the request of a caller, the statement that it becomes, and the answer of the database.

use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_model::history::Outcome;
use bmdb_model::internal::work::{self, Attempt, Ended, FailedAttempt, Release};
use bmdb_model::{Process, SessionId};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

/// The most attempts that one statement ends: more do not get cheaper by sharing it.
pub(crate) const MOST: usize = 500;

/// How an attempt is to end.
#[derive(Debug, Clone)]
pub(crate) enum AttemptEnd {
    Finished,
    Failed {
        delay_seconds: u32,
        interval_seconds: u32,
        cause: String,
        fold: bool,
    },
    Canceled,
}

/// What the database did with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOutcome {
    /// The attempt has ended; after a failure, this is when its backoff ends. Made by
    /// [`EndOutcome::ended`] only.
    Ended(Option<DateTime<Utc>>),
    /// Nothing was written: the session has expired.
    SessionExpired,
    /// Nothing was written: the session does not have this attempt any more.
    Lost,
}

impl AttemptEnd {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Finished => Outcome::Finished,
            Self::Failed { .. } => Outcome::Failed,
            Self::Canceled => Outcome::Canceled,
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

impl EndOutcome {
    /// The outcome of an attempt whose end is committed. Counts the end, here and nowhere else, so an
    /// end cannot be reported to its caller without being counted.
    pub(crate) fn ended(
        counts: &AttemptCounts,
        process: &Process,
        outcome: Outcome,
        until: Option<DateTime<Utc>>,
    ) -> Self {
        counts.ended(process, outcome);
        Self::Ended(until)
    }

    fn of(
        counts: &AttemptCounts,
        process: &Process,
        outcome: Outcome,
        ended: Ended<Option<DateTime<Utc>>>,
    ) -> Self {
        match ended {
            Ended::Done(until) => Self::ended(counts, process, outcome, until),
            Ended::SessionExpired => Self::SessionExpired,
            Ended::Lost => Self::Lost,
        }
    }
}

/// Ends attempts of one session in one statement, which commits by itself. Either all of them are
/// failures, or none. The outcomes have the order of the ends.
pub(crate) async fn end_all(
    conn: &mut AsyncPgConnection,
    counts: &AttemptCounts,
    session: SessionId,
    ends: &[(&Attempt, &AttemptEnd)],
) -> Result<Vec<EndOutcome>, bmdb_model::Error> {
    let ended = send(conn, session, ends).await?;
    let outcomes = ends.iter().zip(ended).map(|((attempt, end), ended)| {
        EndOutcome::of(counts, &attempt.process, end.outcome(), ended)
    });
    Ok(outcomes.collect())
}

/// Ends attempts in one statement, without counting them.
pub(crate) async fn send(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    ends: &[(&Attempt, &AttemptEnd)],
) -> Result<Vec<Ended<Option<DateTime<Utc>>>>, bmdb_model::Error> {
    let mut failures: Vec<(&Attempt, FailedAttempt<'_>)> = Vec::new();
    let mut releases: Vec<(&Attempt, Release)> = Vec::new();
    for (attempt, end) in ends {
        match end {
            AttemptEnd::Finished => releases.push((attempt, Release::Finished)),
            AttemptEnd::Canceled => releases.push((attempt, Release::Canceled)),
            AttemptEnd::Failed {
                delay_seconds,
                interval_seconds,
                cause,
                fold,
            } => failures.push((
                attempt,
                FailedAttempt {
                    delay_seconds: *delay_seconds,
                    interval_seconds: *interval_seconds,
                    cause,
                    fold: *fold,
                },
            )),
        }
    }
    if failures.is_empty() {
        let ended = work::release_all(conn, session, &releases).await?;
        Ok(ended.into_iter().map(|e| e.map(|()| None)).collect())
    } else {
        let ended = work::fail_all(conn, session, &failures).await?;
        Ok(ended.into_iter().map(|e| e.map(Some)).collect())
    }
}
