//! Replanning on claim: lock in one statement, plan in the next, claim in the one after that.

use crate::scenario::{MINUTE, RECOVERY, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::work::{QueueHead, claim_planned, lock_due, possibly_due};
use bmdb_model::internal::{agent, connection};
use bmdb_model::{MachineId, Provider, machine, plan};
use diesel_async::AsyncPgConnection;

impl Scenario {
    /// A machine that was due for recovery when it was planned.
    async fn silent(&self, id: &str) -> MachineId {
        let machine = self.db.machine().provided(&Provider::EQUINIX, id);
        let silent = machine
            .agent_started(40 * MINUTE)
            .agent_heartbeat(11 * MINUTE);
        silent.planned().create().await.unwrap()
    }

    async fn begun(&self) -> AsyncPgConnection {
        let mut conn = self.db.connect().await.unwrap();
        connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite)
            .await
            .unwrap();
        conn
    }
}

async fn locked(conn: &mut AsyncPgConnection, limit: i64) -> Vec<MachineId> {
    let equinix = Some(&Provider::EQUINIX);
    lock_due(conn, &RECOVERY, equinix.into(), limit)
        .await
        .unwrap()
        .0
}

#[tokio::test]
async fn a_heartbeat_between_the_lock_and_the_plan_is_seen() {
    let mut s = Scenario::new().await;
    let (heard, silent) = (s.silent("a").await, s.silent("b").await);
    let mut claimer = s.begun().await;
    assert_eq!(locked(&mut claimer, 10).await, [heard, silent]);
    // Not kept waiting by the lock.
    let beat = [(heard, None)];
    agent::advance_heartbeats(&mut s.conn, None, &beat)
        .await
        .unwrap();
    plan::replan(&mut claimer, &[heard, silent]).await.unwrap();
    let session = s.session;
    let both = [heard, silent];
    let claimed = claim_planned(&mut claimer, &both, &RECOVERY, None, session, 10);
    let claimed: Vec<MachineId> = claimed.await.unwrap().iter().map(|c| c.machine).collect();
    assert_eq!(claimed, [silent]);
    connection::commit(&mut claimer).await.unwrap();
    let later = "SELECT plan_at - clock_timestamp() > interval '9 min' FROM work_item
                 WHERE process = 'ShepherdRecovery' ORDER BY session_id NULLS FIRST";
    assert_eq!(s.rows(later).await, ["t", "f"]);
    let due = possibly_due(&mut s.conn, &RECOVERY, None, session).await;
    assert!(matches!(due.unwrap(), Some((QueueHead::DueIn(_), false))));
}

#[tokio::test]
async fn concurrent_claims_lock_different_machines_and_skip_those_locked_by_a_writer() {
    let s = Scenario::new().await;
    let mut machines = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        machines.push(s.silent(id).await);
    }
    let (mut writer, mut first, mut second) = (s.begun().await, s.begun().await, s.begun().await);
    machine::touch(&mut writer, &machines[..1]).await.unwrap();
    assert_eq!(locked(&mut first, 2).await, machines[1..3]);
    assert_eq!(locked(&mut second, 9).await, machines[3..]);
}

#[tokio::test]
async fn only_the_providers_own_machines_are_claimed_even_if_it_has_changed_meanwhile() {
    let mut s = Scenario::new().await;
    let machine = s.silent("a").await;
    s.db.run_sql("UPDATE machine_provided SET provider = 'Lumen'")
        .await
        .unwrap();
    let mut claimer = s.begun().await;
    assert_eq!(locked(&mut claimer, 9).await, [machine]);
    plan::replan(&mut claimer, &[machine]).await.unwrap();
    let (equinix, session) = (Some(&Provider::EQUINIX), s.session);
    let claimed = claim_planned(&mut claimer, &[machine], &RECOVERY, equinix, session, 9).await;
    assert!(claimed.unwrap().is_empty());
    connection::commit(&mut claimer).await.unwrap();
    s.db.expire(session).await.unwrap();
    let due = possibly_due(&mut s.conn, &RECOVERY, None, session).await;
    assert_eq!(due.unwrap(), None, "an expired session");
}
