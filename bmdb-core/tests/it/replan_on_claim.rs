//! Replan on claim: a claim of a time-driven process replans what only seems due and claims the rest.

use crate::scenario::{RETRY, Scenario, connect, counted};
use bmdb_core::{Claim, SessionOptions, TxError};
use bmdb_model::{Process, Provider};
use std::collections::BTreeSet;

const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// Counts the writes of plans, in the database.
const LOG: &str = "CREATE TABLE replanned (machine_id uuid);
    CREATE FUNCTION log_plan() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO replanned VALUES (new.machine_id); RETURN NULL; END $$;
    CREATE TRIGGER log_plan AFTER UPDATE ON work_item FOR EACH ROW
        WHEN (old.plan_at IS DISTINCT FROM new.plan_at) EXECUTE FUNCTION log_plan();";

const REPLANNED: &str = "SELECT count(*) || ' ' || count(DISTINCT machine_id) FROM replanned";

/// A value that any write or lock of these rows changes.
const TRACES: &str = "SELECT md5(string_agg(t.trace, ' ' ORDER BY t.trace)) FROM (
        SELECT concat_ws(',', ctid, xmin, xmax) AS trace FROM work_item
        UNION ALL SELECT concat_ws(',', ctid, xmin, xmax) FROM machines
        UNION ALL SELECT concat_ws(',', ctid, xmin, xmax) FROM sessions) t";

impl Scenario {
    /// Machines that were due by their last plan, the first for longest, and have sent a heartbeat a
    /// minute ago; the last `silent` of them eleven minutes ago.
    async fn armed(&self, machines: u32, silent: u32) {
        self.armed_of(&Provider::EQUINIX, machines, silent).await;
    }

    /// The same of any provider.
    pub(crate) async fn armed_of(&self, provider: &Provider, machines: u32, silent: u32) {
        let heard = machines - silent;
        let fleet = format!(
            "CREATE TEMP TABLE f AS SELECT gen_random_uuid() AS id, i FROM generate_series(1, {machines}) i;
             INSERT INTO machines (machine_id) SELECT id FROM f;
             INSERT INTO machine_provided (machine_id, provider, provider_id)
                 SELECT id, '{provider}', id FROM f;
             INSERT INTO machine_agent_started SELECT id, now() - interval '1 hour', 'key' FROM f;
             INSERT INTO machine_agent_heartbeat SELECT id, now() -
                 CASE WHEN i <= {heard} THEN interval '1 minute' ELSE interval '11 minutes' END FROM f;
             INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
                 SELECT id, '{RECOVERY}', 'shepherd', '{provider}', true,
                        now() - (1 + {machines} - i) * interval '1 millisecond' FROM f;
             ANALYZE; DROP TABLE f;"
        );
        self.db.run_sql(&fleet).await.unwrap();
    }

    /// How many items seem due.
    async fn due(&self) -> String {
        let due = "SELECT count(*) FROM work_item
                   WHERE eligible AND session_id IS NULL AND ready_at <= clock_timestamp()";
        self.rows(due).await.remove(0)
    }
}

fn claim() -> Claim {
    Claim::of(&RECOVERY).provider(&Provider::EQUINIX)
}

#[tokio::test]
async fn machines_with_a_heartbeat_are_replanned_and_silent_ones_claimed() {
    let s = Scenario::new().await;
    s.armed(20, 1).await;
    let silent = s
        .rows("SELECT machine_id FROM machine_agent_heartbeat ORDER BY agent_heartbeat_at LIMIT 1")
        .await;
    let all = s.session.claim(&claim().limit(5)).await.unwrap();
    let got: Vec<String> = all.iter().map(|w| w.machine().to_string()).collect();
    assert_eq!(got, silent);
    assert_eq!(s.due().await, "0");
    let exact = "SELECT DISTINCT h.agent_heartbeat_at + interval '10 min' = i.plan_at
                 FROM work_item i JOIN machine_agent_heartbeat h USING (machine_id)
                 WHERE i.process = 'ShepherdRecovery'";
    assert_eq!(s.rows(exact).await, ["t"]);
    for work in all {
        work.complete().await.unwrap();
    }
    // Eleven minutes later all of them are due without a heartbeat. The finish was unproductive, and its rest
    // of ten minutes is over.
    s.advance(11 * 60).await;
    let all = s.session.claim(&claim().limit(50)).await.unwrap();
    assert_eq!(all.len(), 20);
}

#[tokio::test]
async fn backoff_hold_lane_and_provider_are_respected() {
    let s = Scenario::new().await;
    s.armed(3, 3).await;
    let of_lumen = Claim::of(&RECOVERY).provider(&Provider::LUMEN);
    assert!(s.session.claim(&of_lumen).await.unwrap().is_empty());

    let mut all = s.session.claim(&claim().limit(2)).await.unwrap();
    let (failing, other) = (all.remove(0), all.remove(0));
    failing.fail(&RETRY, "no answer").await.unwrap();
    let machine = other.machine();
    other.cancel().await.unwrap();
    // Without the planner: the claim has to find it.
    let hold = format!("INSERT INTO machine_hold VALUES ('{machine}', 'disk')");
    s.db.run_sql(&hold).await.unwrap();

    let last = s.session.claim(&claim().limit(9)).await.unwrap();
    assert_eq!(last.len(), 1);
    let on_hold = s
        .session
        .claim(&Claim::of(&RECOVERY).limit(9))
        .await
        .unwrap();
    assert!(on_hold.is_empty(), "{on_hold:?}");
    s.advance(1).await;
    let again = s.session.claim(&claim().limit(9)).await.unwrap();
    assert_eq!(again.len(), 1, "after the backoff");
    assert_eq!(again[0].failures(), 1);

    // A lane mate is claimed.
    s.session
        .transact(async |tx| tx.release_hold(machine).await)
        .await
        .unwrap();
    let mate = format!(
        "INSERT INTO work_item (machine_id, process, lane, session_id, started_at)
         VALUES ('{machine}', 'ShepherdAccess', 'shepherd', '{}', now())",
        s.session.id()
    );
    s.db.run_sql(&mate).await.unwrap();
    let blocked = s.session.claim(&claim().limit(9)).await.unwrap();
    assert!(blocked.is_empty(), "{blocked:?}");
}

#[tokio::test]
async fn an_expired_session_claims_nothing_and_replans_nothing() {
    for silent in [0, 3] {
        let s = Scenario::new().await;
        s.armed(3, silent).await;
        s.db.expire(s.session.id()).await.unwrap();
        let refused = s.session.claim(&claim()).await.unwrap_err();
        assert!(matches!(refused, TxError::SessionExpired), "{refused:?}");
        assert_eq!(s.due().await, "3");
    }
}

#[tokio::test]
async fn a_healthy_fleet_costs_a_bounded_number_of_round_trips_and_then_nothing() {
    let s = Scenario::new().await;
    s.db.run_sql(LOG).await.unwrap();
    let (proxy, _bmdb, session) = counted(&s.db).await;
    // The first time, to prepare every statement.
    s.armed(10, 0).await;
    assert!(session.claim(&claim()).await.unwrap().is_empty());
    s.db.run_sql("TRUNCATE replanned").await.unwrap();

    s.armed(2000, 0).await;
    let before = proxy.round_trips();
    assert!(session.claim(&claim()).await.unwrap().is_empty());
    let took = proxy.round_trips() - before;
    // Four batches of 500: check the head, begin with fence check, lock, plan, claim, commit. Then an
    // empty poll.
    assert_eq!(took, 4 * 6 + 1);
    assert_eq!(s.rows(REPLANNED).await, ["2000 2000"]);

    let traces = s.rows(TRACES).await;
    let before = proxy.round_trips();
    assert!(session.claim(&claim()).await.unwrap().is_empty());
    assert_eq!(proxy.round_trips() - before, 1, "an idle poll");
    assert_eq!(s.rows(TRACES).await, traces);
}

#[tokio::test]
async fn a_part_of_a_long_queue_of_healthy_machines_is_left_to_later_polls() {
    let s = Scenario::new().await;
    s.armed(5_500, 1).await;
    assert!(s.session.claim(&claim()).await.unwrap().is_empty());
    assert_eq!(s.due().await, "500");
    // Kept, because dropped work is canceled, and due again.
    let silent = s.session.claim(&claim()).await.unwrap();
    assert_eq!((silent.len(), s.due().await.as_str()), (1, "0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_replan_and_claim_every_machine_once() {
    let s = Scenario::new().await;
    s.db.run_sql(LOG).await.unwrap();
    s.armed(3000, 200).await;
    let others = [connect(&s.db).await, connect(&s.db).await];
    let mut rivals = Vec::new();
    for bmdb in &others {
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        rivals.push(tokio::spawn(async move {
            let mut all = Vec::new();
            for _ in 0..20 {
                all.extend(session.claim(&claim().limit(30)).await.unwrap());
            }
            (session, all)
        }));
    }
    let (mut claimed, mut kept) = (BTreeSet::new(), Vec::new());
    for rival in rivals {
        let (session, all) = rival.await.unwrap();
        for work in &all {
            assert!(claimed.insert(work.machine()), "claimed twice");
        }
        kept.push((session, all));
    }
    assert_eq!(claimed.len(), 200);
    assert_eq!(s.due().await, "0");
    // Silent machines too: to the time when they became due.
    assert_eq!(s.rows(REPLANNED).await, ["3000 3000"]);
}
