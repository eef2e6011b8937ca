//! How a worker ends the work of a claim: in every way, alone and in sets, at once and too late.

use super::context::{Context, Next};
use super::lease_loss::{return_after_loss, walk_away};
use super::way::{Answer, CAUSE, Way, ask, note};
use crate::failure::Done;
use crate::fixture::{BACKOFF, CHECK};
use crate::journal::{Step, Tags};
use crate::rng::Rng;
use bmdb_core::{EndError, Session, Work};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, TagWrites};
use futures_util::future::join_all;
use std::time::Duration;

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
        // The tags of a process that is not always in their lane would not be those of the last fence.
        let way = if *work.process() == CHECK {
            way.without_tags()
        } else {
            way
        };
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
        Outcome::Finished => {
            let finishes = claimed.into_iter().map(|work| (work, TagWrites::new()));
            without_backoff(session.finish_all(finishes).await)
        }
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
