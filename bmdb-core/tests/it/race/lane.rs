//! Claims that wait on the lane's index for a lane mate whose claim and end are in flight.
//!
//! Post-mortem: a stress run recorded overlapping attempts, although the lane was never claimed twice.
//! The claim had recorded its start before it waited; now it starts when the wait is over.

use crate::scenario::{RETRY, Scenario};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_model::internal::work::{self, Attempt, Claimed, Ended};
use bmdb_model::{Error, Process, SessionId};
use bmdb_testkit::audit::{Rules, audit};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

fn attempt(claimed: &Claimed, process: &Process, session: SessionId) -> Attempt {
    Attempt {
        machine: claimed.machine,
        process: process.clone(),
        session,
        fence: claimed.fence,
        started_at: claimed.started_at,
    }
}

/// The actor that records the end of the attempt that had to wait.
#[derive(Debug, Clone, Copy)]
enum EndedBy {
    /// Its worker, which knows when it started.
    Worker,
    /// The janitor, which has only the item.
    Janitor,
    /// Closing its session, which has only the item too.
    Closing,
}

/// Claims `process` while `mate` is claimed in an open transaction; then the mate ends, and the claim
/// gets the lane. Both attempts end, and the history must be valid.
async fn check_start_after_a_mate<F>(
    process: Process,
    mate: Process,
    ended_by: EndedBy,
    claim: impl FnOnce(AsyncPgConnection, SessionId, bmdb_model::MachineId) -> F,
) where
    F: Future<Output = Result<Claimed, Error>> + Send + 'static,
{
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let [rival, session] = [
        s.db.session(Duration::from_secs(60)).await.unwrap(),
        s.db.session(Duration::from_secs(60)).await.unwrap(),
    ];
    let mut conn = s.db.connect().await.unwrap();
    conn.batch_execute("BEGIN").await.unwrap();
    let ahead = work::claim_machine(&mut conn, machine, &mate, rival).await;
    let ahead = attempt(&ahead.unwrap().unwrap(), &mate, rival);

    let waiting = tokio::spawn(claim(s.db.connect().await.unwrap(), session, machine));
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    let ended = work::cancel(&mut conn, &ahead).await.unwrap();
    assert_eq!(ended, Ended::Done(()));
    conn.batch_execute("COMMIT").await.unwrap();

    let claimed = waiting.await.unwrap().unwrap();
    match ended_by {
        EndedBy::Worker => {
            let behind = attempt(&claimed, &process, session);
            let ended = work::finish(&mut conn, &behind).await.unwrap();
            assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
        }
        EndedBy::Janitor => {
            s.db.expire(session).await.unwrap();
            s.bmdb.reclaim_expired().await.unwrap();
        }
        EndedBy::Closing => {
            for attempt in work::attempts_of(&mut conn, session).await.unwrap() {
                let ended = work::cancel(&mut conn, &attempt).await.unwrap();
                assert_eq!(ended, Ended::Done(()));
            }
        }
    }
    let audit = audit(s.db.url(), &Rules::new(RETRY)).await.unwrap();
    assert_eq!((audit.attempts, audit.violations), (2, vec![]));
}

const ALL: [EndedBy; 3] = [EndedBy::Worker, EndedBy::Janitor, EndedBy::Closing];

#[tokio::test]
async fn a_claim_that_waited_for_the_lane_starts_when_the_wait_is_over() {
    for ended_by in ALL {
        check_start_after_a_mate(START, ACCESS, ended_by, async |mut conn, session, _| {
            let claimed = work::claim(&mut conn, &START, None, session, 1).await?;
            Ok(claimed.unwrap().remove(0))
        })
        .await;
    }
}

#[tokio::test]
async fn a_claim_of_one_machine_that_waited_for_the_lane_starts_when_the_wait_is_over() {
    for ended_by in ALL {
        check_start_after_a_mate(
            ACCESS,
            START,
            ended_by,
            async |mut conn, session, machine| {
                let claimed = work::claim_machine(&mut conn, machine, &ACCESS, session).await?;
                Ok(claimed.unwrap())
            },
        )
        .await;
    }
}
