//! The generic plans of what runs often: through the indexes, whatever the statistics say.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{START, Scenario, attempt};
use bmdb_model::{Provider, connection, plan, session, work};

/// What tells each statement from the others that a connection has prepared.
const HOT: [(&str, &str); 7] = [
    ("the claim", "i.provider = $2"),
    ("the claim for any provider", "$2::text IS NULL"),
    ("failing", "Ends one attempt as failed"),
    ("releasing", "Ends one attempt without a failure"),
    ("the heartbeat", "Moves the deadlines"),
    ("the fence check", "FOR KEY SHARE"),
    ("planning", "listed AS"),
];

/// Tables that grow with the fleet.
const LARGE: [&str; 4] = ["work_item", "work_attempt", "machines", "machine_provided"];

impl Scenario {
    /// Prepares all that is hot by doing it once; the texts.
    async fn hot(&mut self) -> Vec<(&'static str, String)> {
        let (conn, equinix) = (&mut self.conn, Some(&Provider::EQUINIX));
        session::heartbeat(conn, &[self.session]).await.unwrap();
        session::fence_check(conn, self.session).await.unwrap();
        let batch = work::claim(conn, &START, equinix, self.session, 1).await;
        for claimed in batch.unwrap().unwrap() {
            self.fail(&attempt(&claimed, &START, self.session), 1, "no answer")
                .await;
        }
        let conn = &mut self.conn;
        work::claim(conn, &START, None, self.session, 0)
            .await
            .unwrap();
        let machine = self.rows("SELECT machine_id FROM machines LIMIT 1").await;
        let machine = machine[0].parse().unwrap();
        plan::machines(&mut self.conn, &[machine]).await.unwrap();
        let attempt = self.claim_machine(machine, &crate::scenario::ACCESS).await;
        self.cancel(&attempt).await;
        let mut hot = Vec::new();
        for (name, part) in HOT {
            let mut found = self.prepared().await;
            found.retain(|text| {
                text.contains(part) && (part != "FOR KEY SHARE" || text.len() < 300)
            });
            assert_eq!(found.len(), 1, "{name}");
            hot.push((name, found.remove(0)));
        }
        hot
    }

    /// The plan that serves all parameters.
    async fn generic_plan(&self, statement: &str) -> Vec<String> {
        let binds = (1..).take_while(|bind| statement.contains(&format!("${bind}")));
        let nulls = vec!["NULL"; binds.count()].join(", ");
        let sql = format!(
            "SET plan_cache_mode = force_generic_plan;
             PREPARE hot AS {statement}; EXPLAIN (COSTS OFF) EXECUTE hot ({nulls})"
        );
        self.rows(&sql).await
    }
}

/// Nodes that read all of a table that grows with the fleet.
fn whole_reads(plan: &[String]) -> Vec<&String> {
    let reads_large = |line: &&String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        line.contains("Seq Scan on") && LARGE.iter().any(|large| words.contains(large))
    };
    plan.iter().filter(reads_large).collect()
}

async fn check(machines: u32, situation: Situation) {
    for analyzed in [false, true] {
        let fleet = Fleet::of(machines);
        let mut s = fleet.scenario(situation).await;
        if analyzed {
            s.db.execute("VACUUM ANALYZE").await.unwrap();
        }
        for (name, text) in s.hot().await {
            let plan = s.generic_plan(&text).await;
            assert!(
                whole_reads(&plan).is_empty(),
                "{name} with {machines} machines, {situation:?}, analyzed: {analyzed}: {plan:#?}"
            );
            if name == "the claim" {
                let due = plan
                    .iter()
                    .filter(|line| line.contains("using work_item_due "));
                assert_eq!(due.count(), 2, "candidate and due: {plan:#?}");
            }
        }
    }
}

#[tokio::test]
async fn generic_plans_use_the_indexes_when_nothing_is_eligible() {
    check(1_000, Situation::NothingEligible).await;
    check(100_000, Situation::NothingEligible).await;
}

#[tokio::test]
async fn generic_plans_use_the_indexes_when_everything_is_eligible() {
    check(1_000, Situation::AllEligible).await;
    check(100_000, Situation::AllEligible).await;
}

#[tokio::test]
async fn generic_plans_use_the_indexes_when_one_percent_is_eligible() {
    check(1_000, Situation::OnePercentEligible).await;
    check(100_000, Situation::OnePercentEligible).await;
}

#[tokio::test]
async fn a_connection_that_was_set_up_plans_once_but_not_in_a_caller_s_transaction() {
    let mut s = Scenario::new().await;
    connection::set_up(&mut s.conn).await.unwrap();
    let mode = "SELECT current_setting('plan_cache_mode') AS text";
    let isolation = connection::Isolation::default();
    assert_eq!(s.texts(mode).await, ["force_generic_plan"]);
    connection::begin(&mut s.conn, isolation, connection::Access::ReadOnly)
        .await
        .unwrap();
    assert_eq!(s.texts(mode).await, ["auto"]);
    connection::commit(&mut s.conn).await.unwrap();
    assert_eq!(s.texts(mode).await, ["force_generic_plan"]);
}
