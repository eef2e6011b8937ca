//! Attempt ends: the request of a caller, the statement that it becomes, and the answer of the database.

use crate::db::database::{Database, Planning};
use crate::db::pool::Checkout;
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_backoff::mix;
use bmdb_model::history::Outcome;
use bmdb_model::internal::plan::may_be_a_views_fault;
use bmdb_model::internal::work::{
    self, Attempt, Cancel, Ended, FailedAttempt, Finish, How, Jitter, Replan, Rest, Waiting,
};
use bmdb_model::{Process, SessionId, TagWrites};
use diesel_async::AsyncPgConnection;
use std::sync::Arc;
use std::time::Duration;

/// The most attempts that one statement ends: more do not get cheaper by sharing it.
pub(crate) const MOST: usize = 500;

/// How an attempt is to end.
#[derive(Debug, Clone)]
pub(crate) enum AttemptEnd {
    Finished(Arc<TagWrites>),
    Failed {
        delay_seconds: u32,
        interval_seconds: u32,
        cause: String,
        fold: bool,
    },
    Canceled(Cancellation),
}

/// An end without a result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancellation {
    /// For how long the machine rests.
    pub(crate) rest: Option<Duration>,
    pub(crate) cause: Option<String>,
    pub(crate) fold: bool,
}

/// The ends that share a statement or transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndKind {
    Finish,
    Failure,
    Cancellation,
}

impl EndKind {
    pub(crate) const ALL: [Self; 3] = [Self::Failure, Self::Cancellation, Self::Finish];
}

/// What the database did with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOutcome {
    /// The attempt has ended, and its machine backs off or rests. Made by [`EndOutcome::ended`] only.
    Ended(Option<Rest>),
    /// Nothing was written: the session has expired.
    SessionExpired,
    /// Nothing was written: the session does not have this attempt any more.
    Lost,
    /// Nothing was written: another transaction has locked the item or machine, and the end did not wait.
    Busy,
}

impl AttemptEnd {
    /// Finished, with these writes.
    pub(crate) fn finished(writes: Arc<TagWrites>) -> Self {
        Self::Finished(writes)
    }

    /// What is written with it.
    pub(crate) fn writes(&self) -> Option<&TagWrites> {
        match self {
            Self::Finished(writes) => Some(writes),
            Self::Failed { .. } | Self::Canceled(_) => None,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Finished(_) => Outcome::Finished,
            Self::Failed { .. } => Outcome::Failed,
            Self::Canceled(_) => Outcome::Canceled,
        }
    }

    pub(crate) fn kind(&self) -> EndKind {
        match self {
            Self::Finished(_) => EndKind::Finish,
            Self::Failed { .. } => EndKind::Failure,
            Self::Canceled(_) => EndKind::Cancellation,
        }
    }
}

impl EndOutcome {
    /// The outcome of an attempt whose end is committed. Counts the end, here and nowhere else, so an
    /// end cannot be reported to its caller without being counted.
    pub(crate) fn ended(
        counts: &AttemptCounts,
        process: &Process,
        outcome: Outcome,
        rest: Option<Rest>,
    ) -> Self {
        counts.ended(process, outcome);
        Self::Ended(rest)
    }

    fn of(
        counts: &AttemptCounts,
        process: &Process,
        outcome: Outcome,
        ended: Ended<Option<Rest>>,
    ) -> Self {
        match ended {
            Ended::Done(rest) => Self::ended(counts, process, outcome, rest),
            Ended::SessionExpired => Self::SessionExpired,
            Ended::Lost => Self::Lost,
            Ended::Busy => Self::Busy,
        }
    }
}

/// Ends attempts of one session, all of one kind: finishes in a short transaction, others in a statement that
/// commits by itself. The outcomes have the order of the ends.
pub(crate) async fn end_all(
    database: &Database,
    conn: &mut Checkout,
    counts: &AttemptCounts,
    session: SessionId,
    waiting: Waiting,
    ends: &[(&Attempt, &AttemptEnd)],
) -> Result<Vec<EndOutcome>, bmdb_model::Error> {
    let is_finish = |(_, end): &(_, &AttemptEnd)| end.kind() == EndKind::Finish;
    let ended = match ends.iter().all(is_finish) {
        true => finish(database, conn, session, waiting, ends).await?,
        false => send(conn, session, ends).await?,
    };
    let outcomes = ends.iter().zip(ended).map(|((attempt, end), ended)| {
        EndOutcome::of(counts, &attempt.process, end.outcome(), ended)
    });
    Ok(outcomes.collect())
}

/// A random number that stays the same for an attempt.
pub(crate) fn random_of(attempt: &Attempt) -> u64 {
    mix(
        attempt.machine.as_uuid().as_u128(),
        attempt.fence.get().cast_unsigned(),
    )
}

/// A workflow that fails must not keep what was achieved from being recorded, so the transaction is run again
/// and plans without it, or not at all.
async fn finish(
    database: &Database,
    conn: &mut Checkout,
    session: SessionId,
    waiting: Waiting,
    ends: &[(&Attempt, &AttemptEnd)],
) -> Result<Vec<Ended<Option<Rest>>>, bmdb_model::Error> {
    let finishes = ends.iter().filter_map(|&(attempt, end)| {
        Some(Finish {
            attempt,
            jitter: Jitter::from_random(random_of(attempt)),
            writes: end.writes()?,
        })
    });
    let finishes: Vec<Finish<'_>> = finishes.collect();
    let known = conn.known_definitions().clone();
    let mut replan = match database.planning() {
        Planning::AtOnce => Replan::AtOnce,
        Planning::Careful => Replan::Carefully,
    };
    loop {
        let how = How {
            replan,
            waiting,
            notify: database.notify,
        };
        let error = match work::finish_all(conn, session, &finishes, &known, how).await {
            Ok(finished) => {
                database.note_unplanned(&finished.unplanned);
                return Ok(finished.ended);
            }
            Err(error) if may_be_a_views_fault(&error) => error,
            Err(error) => return Err(error),
        };
        replan = match replan {
            Replan::AtOnce => Replan::Carefully,
            // What is written and not planned would look as if it had had no effect.
            Replan::Carefully if finishes.iter().all(|f| f.writes.is_empty()) => Replan::No,
            Replan::Carefully | Replan::No => return Err(error),
        };
        tracing::debug!(%error, ?replan, "a finish could not be planned");
    }
}

/// Ends attempts as failed, or as canceled, in one statement, without counting them.
pub(crate) async fn send(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    ends: &[(&Attempt, &AttemptEnd)],
) -> Result<Vec<Ended<Option<Rest>>>, bmdb_model::Error> {
    let mut failures: Vec<(&Attempt, FailedAttempt<'_>)> = Vec::new();
    let mut canceled: Vec<(&Attempt, Cancel<'_>)> = Vec::new();
    for (attempt, end) in ends {
        match end {
            AttemptEnd::Finished(_) => unreachable!("finishes are sent by themselves"),
            AttemptEnd::Canceled(Cancellation { rest, cause, fold }) => {
                let cancel = Cancel {
                    rest: *rest,
                    cause: cause.as_deref(),
                    fold: *fold,
                };
                canceled.push((attempt, cancel));
            }
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
        let ended = work::cancel_all(conn, session, &canceled).await?;
        Ok(ended.into_iter().map(|e| e.map(|()| None)).collect())
    } else {
        let ended = work::fail_all(conn, session, &failures).await?;
        let rest = |until| Some(Rest { until, cause: None });
        Ok(ended.into_iter().map(|e| e.map(rest)).collect())
    }
}
