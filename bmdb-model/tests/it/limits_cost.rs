//! The price of limits in buffers: what a process without any pays for them, and what full partitions cost the
//! claims that step over them.
//!
//! `BMDB_TEST_MILLION=1` adds a fleet of a million machines.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{START, Scenario};
use crate::schema_snapshots;
use bmdb_model::Provider;
use bmdb_model::internal::connection::plan_once_sql;
use bmdb_model::internal::work::{self, OpenQueue, Providers};
use bmdb_testkit::TestDb;
use serde_json::Value;

/// The release before there were limits.
const BEFORE: &str = "20261123000400";

/// No trigger for each row fires, as before there were any.
const WITHOUT_TRIGGERS: &str = "SET session_replication_role = replica;";

/// What one claim touched and got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    buffers: usize,
    machines: usize,
}

impl Scenario {
    /// What a prepared statement costs once it has run, in the triggers that it fires too; rolled back.
    async fn claim_cost(&self, setup: &str, statement: &str, arguments: &str) -> Cost {
        // What was rolled back before would be stepped over.
        self.db.run_sql("VACUUM work_item").await.unwrap();
        let execute = format!("EXECUTE measured ({arguments});");
        let once = plan_once_sql();
        let sql = format!(
            "{once} {setup} PREPARE measured AS {statement};
             BEGIN; {execute} {execute} ROLLBACK;
             BEGIN; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute} ROLLBACK"
        );
        let mut rows = self.rows(&sql).await;
        rows.retain(|row| row.starts_with('['));
        let explained: Value = serde_json::from_str(&rows[0]).unwrap();
        let plan = &explained[0]["Plan"];
        let number = |node: &Value, name: &str| -> usize {
            let value = node[name].as_f64().unwrap();
            format!("{value:.0}").parse().unwrap()
        };
        let updated = find(plan, "Subplan Name", "CTE claimed");
        Cost {
            buffers: number(plan, "Shared Hit Blocks") + number(plan, "Shared Read Blocks"),
            machines: updated.map_or(0, |node| number(node, "Actual Rows")),
        }
    }
}

/// The first node with this property, in the order of the plan.
fn find<'p>(plan: &'p Value, property: &str, value: &str) -> Option<&'p Value> {
    if plan[property] == value {
        return Some(plan);
    }
    let children = plan["Plans"].as_array()?;
    children
        .iter()
        .find_map(|child| find(child, property, value))
}

fn fleets() -> Vec<u32> {
    let mut fleets = vec![1_000, 100_000];
    if std::env::var("BMDB_TEST_MILLION").is_ok_and(|million| million == "1") {
        fleets.push(1_000_000);
    }
    fleets
}

/// Compares claims with those of the release before, in the same database.
async fn check_claims(situation: Situation, provider: &str, limit: usize, machines: usize) {
    let before = schema_snapshots::of(BEFORE)["claim"].sql.clone();
    for fleet in fleets() {
        let s = Fleet::of(fleet).scenario(situation).await;
        let a_hold = "INSERT INTO machine_hold (machine_id, reason)
                      SELECT machine_id, 'disk' FROM work_item WHERE NOT eligible LIMIT 1";
        s.db.run_sql("VACUUM ANALYZE").await.unwrap();
        for with_hold in [false, true] {
            if with_hold {
                s.db.run_sql(a_hold).await.unwrap();
            }
            let arguments = format!("'{START}', '{provider}', NULL, '{}', {limit}", s.session);
            let old = s.claim_cost(WITHOUT_TRIGGERS, &before, &arguments).await;
            let new = s.claim_cost("", work::CLAIM, &arguments).await;
            let found = format!("{fleet} machines, a hold: {with_hold}: {old:?}, now {new:?}");
            assert_eq!(
                (old.machines, new.machines),
                (machines, machines),
                "{found}"
            );
            let more = if machines == 0 { 1 } else { 2 * machines };
            assert!(new.buffers <= old.buffers + more, "{found}");
        }
    }
}

#[tokio::test]
async fn an_idle_poll_without_limits_costs_one_buffer_more_than_before_there_were_any() {
    check_claims(Situation::NothingEligible, "Equinix", 1, 0).await;
    check_claims(Situation::OnePercentEligible, "Lumen", 10, 0).await;
}

#[tokio::test]
async fn a_claim_without_limits_costs_two_buffers_more_per_machine_than_before_there_were_any() {
    check_claims(Situation::OnePercentEligible, "Equinix", 1, 1).await;
    check_claims(Situation::OnePercentEligible, "Equinix", 10, 10).await;
}

/// Providers whose partition is full.
const FULL: usize = 1_000;

#[tokio::test]
async fn a_thousand_full_partitions_are_stepped_over_for_a_few_buffers_each() {
    let mut s = Scenario::on(TestDb::new().await.unwrap()).await;
    // The machines of the last provider are the last in the queue, and only it has a free slot.
    let fleet = format!(
        "INSERT INTO machines SELECT md5(n::text)::uuid FROM generate_series(0, {FULL} * 4 + 3) n;
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         SELECT md5(n::text)::uuid, 'site-' || lpad((n / 4)::text, 4, '0'), n
         FROM generate_series(0, {FULL} * 4 + 3) n;
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
         SELECT md5(n::text)::uuid, '{START}', 'shepherd', 'site-' || lpad((n / 4)::text, 4, '0'), true,
                now() - interval '1 day' + n * interval '1 s'
         FROM generate_series(0, {FULL} * 4 + 3) n;
         INSERT INTO process_control VALUES ('{START}');
         INSERT INTO process_limit (process, per, max_running) VALUES ('{START}', 'provider', 2);
         UPDATE work_item SET session_id = '{}', started_at = clock_timestamp(), fence = nextval('work_fence')
         WHERE machine_id IN (SELECT md5(n::text)::uuid FROM generate_series(0, {FULL} * 4 - 1) n
                              WHERE n % 4 < 2)",
        s.session
    );
    s.db.run_sql(&fleet).await.unwrap();
    s.db.run_sql("VACUUM ANALYZE").await.unwrap();
    let open = work::open_queues(&mut s.conn, &START, None, s.session, 10).await;
    let open = open.unwrap().expect("the session lives");
    let last = Provider::new(format!("site-{FULL:04}")).unwrap();
    let expected = OpenQueue {
        provider: Some(last.clone()),
        room: 2,
    };
    assert_eq!(open.open, [expected]);

    let statement = include_str!("../../src/sql/open_queues.sql");
    let arguments = format!("'{START}', NULL, 10, '{}'", s.session);
    let cost = s.claim_cost("", statement, &arguments).await;
    let each = cost.buffers / FULL;
    assert!(each <= 12, "{each} buffers for each full partition");

    let providers = Providers::One(&last);
    let claimed = work::claim_from(&mut s.conn, &START, providers, None, s.session, 10).await;
    let claimed = claimed.unwrap().expect("the session lives").claimed;
    assert_eq!(claimed.len(), 2, "as many as it has slots");
}

#[tokio::test]
async fn a_claim_finds_the_last_free_slot_of_a_thousand_in_few_pages() {
    let s = Fleet::of(1_000)
        .scenario(Situation::OnePercentEligible)
        .await;
    let nearly_full = format!(
        "INSERT INTO process_control VALUES ('{START}');
         INSERT INTO process_limit (process, per, max_running) VALUES ('{START}', 'process', 1000);
         INSERT INTO process_slot (process, per, partition, kind, number, free_at)
         SELECT '{START}', 'process', '', 'Running', n,
                CASE n WHEN 500 THEN timestamptz '-infinity' ELSE 'infinity' END
         FROM generate_series(1, 1000) n"
    );
    s.db.run_sql(&nearly_full).await.unwrap();
    s.db.run_sql("VACUUM ANALYZE").await.unwrap();
    let arguments = format!("'{START}', 'Equinix', NULL, '{}', 1", s.session);
    let cost = s.claim_cost("", work::CLAIM, &arguments).await;
    assert_eq!(cost.machines, 1, "{cost:?}");
    assert!(cost.buffers <= 250, "{cost:?}");
}
