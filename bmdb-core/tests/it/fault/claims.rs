//! Claims whose answer is lost: the background cleanup releases the machines that they may have claimed.

use super::COMMIT;
use super::ends::Proxied;
use crate::scenario::work_on;
use crate::wait::until;
use bmdb_core::{Claim, TxError, WorkError};
use bmdb_model::{AgentStarted, ErrorKind, Process};
use bmdb_testkit::Loss;
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

const NOTHING_IS_HELD: &str = "NOT EXISTS (SELECT FROM work)";

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_given_back_while_the_session_lives() {
    for loss in Loss::ALL {
        let p = Proxied::new().await;
        // The first claim looks up the process; only the claim itself is to be lost.
        let first = p.session.claim(&Claim::of(&START)).await.unwrap();
        for work in first {
            work.cancel().await.unwrap();
        }
        p.proxy.lose(loss, "ShepherdAgentStart");
        let lost = p.session.claim(&Claim::of(&START)).await.unwrap_err();
        assert!(p.proxy.has_lost());
        assert_eq!(lost.kind(), Some(ErrorKind::ConnectionLost), "{loss:?}");

        if loss == Loss::Answer {
            // The claim took effect; the attempt is found and ended.
            let canceled =
                "(SELECT sum(repeats + 1) = 2 FROM work_attempt WHERE outcome = 'Canceled')";
            until(&p.s.db, canceled).await;
        }
        // A claim may take effect after its answer was lost; the cleanup releases it then.
        let start = Claim::of(&START);
        let mut poller = p.session.poller(&start);
        let again = tokio::time::timeout(Duration::from_secs(10), poller.next(1)).await;
        assert_eq!(
            again.expect("the machine stays claimed").unwrap().len(),
            1,
            "{loss:?}"
        );
    }
}

#[tokio::test]
async fn a_retrieval_whose_commit_is_lost_is_given_back_while_the_session_lives() {
    for loss in Loss::ALL {
        let p = Proxied::new().await;
        p.proxy.lose(loss, COMMIT);
        let lost = work_on(&p.session, &ACCESS, p.machine).await;
        assert!(matches!(lost, Err(WorkError::CommitUnknown(_))), "{lost:?}");

        if loss == Loss::Answer {
            let canceled = "(SELECT count(*) = 1 FROM work_attempt WHERE outcome = 'Canceled')";
            until(&p.s.db, canceled).await;
        }
        until(&p.s.db, NOTHING_IS_HELD).await;
        let again = work_on(&p.session, &ACCESS, p.machine).await;
        assert!(again.is_ok(), "{again:?}");
    }
}

#[tokio::test]
async fn known_work_stays_claimed_when_another_claims_answer_is_lost() {
    let p = Proxied::new().await;
    let mut claimed = p.session.claim(&Claim::of(&START)).await.unwrap();
    let known = claimed.remove(0);
    p.s.provided("2").await;
    p.proxy.lose(Loss::Answer, "ShepherdAgentStart");
    p.session.claim(&Claim::of(&START)).await.unwrap_err();
    until(
        &p.s.db,
        "EXISTS (SELECT FROM work_attempt WHERE outcome = 'Canceled')",
    )
    .await;
    let fences = "SELECT fence FROM work_item WHERE session_id IS NOT NULL";
    let fence = known.fence().to_string();
    assert_eq!(p.s.db.rows(fences).await.unwrap(), [fence]);
    known.complete().await.unwrap();
}

#[tokio::test]
async fn a_replanning_claim_whose_commit_is_lost_is_given_back_while_the_session_lives() {
    let recovery = Claim::of(&Process::SHEPHERD_RECOVERY);
    for loss in Loss::ALL {
        let p = Proxied::new().await;
        let agent = AgentStarted::now(b"key");
        let started =
            p.s.session
                .transact(async |tx| tx.set_agent_started(p.machine, &agent).await);
        started.await.unwrap();
        p.s.advance(31 * 60).await;
        p.proxy.lose(loss, COMMIT);
        let lost = p.session.claim(&recovery).await;
        assert!(matches!(lost, Err(TxError::CommitUnknown(_))), "{lost:?}");

        if loss == Loss::Answer {
            let canceled = "(SELECT count(*) = 1 FROM work_attempt WHERE outcome = 'Canceled')";
            until(&p.s.db, canceled).await;
        }
        until(&p.s.db, NOTHING_IS_HELD).await;
        let again = p.session.claim(&recovery).await.unwrap();
        assert_eq!(again.len(), 1, "{loss:?}");
    }
}
