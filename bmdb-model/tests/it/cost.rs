//! The cost of a claim in buffers: the same whatever the size of the fleet.
//!
//! `BMDB_TEST_MILLION=1` adds a fleet of a million machines.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{START, Scenario};
use bmdb_model::Provider;
use bmdb_model::internal::connection::plan_once_sql;
use bmdb_model::internal::work;
use chrono::{DateTime, Utc};
use serde_json::Value;

/// How often a claim goes down an index: candidate, due item, lane check, the item's update, and its
/// new entries in the primary key and the lanes. From a fleet of a thousand machines to one of a
/// hundred thousand, and on to a million, each of these indexes grows by a level at most.
const DESCENTS: usize = 6;

/// The buffers that one claim of one machine touched, found in memory or not.
#[derive(Debug)]
struct Cost {
    /// The look whether anything is due.
    candidate: usize,
    /// Looking for what to claim in the queue, without the checks of the lane and of holds.
    queue: usize,
    /// All of it.
    whole: usize,
    claimed: bool,
}

impl Scenario {
    /// What a claim costs here, as it runs on a pooled connection; rolled back. It runs before, or
    /// looking into the catalog and at the indexes' first pages would be counted.
    async fn cost(&mut self, cursor: Option<DateTime<Utc>>) -> Cost {
        let claim = self.claim_text(Some(&Provider::NONE)).await;
        let cursor = cursor.map_or("NULL".to_owned(), |cursor| format!("'{cursor}'"));
        let execute = format!(
            "EXECUTE claim ('{START}', 'Equinix', {cursor}, '{}', 1);",
            self.session
        );
        let set = plan_once_sql();
        let sql = format!(
            "{set} PREPARE claim AS {claim};
             BEGIN; {execute} {execute} ROLLBACK;
             BEGIN; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute} ROLLBACK"
        );
        let mut rows = self.rows(&sql).await;
        rows.retain(|row| row.starts_with('['));
        let explained: Value = serde_json::from_str(&rows[0]).unwrap();
        let plan = &explained[0]["Plan"];
        let candidate = find(plan, "Subplan Name", "CTE candidate").unwrap();
        let due = find(plan, "Subplan Name", "CTE due").unwrap();
        let queue = find(due, "Index Name", "work_item_due").unwrap();
        let checks = queue["Plans"].as_array().unwrap().iter();
        let checks = checks.filter(|node| node["Parent Relationship"] == "SubPlan");
        Cost {
            candidate: buffers(candidate),
            queue: buffers(queue) - checks.map(buffers).sum::<usize>(),
            whole: buffers(plan),
            claimed: due["Actual Rows"].as_f64().unwrap() > 0.5,
        }
    }

    /// Claims in batches and fails with a backoff of nothing, which puts the machines at the end of
    /// the queue. The ends are written set-wise, with what `fail` writes into the item.
    async fn churn(&mut self, cycles: usize) -> DateTime<Utc> {
        let (mut done, mut cursor) = (0, None);
        while done < cycles {
            let (conn, equinix) = (&mut self.conn, Some(&Provider::EQUINIX));
            let batch =
                work::claim_from(conn, &START, equinix.into(), cursor, self.session, 500).await;
            let batch = batch.unwrap().expect("the session lives");
            assert!(!batch.claimed.is_empty());
            (done, cursor) = (done + batch.claimed.len(), batch.latest);
            let machines: Vec<String> = batch
                .claimed
                .iter()
                .map(|claimed| format!("'{}'", claimed.machine))
                .collect();
            let fail = format!(
                "UPDATE work_item SET session_id = NULL, started_at = NULL,
                     backoff_until = clock_timestamp(), last_interval_seconds = 1
                 WHERE process = '{START}' AND machine_id IN ({})",
                machines.join(", ")
            );
            self.db.run_sql(&fail).await.unwrap();
        }
        cursor.unwrap()
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

pub(crate) fn buffers(node: &Value) -> usize {
    let of = |kind: &str| usize::try_from(node[kind].as_u64().unwrap()).unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

/// How many machines the fleets have.
pub(crate) fn fleets() -> Vec<u32> {
    let mut fleets = vec![1_000, 100_000];
    if std::env::var("BMDB_TEST_MILLION").is_ok_and(|million| million == "1") {
        fleets.push(1_000_000);
    }
    fleets
}

/// The costs with fleets of a thousand machines and more, the smallest first.
async fn costs(situation: Situation) -> Vec<Cost> {
    let mut costs = Vec::new();
    for machines in fleets() {
        let mut s = Fleet::of(machines).scenario(situation).await;
        s.db.run_sql("VACUUM ANALYZE work_item").await.unwrap();
        costs.push(s.cost(None).await);
    }
    costs
}

async fn check(situation: Situation, claimed: bool) {
    let costs = costs(situation).await;
    for (levels, cost) in costs.iter().enumerate() {
        let more = |part: fn(&Cost) -> usize| part(cost).abs_diff(part(&costs[0]));
        assert_eq!(cost.claimed, claimed, "{costs:?}");
        assert!(cost.candidate <= 5, "{costs:?}");
        assert!(cost.whole <= 40, "{costs:?}");
        // An idle poll reads the head of the queue and the session, by its index.
        assert!(claimed || cost.whole <= cost.candidate + 2, "{costs:?}");
        assert!(more(|cost| cost.candidate) <= levels, "{costs:?}");
        assert!(more(|cost| cost.whole) <= DESCENTS * levels, "{costs:?}");
    }
}

#[tokio::test]
async fn a_claim_costs_the_same_in_any_fleet_when_nothing_is_eligible() {
    check(Situation::NothingEligible, false).await;
}

#[tokio::test]
async fn a_claim_costs_the_same_in_any_fleet_when_a_thousandth_is_due() {
    check(Situation::FewDue, true).await;
}

#[tokio::test]
async fn a_claim_costs_the_same_in_any_fleet_when_a_twentieth_is_backing_off() {
    check(Situation::ManyBackingOff, true).await;
}

#[tokio::test]
async fn a_claim_costs_the_same_in_any_fleet_when_a_tenth_is_claimed() {
    check(Situation::ManyHeld, true).await;
}

#[tokio::test]
async fn a_claim_from_the_queue_cursor_does_not_read_rows_that_a_long_reader_keeps_from_vacuum() {
    let mut s = Fleet::of(20_000).scenario(Situation::AllEligible).await;
    let mut reader = s.db.connect().await.unwrap();
    let read = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM work_item";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut reader, read)
        .await
        .unwrap();
    let cursor = s.churn(20_000).await;
    s.db.run_sql("VACUUM work_item").await.unwrap();
    let (above, all) = (s.cost(Some(cursor)).await, s.cost(None).await);
    assert!(above.claimed && all.claimed, "{above:?} {all:?}");
    assert!(above.candidate <= 10 && above.queue <= 10, "{above:?}");
    let stepped_over = all.candidate.min(all.queue);
    assert!(
        stepped_over >= 1_000,
        "the reader held nothing back: {all:?}"
    );
    drop(reader);
}
