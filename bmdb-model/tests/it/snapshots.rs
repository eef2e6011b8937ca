//! The statements that bmdb's speed depends on: their texts, plans and costs.
//!
//! `INSTA_UPDATE=always cargo test -p bmdb-model --test it` records the current ones.

use crate::scenario::{START, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::connection::{begin, plan_once_sql, roll_back};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::{self, work};
use bmdb_model::{MachineId, Provider, plan, retrieval};

/// The server version whose plans are recorded. Other versions word them differently.
const RECORDED_BY: &str = "15";

/// How often a statement runs before its plan is examined: the first runs read the catalog.
const BEFORE: usize = 3;

/// Makes `EXPLAIN` run the statement and count its buffers.
const COUNTED: &str = "ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF";

impl Scenario {
    /// The only statement that this connection has prepared and that contains `part`.
    pub(crate) async fn text(&mut self, part: &str) -> String {
        let mut found = self.prepared().await;
        found.retain(|statement| statement.contains(part));
        assert_eq!(found.len(), 1, "{part}");
        found.remove(0)
    }

    pub(crate) async fn claim_text(&mut self, provider: Option<&Provider>) -> String {
        work::claim(&mut self.conn, &START, provider, self.session, 1)
            .await
            .unwrap();
        self.text(if provider.is_some() {
            "i.provider = $2"
        } else {
            "$2::text IS NULL"
        })
        .await
    }

    /// The output of `EXPLAIN` with these options for the claim of one machine, of Equinix if the text
    /// has a provider, planned as on a connection that was set up.
    async fn explain(&self, claim: &str, options: &str) -> Vec<String> {
        let provider = if claim.contains("i.provider = $2") {
            "'Equinix'"
        } else {
            "NULL"
        };
        let execute = format!(
            "EXECUTE claim('ShepherdAgentStart', {provider}, NULL, '{}', 1);",
            self.session
        );
        let before = execute.repeat(BEFORE);
        let set = plan_once_sql();
        let sql = format!("{set} PREPARE claim AS {claim}; {before} EXPLAIN ({options}) {execute}");
        let mut rows = self.rows(&sql).await;
        rows.split_off(BEFORE)
    }

    /// A fleet of this many machines, all of them due.
    async fn fleet(&mut self, machines: u32) {
        let insert = format!(
            "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, {machines});
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT machine_id, 'Equinix', machine_id::text FROM machines"
        );
        self.db.run_sql(&insert).await.unwrap();
        let ids = self.rows("SELECT machine_id FROM machines").await;
        let ids: Vec<MachineId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        plan::replan(&mut self.conn, &ids).await.unwrap();
        self.db.run_sql("VACUUM ANALYZE").await.unwrap();
    }

    async fn is_recorded(&self) -> bool {
        let version = self.rows("SHOW server_version_num").await.remove(0);
        version.starts_with(RECORDED_BY)
    }
}

fn check(name: &str, contents: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, contents));
}

#[tokio::test]
async fn the_texts_of_the_claims() {
    let mut s = Scenario::new().await;
    check("claim", &s.claim_text(Some(&Provider::EQUINIX)).await);
    check("claim_of_any", &s.claim_text(None).await);
}

#[tokio::test]
async fn the_texts_that_are_built_from_workflows() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    plan::replan(&mut s.conn, &[machine]).await.unwrap();
    check("plan", &s.text("wanted AS (").await);
    internal::plan::replan_notifying(&mut s.conn, &[machine], Notify::On)
        .await
        .unwrap();
    check("plan_notifying", &s.text("pg_notify").await);
    let equinix = Some(&Provider::EQUINIX);
    retrieval::for_agent_start(&mut s.conn, &START, equinix, 1)
        .await
        .unwrap();
    check("retrieval", &s.text("workflow_agent_start\" w").await);
    let attempt = s.claim_one(&START).await;
    s.finish(&attempt).await;
    check("plan_and_finish", &s.text("others AS (").await);
}

#[tokio::test]
async fn the_plan_of_a_claim_reads_items_through_the_due_index_and_the_primary_key() {
    let mut s = Scenario::new().await;
    s.fleet(1000).await;
    let claim = s.claim_text(Some(&Provider::EQUINIX)).await;
    let plan = s.explain(&claim, "COSTS OFF").await;
    let scans = plan
        .iter()
        .filter(|line| line.contains("on work_item") && line.contains("Scan"));
    let indexed = |line: &&String| {
        line.contains("using work_item_due ") || line.contains("using work_item_pkey ")
    };
    assert!(scans.clone().all(|line| indexed(&line)), "{plan:#?}");
    assert!(
        plan.iter()
            .any(|line| line.contains("using work_item_due ")),
        "{plan:#?}"
    );
    if s.is_recorded().await {
        let of_session = s.session.to_string();
        let plan = plan.join("\n").replace(&of_session, "the session");
        check("claim_plan", &plan);
    }
}

#[tokio::test]
async fn a_claim_of_one_machine_of_a_thousand_reads_at_most_40_buffers() {
    let mut s = Scenario::new().await;
    s.fleet(1000).await;
    let claim = s.claim_text(Some(&Provider::EQUINIX)).await;
    let plan = s.explain(&claim, COUNTED).await;
    assert!(buffers(&plan) <= 40, "{plan:#?}");
}

// Regression: the query for a candidate had no order. With statistics that called everything due, the
// planner expected to find one at once by reading the table, so an idle poll read all of it.
#[tokio::test]
async fn an_idle_poll_reads_at_most_5_buffers_also_when_the_statistics_call_everything_due() {
    let mut s = Scenario::new().await;
    s.fleet(1000).await;
    let rest = "UPDATE work_item SET backoff_until = now() + interval '1 hour'";
    s.db.run_sql(rest).await.unwrap();
    s.db.run_sql("VACUUM work_item").await.unwrap();
    let claim = s.claim_text(Some(&Provider::EQUINIX)).await;
    let plan = s.explain(&claim, COUNTED).await;
    assert!(buffers(&plan) <= 5, "{plan:#?}");
}

// Regression: it read the queue's whole index, and would have read the table to learn when to poll
// again.
#[tokio::test]
async fn an_idle_poll_without_a_provider_reads_a_few_buffers_for_each_provider() {
    let mut s = Scenario::new().await;
    s.fleet(5000).await;
    let rest = "UPDATE work_item SET backoff_until = now() + interval '1 hour',
                    provider = CASE WHEN random() < 0.5 THEN provider ELSE 'Lumen' END";
    s.db.run_sql(rest).await.unwrap();
    s.db.run_sql("VACUUM ANALYZE work_item").await.unwrap();
    let claim = s.claim_text(None).await;
    let plan = s.explain(&claim, COUNTED).await;
    assert!(buffers(&plan) <= 5 * (2 + 2), "{plan:#?}");
}

/// The buffers of the whole statement: the topmost node comes first and includes all others.
pub(crate) fn buffers(plan: &[String]) -> u64 {
    let whole = plan.iter().find(|line| line.contains("Buffers: shared"));
    let counts = whole.unwrap().split_whitespace();
    let counts = counts.filter(|count| count.starts_with("hit=") || count.starts_with("read="));
    counts
        .map(|count| count.split_once('=').unwrap().1.parse::<u64>().unwrap())
        .sum()
}

#[tokio::test]
async fn an_idle_poll_takes_no_transaction_id_and_a_claim_takes_one() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    for (hold, is_idle) in [("now() + interval '1 hour'", true), ("NULL", false)] {
        let backoff = format!("UPDATE work_item SET backoff_until = {hold}");
        s.db.run_sql(&backoff).await.unwrap();
        for provider in [Some(&Provider::EQUINIX), None] {
            assert_eq!(
                s.poll_writes_nothing(provider).await,
                is_idle,
                "{provider:?}, {hold}"
            );
        }
    }
}

impl Scenario {
    /// Polls in a separate transaction and rolls it back.
    async fn poll_writes_nothing(&mut self, provider: Option<&Provider>) -> bool {
        let conn = &mut self.conn;
        begin(conn, Isolation::ReadCommitted, Access::ReadWrite)
            .await
            .unwrap();
        let claimed = work::claim(conn, &START, provider, self.session, 1).await;
        claimed.unwrap().expect("the session lives");
        let id = "SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS text";
        let id = self.texts(id).await;
        roll_back(&mut self.conn).await.unwrap();
        id == ["none"]
    }
}
