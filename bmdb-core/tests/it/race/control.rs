//! The same races where a guard is missing: the checks must see what then goes wrong.

use super::claim::{Race, claim, holders};
use crate::scenario::{RETRY, work_on};
use bmdb_model::internal::work::Claimed;
use bmdb_model::{Error, Process, SessionId};
use bmdb_testkit::TestDb;
use bmdb_testkit::audit::{Rules, StillClaimed, Violation, audit};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What the real claim looks like with its gates in another place than the locked row.
fn claim_that_looks_its_gates_up() -> String {
    let real = concat!(
        include_str!("../../../../bmdb-model/src/sql/candidate.sql"),
        include_str!("../../../../bmdb-model/src/sql/head.sql"),
        include_str!("../../../../bmdb-model/src/sql/claim.sql"),
    );
    let gates = "i.session_id IS NULL AND i.ready_at <= now()";
    assert_eq!(real.matches(gates).count(), 1);
    real.replace(
        gates,
        "(SELECT g.session_id IS NULL AND g.ready_at <= now() FROM work_item g
          WHERE g.machine_id = i.machine_id AND g.process = i.process)",
    )
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Uuid>)]
    machine_id: Option<bmdb_model::MachineId>,
    #[diesel(sql_type = Nullable<BigInt>)]
    fence: Option<bmdb_model::Fence>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    started_at: Option<chrono::DateTime<chrono::Utc>>,
}

async fn claim_by_lookup(
    mut conn: AsyncPgConnection,
    session: SessionId,
) -> Result<Option<Vec<Claimed>>, Error> {
    let rows: Vec<Row> = diesel::sql_query(claim_that_looks_its_gates_up())
        .bind::<Text, _>(Process::SHEPHERD_AGENT_START)
        .bind::<Text, _>("Equinix")
        .bind::<Nullable<Timestamptz>, _>(None::<chrono::DateTime<chrono::Utc>>)
        .bind::<Uuid, _>(session)
        .bind::<BigInt, _>(5)
        .load(&mut conn)
        .await?;
    let claimed = rows.into_iter().filter_map(|row| {
        Some(Claimed {
            machine: row.machine_id?,
            fence: row.fence?,
            started_at: row.started_at?,
            failures: 0,
            previous_interval: None,
            ready_at: None,
        })
    });
    Ok(Some(claimed.collect()))
}

/// What the audit, on which the stress relies, says of it.
async fn judge(db: &TestDb) -> Vec<Violation> {
    let mut rules = Rules::new(RETRY);
    rules.still_claimed = StillClaimed::Allowed;
    audit(db.url(), &rules).await.unwrap().violations
}

#[tokio::test]
async fn without_the_lane_index_a_lane_gets_two_holders() {
    let race = Race::begin_with("DROP INDEX work_item_lane", claim).await;
    let mate = work_on(&race.s.session, &Process::SHEPHERD_ACCESS, race.machine)
        .await
        .unwrap();
    let (answer, s) = race.go_on().await;
    assert_eq!(answer.unwrap().unwrap().len(), 1);
    assert_eq!(holders(&s.db).await.len(), 2);
    let violations = judge(&s.db).await;
    assert!(
        matches!(violations[..], [Violation::Overlap { .. }]),
        "{violations:?}"
    );
    drop(mate);
}

#[tokio::test]
async fn a_claim_that_looked_its_gates_up_would_start_inside_a_backoff() {
    let race = Race::begin_with("", claim_by_lookup).await;
    let failed = race.rival().await.fail(&RETRY, "test").await.unwrap();
    let (answer, s) = race.go_on().await;
    let claimed = answer.unwrap().unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(claimed[0].started_at < failed.until);
    let violations = judge(&s.db).await;
    assert!(
        matches!(violations[..], [Violation::InsideBackoff { .. }]),
        "{violations:?}"
    );
}
