//! Ways to end work: asks for an end and notes the answer.

use super::context::{Context, Next};
use super::tags::finish;
use crate::failure::Done;
use crate::fixture::BACKOFF;
use crate::journal::{Entry, Step, Tags};
use crate::rng::Rng;
use bmdb_core::{EndError, FailureRecorded, TxError, TxOptions, Work};
use bmdb_model::Fence;
use bmdb_model::history::Outcome;
use std::time::Duration;
use tokio::time::timeout;

pub(super) const CAUSE: &str = "no answer";

/// The answer to an end; a failure has a backoff.
pub(super) type Answer = Result<Option<FailureRecorded>, EndError>;

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
    pub(super) fn draw(rng: &mut Rng, stress: bool) -> Self {
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

    /// The same end without tags.
    pub(super) fn without_tags(self) -> Self {
        match self {
            Self::Finish(_) | Self::FinishWithin(_) => Self::Complete,
            other => other,
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
