//! `Session::claim`: limits, providers and refusals.

use crate::scenario::{Scenario, work_on};
use bmdb_core::{Claim, SessionError, SessionOptions, TxError, WorkError};
use bmdb_model::{MachineId, Process, Provided, Provider};
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;

impl Scenario {
    async fn of_lumen(&self, id: &str) -> MachineId {
        let tag = Provided::new(Provider::LUMEN, id);
        let made = self.session.transact(async |tx| {
            let machine = tx.create_machine().await?;
            tx.set_provided(machine, &tag).await?;
            Ok(machine)
        });
        made.await.unwrap()
    }
}

#[tokio::test]
async fn a_claim_gets_one_machine_unless_its_limit_is_higher() {
    let s = Scenario::new().await;
    for id in ["a", "b", "c", "d"] {
        s.provided(id).await;
    }
    let mut all = Vec::new();
    for (claim, expected) in [
        (Claim::of(&START).limit(0), 0),
        (Claim::of(&START), 1),
        (Claim::of(&START).limit(2), 2),
        (Claim::of(&START).limit(u32::MAX), 1),
        (Claim::of(&START).limit(10), 0),
    ] {
        let claimed = s.session.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), expected, "{claim:?}");
        all.extend(claimed);
    }
    for work in all {
        work.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_of_a_provider_gets_no_other_providers_machines() {
    let s = Scenario::new().await;
    let (equinix, lumen) = (s.provided("a").await, s.of_lumen("a").await);
    let mut all = Vec::new();
    for (provider, machine) in [(Provider::LUMEN, lumen), (Provider::EQUINIX, equinix)] {
        let claim = Claim::of(&START).provider(&provider).limit(10);
        let claimed = s.session.claim(&claim).await.unwrap();
        assert_eq!(
            claimed
                .iter()
                .map(|work| work.machine())
                .collect::<Vec<_>>(),
            [machine]
        );
        all.extend(claimed);
    }
    let claim = Claim::of(&START).provider(&Provider::NONE);
    assert!(s.session.claim(&claim).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_claim_of_an_undefined_process_finds_nothing() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let unheard_of = Process::from_static("Unheard-of");
    assert!(
        s.session
            .claim(&Claim::of(&unheard_of))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_expired_session_claims_nothing() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.db.expire(s.session.id()).await.unwrap();
    let refused = s.session.claim(&Claim::of(&START)).await;
    assert!(
        matches!(refused, Err(TxError::SessionExpired)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_drain_refuses_claims_and_waits_for_what_is_in_progress() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    let drained = s.bmdb.drain(Duration::from_secs(5));
    let ended = async {
        // The drain begins before any other task runs on this thread.
        tokio::task::yield_now().await;
        let refused = s.session.claim(&Claim::of(&START)).await.unwrap_err();
        assert!(matches!(refused, TxError::Draining), "{refused:?}");
        let refused = work_on(&s.session, &START, machine).await.unwrap_err();
        assert!(
            matches!(refused, WorkError::Transaction(TxError::Draining)),
            "{refused:?}"
        );
        let refused = s
            .bmdb
            .start_session(SessionOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(refused, SessionError::Transaction(TxError::Draining)),
            "{refused:?}"
        );
        work.complete().await.unwrap();
    };
    let (drained, ()) = tokio::join!(drained, ended);
    assert!(drained.unwrap(), "all work ended by itself");
    assert_eq!(
        s.rows("SELECT outcome FROM work_attempt").await,
        ["Finished"]
    );
    assert_eq!(s.rows("SELECT session_id FROM sessions").await, [""; 0]);
}

#[tokio::test]
async fn a_drain_gives_back_what_does_not_end_in_time() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    assert!(!s.bmdb.drain(Duration::ZERO).await.unwrap());
    assert_eq!(
        s.rows("SELECT outcome FROM work_attempt").await,
        ["Canceled"]
    );
    assert_eq!(s.rows("SELECT session_id FROM sessions").await, [""; 0]);
    let late = work.complete().await.unwrap_err();
    assert!(matches!(late.reason(), TxError::SessionExpired), "{late:?}");
}
