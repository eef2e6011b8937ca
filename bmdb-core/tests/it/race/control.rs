//! The same races with a guard missing: the checks must find the violation.

use super::claim::{Race, claim, claims};
use crate::scenario::{RETRY, work_on};
use bmdb_model::internal::work::Claimed;
use bmdb_model::{Error, Process, SessionId};
use bmdb_testkit::TestDb;
use bmdb_testkit::audit::{Rules, StillClaimed, Violation, audit};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The product's claim, with its gates in a subquery instead of on the locked row.
fn claim_with_gates_in_a_subquery() -> String {
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
    let rows: Vec<Row> = diesel::sql_query(claim_with_gates_in_a_subquery())
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
            provided: Ok(None),
        })
    });
    Ok(Some(claimed.collect()))
}

/// The violations that the audit finds; the stress test relies on the audit.
async fn violations(db: &TestDb) -> Vec<Violation> {
    let mut rules = Rules::new(RETRY);
    rules.still_claimed = StillClaimed::Allowed;
    audit(db.url(), &rules).await.unwrap().violations
}

#[tokio::test]
async fn without_the_lane_index_a_lane_is_claimed_twice() {
    let race = Race::begin_with("DROP INDEX work_item_lane", claim).await;
    let mate = work_on(&race.s.session, &Process::SHEPHERD_ACCESS, race.machine)
        .await
        .unwrap();
    let (answer, s) = race.resume().await;
    assert_eq!(answer.unwrap().unwrap().len(), 1);
    assert_eq!(claims(&s.db).await.len(), 2);
    let violations = violations(&s.db).await;
    assert!(
        matches!(violations[..], [Violation::Overlap { .. }]),
        "{violations:?}"
    );
    drop(mate);
}

#[tokio::test]
async fn a_claim_with_gates_in_a_subquery_starts_inside_a_backoff() {
    let race = Race::begin_with("", claim_by_lookup).await;
    let failed = race.rival().await.fail(&RETRY, "test").await.unwrap();
    let (answer, s) = race.resume().await;
    let claimed = answer.unwrap().unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(claimed[0].started_at < failed.until);
    let violations = violations(&s.db).await;
    assert!(
        matches!(violations[..], [Violation::InsideBackoff { .. }]),
        "{violations:?}"
    );
}
