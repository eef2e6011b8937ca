//! How the works of a claim end: well and badly, alone and together, in time and too late.

use super::dice::Dice;
use super::legal::{Next, tolerate};
use super::part::Stage;
use super::worker::RECOVERY;
use crate::scenario::RETRY;
use bmdb_core::{EndError, Session, TxError, TxOptions, Work};
use bmdb_model::history::Outcome;
use bmdb_model::{AgentStarted, Fence, MachineId};
use bmdb_testkit::audit::End;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

diesel::table! {
    /// Every tag that a finish wrote, also those that were overwritten: the stress's own table.
    tag_log (id) { id -> BigInt, machine_id -> Uuid, fence -> BigInt }
}

/// How a worker deals with the works of a claim.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    /// Each end on its own, all at once.
    OneByOne,
    /// In a set.
    Together,
    /// Loses its lease and leaves.
    Walker,
    /// Loses its lease and comes back.
    Zombie,
}

/// One way to end one work.
#[derive(Debug, Clone, Copy)]
enum Way {
    Fail,
    Cancel,
    FinishUnchanged,
    Finish(TxOptions),
    /// Without an end: it is given back in the background.
    Drop,
    /// An end whose future is dropped if it takes longer.
    FailWithin(Duration),
    FinishWithin(Duration),
}

/// Ends all works, or walks away from them.
pub(super) async fn end(
    stage: &Stage,
    dice: &mut Dice,
    mood: Mood,
    session: &Session,
    works: Vec<Work>,
) -> Next {
    match mood {
        Mood::Walker => walk_away(stage, session, works).await,
        Mood::Zombie => come_back_as_a_zombie(stage, dice, session, works).await,
        Mood::Together => end_together(stage, dice, session, works).await,
        Mood::OneByOne => {
            let one_by_one = works.into_iter().map(|work| (work, way(dice)));
            let ends: Vec<_> = one_by_one.map(|(w, way)| end_one(stage, w, way)).collect();
            over_if_any_is(join_all(ends).await)
        }
    }
}

fn way(dice: &mut Dice) -> Way {
    match dice.roll(100) {
        0..=24 => Way::Fail,
        25..=36 => Way::Cancel,
        37..=46 => Way::FinishUnchanged,
        47..=74 => Way::Finish(TxOptions::read_committed()),
        75..=84 => Way::Finish(TxOptions::default()),
        85..=90 => Way::Drop,
        91..=95 => Way::FailWithin(Duration::from_micros(500) * dice.roll(8)),
        _ => Way::FinishWithin(Duration::from_millis(1) * dice.roll(16)),
    }
}

fn over_if_any_is(nexts: impl IntoIterator<Item = Next>) -> Next {
    let is_over = nexts.into_iter().any(|next| next == Next::Over);
    if is_over { Next::Over } else { Next::GoOn }
}

async fn end_one(stage: &Stage, work: Work, way: Way) -> Next {
    let (machine, fence) = (work.machine(), work.fence());
    let (outcome, ended) = match way {
        Way::Fail => (Outcome::Failed, fail(work).await),
        Way::Cancel => (Outcome::Canceled, work.cancel().await),
        Way::FinishUnchanged => (Outcome::Finished, work.complete().await),
        Way::Finish(options) => (Outcome::Finished, finish(stage, work, options).await),
        Way::Drop => {
            drop(work);
            return Next::GoOn;
        }
        Way::FailWithin(patience) => {
            let Ok(ended) = tokio::time::timeout(patience, fail(work)).await else {
                stage.journal.saw("dropped ends");
                return Next::GoOn;
            };
            (Outcome::Failed, ended)
        }
        Way::FinishWithin(patience) => {
            let finish = finish(stage, work, TxOptions::read_committed());
            let Ok(ended) = tokio::time::timeout(patience, finish).await else {
                stage.journal.saw("dropped ends");
                return Next::GoOn;
            };
            (Outcome::Finished, ended)
        }
    };
    note(stage, (machine, fence, outcome), ended)
}

async fn end_together(stage: &Stage, dice: &mut Dice, session: &Session, works: Vec<Work>) -> Next {
    let claims: Vec<(MachineId, Fence)> = works.iter().map(|w| (w.machine(), w.fence())).collect();
    let (outcome, ended): (_, Vec<_>) = match dice.roll(3) {
        0 => (Outcome::Finished, session.finish_all(works).await),
        1 => (Outcome::Canceled, session.cancel_all(works).await),
        _ => {
            let failures = works.into_iter().map(|work| (work, &RETRY, "together"));
            let failed = session.fail_all(failures).await;
            let ended = failed.into_iter().map(|failed| failed.map(drop));
            (Outcome::Failed, ended.collect())
        }
    };
    let ends = claims.into_iter().zip(ended);
    over_if_any_is(
        ends.map(|((machine, fence), ended)| note(stage, (machine, fence, outcome), ended)),
    )
}

/// Notes what an end was told. What is given back with the error is dropped, and so canceled.
fn note(stage: &Stage, end: End, ended: Result<(), EndError>) -> Next {
    let (reason, work) = match ended {
        Ok(()) => {
            stage.journal.ended(end);
            return Next::GoOn;
        }
        Err(error) => error.into_parts(),
    };
    match (&reason, work) {
        (TxError::SessionExpired, None) => {
            if end.2 != Outcome::Canceled {
                stage.journal.refused(end);
            }
        }
        // Also without the work, where the session was lost before it could be found out.
        (TxError::CommitUnknown(_), _) | (_, Some(_)) => stage.journal.saw("unsettled ends"),
        (_, None) => panic!("{end:?}: {reason}"),
    }
    tolerate("ending", &reason)
}

/// The deadline passes and nobody beats: somebody else gets the machines.
async fn lose_the_lease(stage: &Stage, session: &Session) {
    let expire = format!(
        "UPDATE sessions SET session_deadline = clock_timestamp() - interval '1 second'
         WHERE session_id = '{}'",
        session.id()
    );
    stage.side.run(&expire).await;
}

async fn walk_away(stage: &Stage, session: &Session, works: Vec<Work>) -> Next {
    lose_the_lease(stage, session).await;
    drop(works);
    stage.journal.saw("walked away");
    Next::Over
}

/// Tries to end when somebody else may have the machine.
async fn come_back_as_a_zombie(
    stage: &Stage,
    dice: &mut Dice,
    session: &Session,
    works: Vec<Work>,
) -> Next {
    lose_the_lease(stage, session).await;
    stage.journal.saw("zombies");
    tokio::time::sleep(Duration::from_millis(100) * dice.roll(20)).await;
    let ways = [
        Way::Fail,
        Way::FinishUnchanged,
        Way::Finish(TxOptions::read_committed()),
        Way::Finish(TxOptions::default()),
    ];
    for work in works {
        let (machine, fence, way) = (work.machine(), work.fence(), *dice.pick(&ways));
        let (outcome, ended) = match way {
            Way::Fail => (Outcome::Failed, fail(work).await),
            Way::Finish(options) => (Outcome::Finished, finish(stage, work, options).await),
            _ => (Outcome::Finished, work.complete().await),
        };
        assert!(ended.is_err(), "a zombie has ended {machine} {fence}");
        let _next = note(stage, (machine, fence, outcome), ended);
    }
    Next::Over
}

async fn fail(work: Work) -> Result<(), EndError> {
    work.fail(&RETRY, "alone").await.map(drop)
}

/// Finishes with tags that carry the work's fence.
async fn finish(stage: &Stage, work: Work, options: TxOptions) -> Result<(), EndError> {
    let (machine, fence) = (work.machine(), work.fence());
    let recovered = *work.process() == RECOVERY;
    let runs = AtomicU32::new(0);
    let finished = work
        .finish_with(options, async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            let entry = (
                tag_log::machine_id.eq(machine),
                tag_log::fence.eq(fence.get()),
            );
            diesel::insert_into(tag_log::table)
                .values(entry)
                .execute(tx)
                .await?;
            if recovered {
                return tx.unset_agent(machine).await;
            }
            let started = AgentStarted::now(fence.to_string());
            tx.set_agent_started(machine, &started).await
        })
        .await;
    for _ in 1..runs.into_inner() {
        stage.journal.saw("closures run again");
    }
    if finished.is_ok() {
        stage.journal.tagged(machine, fence);
    }
    finished
}
