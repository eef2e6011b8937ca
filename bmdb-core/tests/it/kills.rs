//! Programs that die between a claim and its end: what they leave is freed with their work, slots included.

use crate::scenario::Scenario;
use bmdb_core::{Claim, Session, TxError, Work};
use bmdb_model::Process;

const PROCESS: Process = Process::SHEPHERD_AGENT_START;

/// How many machines the limit lets run at once, which is how many are killed in a round.
const SLOTS: usize = 50;

/// The slots that are taken, the claimed machines, and the slots that these name.
const TAKEN: &str = "
    SELECT (SELECT count(*) FROM process_slot WHERE kind = 'Running' AND free_at > clock_timestamp()),
           count(*), coalesce(sum(cardinality(slots)), 0)
    FROM work_item WHERE session_id IS NOT NULL";

async fn limited() -> Scenario {
    let scenario = Scenario::new().await;
    scenario
        .db
        .run_sql(
            "INSERT INTO process_control VALUES ('ShepherdAgentStart');
             INSERT INTO process_limit VALUES
                 ('ShepherdAgentStart', 'process', 50, NULL, NULL),
                 ('ShepherdAgentStart', 'provider', 60, NULL, NULL)",
        )
        .await
        .unwrap();
    scenario.import(120).await;
    scenario
}

/// Sessions that have claimed everything that the limit allows, and will not end it in time.
async fn claim_all(scenario: &Scenario) -> Vec<(Session, Vec<Work>)> {
    let mut killed = Vec::new();
    for _ in 0..SLOTS / 5 {
        let session = scenario.another_session().await;
        let claim = Claim::of(&PROCESS).limit(5);
        let claimed = session.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 5);
        killed.push((session, claimed));
    }
    killed
}

#[tokio::test]
async fn a_thousand_kills_between_claim_and_end_leak_no_slot() {
    let scenario = limited().await;
    // Each claimed machine has a slot of each limit.
    let all_taken = format!("{}|{SLOTS}|{}", 2 * SLOTS, 2 * SLOTS);
    let mut zombies: Vec<(Session, Vec<Work>)> = Vec::new();
    for _ in 0..1_000 / SLOTS {
        let killed = claim_all(&scenario).await;
        assert_eq!(scenario.rows(TAKEN).await, std::slice::from_ref(&all_taken));
        // Work of the round before that comes back too late frees nothing of this round.
        for (session, claimed) in zombies {
            for ended in session.cancel_all(claimed).await {
                let error = ended.unwrap_err();
                let lost = matches!(error.reason(), TxError::SessionExpired | TxError::WorkLost);
                assert!(lost, "{error}");
            }
        }
        assert_eq!(scenario.rows(TAKEN).await, std::slice::from_ref(&all_taken));
        for (session, _) in &killed {
            scenario.db.expire(session.id()).await.unwrap();
        }
        scenario.bmdb.reclaim_expired().await.unwrap();
        assert_eq!(scenario.rows(TAKEN).await, ["0|0|0"]);
        // The delay of machines whose holders died.
        scenario.advance(7_200).await;
        zombies = killed;
    }
    drop(zombies);
    let _last = claim_all(&scenario).await;
    let one_more = scenario.session.claim(&Claim::of(&PROCESS)).await.unwrap();
    assert!(one_more.is_empty(), "more than the limit: {one_more:?}");
}
