//! Sessions that lose their lease while they have work: some leave, and zombies come back.

use super::context::{Context, Next};
use super::way::{Way, ask, note};
use crate::failure::Done;
use crate::journal::Entry;
use crate::rng::Rng;
use bmdb_core::{Session, TxOptions, Work};
use std::time::Duration;
use tokio_postgres::Client;

/// Ends a session's lease, as if it had not sent heartbeats: other sessions can get its machines.
async fn expire(side: &Client, session: &Session) -> Done {
    let expire = "UPDATE sessions SET session_deadline = clock_timestamp() - interval '1 second'
                  WHERE session_id::text = $1";
    side.execute(expire, &[&session.id().to_string()]).await?;
    Ok(())
}

/// The session does nothing more.
pub(super) async fn walk_away(
    context: &Context,
    side: &Client,
    session: &Session,
    claimed: Vec<Work>,
) -> Done<Next> {
    expire(side, session).await?;
    drop(claimed);
    context.saw("walked away")?;
    Ok(Next::EndSession)
}

/// A zombie: tries to end its work when other sessions may have the machines. No end may succeed.
pub(super) async fn return_after_loss(
    context: &Context,
    side: &Client,
    rng: &mut Rng,
    session: &Session,
    claimed: Vec<Work>,
) -> Done<Next> {
    expire(side, session).await?;
    context.saw("zombies")?;
    tokio::time::sleep(Duration::from_millis(100) * rng.below(20)).await;
    let ways = [
        Way::Fail,
        Way::Complete,
        Way::Finish(TxOptions::read_committed()),
        Way::Finish(TxOptions::default()),
    ];
    for work in claimed {
        let (fence, way) = (work.fence(), *rng.pick(&ways));
        let Some(answer) = ask(context, work, way).await? else {
            continue;
        };
        if answer.is_ok() {
            let wrong = format!("fence {fence} was ended after its lease was lost");
            context.note(&Entry::Wrong(wrong))?;
        }
        let _after_loss = note(context, fence, way.outcome(), answer)?;
    }
    Ok(Next::EndSession)
}
