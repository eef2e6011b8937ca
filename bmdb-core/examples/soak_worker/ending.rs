//! How the works of a claim end: well and badly, alone and together, at once and after a long time.

use crate::dice::Dice;
use crate::part::{Next, Part};
use crate::{BACKOFF, Error};
use bmdb_core::{EndError, FailureRecorded, Session, TxError, Work};
use bmdb_model::history::Outcome;
use bmdb_model::{AgentStarted, Fence, Process};
use bmdb_testkit::journal::{Entry, Tags};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

diesel::table! {
    /// Every tag that a finish wrote, also those that were overwritten: the soak's own table.
    soak_tag (id) { id -> BigInt, machine_id -> Uuid, fence -> BigInt }
}

const CAUSE: &str = "no answer";

/// How long acting on a machine takes.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Quick(Duration),
    /// Longer than a lease lasts.
    Slow(Duration),
}

/// What a worker does about a lease that it loses meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Stops acting, as it should.
    Careful,
    /// Goes on, as a program does that does not listen.
    Careless,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Fail,
    Cancel,
    FinishUnchanged,
    Finish,
    /// Without an end: it is given back in the background.
    Drop,
    /// An end whose future is dropped if it takes longer.
    FailWithin(Duration),
    FinishWithin(Duration),
}

/// Acts on the machines of a claim and ends their works.
pub(crate) async fn end_all(
    part: &Arc<Part>,
    dice: &mut Dice,
    session: &Session,
    works: Vec<Work>,
) -> Result<Next, Error> {
    if works.len() > 1 && dice.roll(2) == 0 {
        let pace = pace(dice);
        act(pace).await;
        return end_together(part, dice, session, works).await;
    }
    let one_by_one = works.into_iter().map(|work| {
        let care = [Care::Careful, Care::Careless][dice.roll(2) as usize];
        let (pace, way, again) = (pace(dice), way(dice), dice.roll(2) == 0);
        async move {
            match care {
                Care::Careless => act(pace).await,
                Care::Careful => tokio::select! {
                    () = act(pace) => {}
                    () = work.lost() => {
                        part.saw("given up, for the lease was lost")?;
                        return Ok(Next::Over);
                    }
                },
            }
            end_one(part, work, way, again).await
        }
    });
    over_if_any_is(join_all(one_by_one).await)
}

fn pace(dice: &mut Dice) -> Pace {
    match dice.roll(40) {
        0 => Pace::Slow(Duration::from_millis(1_000 + u64::from(dice.roll(4_000)))),
        1..=19 => Pace::Quick(Duration::ZERO),
        _ => Pace::Quick(Duration::from_millis(dice.roll(60).into())),
    }
}

async fn act(pace: Pace) {
    let (Pace::Quick(time) | Pace::Slow(time)) = pace;
    tokio::time::sleep(time).await;
}

fn way(dice: &mut Dice) -> Way {
    match dice.roll(100) {
        0..=24 => Way::Fail,
        25..=34 => Way::Cancel,
        35..=42 => Way::FinishUnchanged,
        43..=82 => Way::Finish,
        83..=90 => Way::Drop,
        91..=95 => Way::FailWithin(Duration::from_micros(500) * dice.roll(8)),
        _ => Way::FinishWithin(Duration::from_millis(1) * dice.roll(16)),
    }
}

fn over_if_any_is(nexts: Vec<Result<Next, Error>>) -> Result<Next, Error> {
    let mut all = Next::GoOn;
    for next in nexts {
        if next? == Next::Over {
            all = Next::Over;
        }
    }
    Ok(all)
}

async fn end_one(part: &Part, work: Work, way: Way, again: bool) -> Result<Next, Error> {
    let (fence, outcome) = (work.fence(), outcome_of(way));
    ask(part, fence, outcome, tags_of(way))?;
    let ended = match way {
        Way::Fail => work.fail(&BACKOFF, CAUSE).await.map(Some),
        Way::Cancel => work.cancel().await.map(|()| None),
        Way::FinishUnchanged => work.complete().await.map(|()| None),
        Way::Finish => finish(work).await.map(|()| None),
        Way::Drop => {
            drop(work);
            return Ok(Next::GoOn);
        }
        Way::FailWithin(patience) => {
            let fail = work.fail(&BACKOFF, CAUSE);
            let Ok(ended) = tokio::time::timeout(patience, fail).await else {
                part.saw("dropped ends")?;
                return Ok(Next::GoOn);
            };
            ended.map(Some)
        }
        Way::FinishWithin(patience) => {
            let Ok(ended) = tokio::time::timeout(patience, finish(work)).await else {
                part.saw("dropped ends")?;
                return Ok(Next::GoOn);
            };
            ended.map(|()| None)
        }
    };
    let (next, given_back) = note(part, fence, outcome, ended)?;
    match given_back {
        // Once more, or it is dropped, and so canceled.
        Some(work) if again => {
            part.saw("ends asked for again")?;
            ask(part, fence, Outcome::Failed, Tags::None)?;
            let failed = work.fail(&BACKOFF, CAUSE).await.map(Some);
            Ok(note(part, fence, Outcome::Failed, failed)?.0)
        }
        _ => Ok(next),
    }
}

fn outcome_of(way: Way) -> Outcome {
    match way {
        Way::Fail | Way::FailWithin(_) => Outcome::Failed,
        Way::Cancel | Way::Drop => Outcome::Canceled,
        Way::FinishUnchanged | Way::Finish | Way::FinishWithin(_) => Outcome::Finished,
    }
}

fn tags_of(way: Way) -> Tags {
    match way {
        Way::Finish | Way::FinishWithin(_) => Tags::Written,
        _ => Tags::None,
    }
}

fn ask(part: &Part, fence: Fence, outcome: Outcome, tags: Tags) -> Result<(), Error> {
    part.note(&Entry::Asked {
        fence,
        outcome,
        tags,
    })
}

async fn end_together(
    part: &Part,
    dice: &mut Dice,
    session: &Session,
    works: Vec<Work>,
) -> Result<Next, Error> {
    let fences: Vec<Fence> = works.iter().map(Work::fence).collect();
    let outcomes = [Outcome::Finished, Outcome::Canceled, Outcome::Failed];
    let outcome = outcomes[dice.roll(3) as usize];
    for &fence in &fences {
        ask(part, fence, outcome, Tags::None)?;
    }
    let ended: Vec<Result<Option<FailureRecorded>, EndError>> = match outcome {
        Outcome::Finished => no_backoff(session.finish_all(works).await),
        Outcome::Canceled => no_backoff(session.cancel_all(works).await),
        _ => {
            let failures = works.into_iter().map(|work| (work, &BACKOFF, CAUSE));
            let failed = session.fail_all(failures).await;
            failed.into_iter().map(|ended| ended.map(Some)).collect()
        }
    };
    let ends = fences.into_iter().zip(ended);
    over_if_any_is(
        ends.map(|(fence, ended)| Ok(note(part, fence, outcome, ended)?.0))
            .collect(),
    )
}

fn no_backoff(
    ended: impl IntoIterator<Item = Result<(), EndError>>,
) -> Vec<Result<Option<FailureRecorded>, EndError>> {
    let ended = ended.into_iter();
    ended.map(|ended| ended.map(|()| None)).collect()
}

/// Notes what an end was told; returns the work if it was given back.
fn note(
    part: &Part,
    fence: Fence,
    outcome: Outcome,
    ended: Result<Option<FailureRecorded>, EndError>,
) -> Result<(Next, Option<Work>), Error> {
    let (reason, work) = match ended {
        Ok(failed) => {
            let backoff = failed.map(|f| (f.interval.get(), f.until.timestamp_micros()));
            part.note(&Entry::Acknowledged {
                fence,
                outcome,
                backoff,
            })?;
            return Ok((Next::GoOn, None));
        }
        Err(error) => error.into_parts(),
    };
    let is_refusal = matches!(reason, TxError::SessionExpired | TxError::WorkLost);
    part.note(&if is_refusal {
        Entry::Refused { fence, outcome }
    } else {
        Entry::Unknown { fence, outcome }
    })?;
    Ok((part.befallen("ending", &reason)?, work))
}

/// Finishes with tags that carry the work's fence.
async fn finish(work: Work) -> Result<(), EndError> {
    let (machine, fence) = (work.machine(), work.fence());
    let recovered = *work.process() == Process::SHEPHERD_RECOVERY;
    work.finish(async |tx| {
        let entry = (
            soak_tag::machine_id.eq(machine),
            soak_tag::fence.eq(fence.get()),
        );
        diesel::insert_into(soak_tag::table)
            .values(entry)
            .execute(tx)
            .await?;
        if recovered {
            return tx.unset_agent(machine).await;
        }
        let started = AgentStarted::now(fence.to_string());
        tx.set_agent_started(machine, &started).await
    })
    .await
}
