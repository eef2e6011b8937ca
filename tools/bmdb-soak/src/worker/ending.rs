//! How a worker ends the work of a claim: in every way, alone and in sets, at once and too late.

use super::context::{Context, Next};
use super::lease_loss::{return_after_loss, walk_away};
use super::tags::finish;
use crate::failure::Done;
use crate::fixture::BACKOFF;
use crate::journal::{Entry, Step, Tags};
use crate::rng::Rng;
use bmdb_core::{EndError, FailureRecorded, Session, TxError, TxOptions, Work};
use bmdb_model::Fence;
use bmdb_model::history::Outcome;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::timeout;

const CAUSE: &str = "no answer";

/// The answer to an end; a failure has a backoff.
type Answer = Result<Option<FailureRecorded>, EndError>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Fail,
    Cancel,
    Complete,
    Finish(TxOptions),
    /// Without an end: the work is released in the background.
    Drop,
    /// The end's future is dropped if it takes longer.
    FailWithin(Duration),
    FinishWithin(Duration),
}

impl Way {
    fn draw(rng: &mut Rng, stress: bool) -> Self {
        match rng.below(100) {
            0..=24 => Self::Fail,
            25..=34 => Self::Cancel,
            35..=43 => Self::Complete,
            // Serialization failures that outlast the retries would be reported in the soak.
            44..=53 if stress => Self::Finish(TxOptions::default()),
            44..=81 => Self::Finish(TxOptions::read_committed()),
            82..=89 => Self::Drop,
            90..=94 => Self::FailWithin(Duration::from_micros(500) * rng.below(8)),
            _ => Self::FinishWithin(Duration::from_millis(1) * rng.below(16)),
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Fail | Self::FailWithin(_) => Outcome::Failed,
            Self::Cancel | Self::Drop => Outcome::Canceled,
            Self::Complete | Self::Finish(_) | Self::FinishWithin(_) => Outcome::Finished,
        }
    }

    fn tags(self) -> Tags {
        match self {
            Self::Finish(_) | Self::FinishWithin(_) => Tags::Written,
            _ => Tags::None,
        }
    }
}

/// Acts on the machines of a claim and ends the work.
pub(super) async fn end_all(
    context: &Context,
    rng: &mut Rng,
    session: &Session,
    claimed: Vec<Work>,
) -> Done<Next> {
    if let Some(side) = &context.side {
        // Drawn rarely, and once for certain in each process.
        match (context.count_claim(), rng.below(100)) {
            (8, _) | (_, 0..=2) => {
                return return_after_loss(context, side, rng, session, claimed).await;
            }
            (16, _) | (_, 3..=4) => return walk_away(context, side, session, claimed).await,
            _ => {}
        }
    }
    if claimed.len() > 1 && rng.below(2) == 0 {
        tokio::time::sleep(action_time(context, rng)).await;
        return end_in_set(context, rng, session, claimed).await;
    }
    let ends = claimed.into_iter().map(|work| {
        let (time, notices_loss) = (action_time(context, rng), rng.below(2) == 0);
        let way = Way::draw(rng, context.side.is_some());
        let retries = rng.below(2) == 0;
        async move {
            if notices_loss {
                tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    () = work.lost() => {
                        context.saw("gave up after losing the lease")?;
                        return Ok(Next::EndSession);
                    }
                }
            } else {
                tokio::time::sleep(time).await;
            }
            end_one(context, work, way, retries).await
        }
    });
    Next::after_all(join_all(ends).await)
}

/// How long acting on a machine takes: rarely longer than a lease lasts. The stress acts at once.
fn action_time(context: &Context, rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.below(40) {
        _ if context.side.is_some() => 0,
        0 => u64::from(1_000 + rng.below(4_000)),
        1..=19 => 0,
        _ => rng.below(60).into(),
    })
}

async fn end_one(context: &Context, work: Work, way: Way, retries: bool) -> Done<Next> {
    let (fence, outcome) = (work.fence(), way.outcome());
    let Some(answer) = ask(context, work, way).await? else {
        return Ok(Next::GoOn);
    };
    match note(context, fence, outcome, answer)? {
        // Otherwise the work is dropped and so canceled.
        (_, Some(work)) if retries => {
            context.saw("ends asked for again")?;
            match ask(context, work, Way::Fail).await? {
                Some(answer) => Ok(note(context, fence, Outcome::Failed, answer)?.0),
                None => Ok(Next::GoOn),
            }
        }
        (next, _) => Ok(next),
    }
}

/// Notes that an end is asked for, and asks for it; `None` if there is no answer, because the work or
/// the future was dropped.
pub(super) async fn ask(context: &Context, work: Work, way: Way) -> Done<Option<Answer>> {
    context.note_end(work.fence(), way.outcome(), Step::Asked(way.tags()))?;
    let in_time = match way {
        Way::Fail => Ok(Ok(work.fail(&BACKOFF, CAUSE).await.map(Some))),
        Way::Cancel => Ok(Ok(work.cancel().await.map(|()| None))),
        Way::Complete => Ok(Ok(work.complete().await.map(|()| None))),
        Way::Finish(options) => Ok(finish(context, work, options)
            .await
            .map(|ended| ended.map(|()| None))),
        Way::Drop => {
            drop(work);
            return Ok(None);
        }
        Way::FailWithin(limit) => {
            let answer = timeout(limit, work.fail(&BACKOFF, CAUSE)).await;
            answer.map(|answer| Ok(answer.map(Some)))
        }
        Way::FinishWithin(limit) => {
            let finish = finish(context, work, TxOptions::read_committed());
            let answer = timeout(limit, finish).await;
            answer.map(|answer| answer.map(|ended| ended.map(|()| None)))
        }
    };
    match in_time {
        Ok(answer) => answer.map(Some),
        Err(_) => {
            context.saw("dropped ends")?;
            Ok(None)
        }
    }
}

async fn end_in_set(
    context: &Context,
    rng: &mut Rng,
    session: &Session,
    claimed: Vec<Work>,
) -> Done<Next> {
    let fences: Vec<Fence> = claimed.iter().map(Work::fence).collect();
    let outcome = *rng.pick(&[Outcome::Finished, Outcome::Canceled, Outcome::Failed]);
    for &fence in &fences {
        context.note_end(fence, outcome, Step::Asked(Tags::None))?;
    }
    let without_backoff = |ended: Vec<Result<(), EndError>>| {
        let answers = ended.into_iter().map(|ended| ended.map(|()| None));
        answers.collect()
    };
    let answers: Vec<Answer> = match outcome {
        Outcome::Finished => without_backoff(session.finish_all(claimed).await),
        Outcome::Canceled => without_backoff(session.cancel_all(claimed).await),
        _ => {
            let failures = claimed.into_iter().map(|work| (work, &BACKOFF, CAUSE));
            let failed = session.fail_all(failures).await;
            failed.into_iter().map(|ended| ended.map(Some)).collect()
        }
    };
    let ends = fences.into_iter().zip(answers);
    Next::after_all(ends.map(|(fence, answer)| Ok(note(context, fence, outcome, answer)?.0)))
}

/// Notes the answer to an end; returns the work if the error gave it back.
pub(super) fn note(
    context: &Context,
    fence: Fence,
    outcome: Outcome,
    answer: Answer,
) -> Done<(Next, Option<Work>)> {
    let (reason, work) = match answer {
        Ok(failed) => {
            let backoff = failed.map(|f| (f.interval.get(), f.until.timestamp_micros()));
            context.note_end(fence, outcome, Step::Acknowledged(backoff))?;
            return Ok((Next::GoOn, None));
        }
        Err(error) => error.into_parts(),
    };
    let is_lost = matches!(reason, TxError::SessionExpired | TxError::WorkLost);
    let step = if is_lost {
        Step::Refused
    } else {
        Step::Unknown
    };
    context.note_end(fence, outcome, step)?;
    // In doubt the work can be missing too: the session was lost before the end was found out.
    let may_be_missing = is_lost || matches!(reason, TxError::CommitUnknown(_));
    if context.side.is_some() && work.is_none() && !may_be_missing {
        context.note(&Entry::Wrong(format!(
            "the end of fence {fence} failed and did not give the work back: {reason}"
        )))?;
    }
    Ok((context.failed_in_session("ending", &reason)?, work))
}
