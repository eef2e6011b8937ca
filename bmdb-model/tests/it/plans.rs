//! The generic plans of frequent statements use the indexes, whatever the statistics.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{ACCESS, START, Scenario};
use bmdb_model::internal::{self, session, work};
use bmdb_model::tag::{self, TagName};
use bmdb_model::{AgentStarted, Provider, agent, connection, plan};

/// A part of each statement that no other prepared statement contains.
const HOT: [(&str, &str); 12] = [
    ("the claim", "i.provider = $2"),
    ("the claim for any provider", "$2::text IS NULL"),
    ("failing", "Ends attempts of one session as failed"),
    (
        "releasing",
        "Ends attempts of one session without a failure",
    ),
    ("the heartbeat", "Moves the deadlines"),
    ("the fence check", "FOR KEY SHARE"),
    ("planning", "eligible OR planned"),
    ("finishing", "others AS ("),
    ("beginning to finish", "Begins the end of attempts"),
    (
        "agents that start",
        "Sets the tag of many machines, and deletes heartbeats",
    ),
    (
        "unsetting agents",
        "Deletes the agent tags of many machines",
    ),
    (
        "unsetting heartbeats",
        "Deletes the heartbeats of many machines",
    ),
];

/// What a statement with such a part does not contain, because there is another one with the part.
const WITHOUT: [(&str, &str); 2] = [("the fence check", "WITH"), ("planning", "others AS (")];

/// Tables that have one row, or one for each provider, and are read as a whole.
const SMALL: [&str; 2] = ["definitions_version", "agent_listening"];

impl Scenario {
    /// Prepares all frequent statements by running them once, and returns their texts.
    async fn hot(&mut self) -> Vec<(&'static str, String)> {
        let (conn, equinix) = (&mut self.conn, Some(&Provider::EQUINIX));
        session::heartbeat(conn, &[self.session]).await.unwrap();
        session::fence_check(conn, self.session).await.unwrap();
        for provider in [equinix, None] {
            let claimed = work::claim(conn, &START, provider, self.session, 0).await;
            claimed.unwrap().expect("the session lives");
        }
        let machine = self.rows("SELECT machine_id FROM machines LIMIT 1").await;
        let machine = machine[0].parse().unwrap();
        plan::replan(&mut self.conn, &[machine]).await.unwrap();
        let agent = AgentStarted::now(b"key");
        agent::set_started(&mut self.conn, machine, &agent)
            .await
            .unwrap();
        for tag in [TagName::AgentHeartbeat, TagName::AgentStarted] {
            tag::unset(&mut self.conn, machine, tag).await.unwrap();
        }
        let attempt = self.claim_machine(machine, &ACCESS).await;
        self.cancel(&attempt).await;
        let attempt = self.claim_machine(machine, &ACCESS).await;
        self.fail(&attempt, 1, "no answer").await;
        let attempt = self.claim_machine(machine, &START).await;
        self.finish(&attempt).await;
        let mut hot = Vec::new();
        for (name, part) in HOT {
            let mut found = self.prepared().await;
            found.retain(|text| {
                let without = WITHOUT.iter().filter(|(of, _)| *of == name);
                text.contains(part) && without.clone().all(|(_, part)| !text.contains(part))
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
            "{} PREPARE hot AS {statement}; EXPLAIN (COSTS OFF) EXECUTE hot ({nulls})",
            internal::connection::plan_once_sql()
        );
        self.rows(&sql).await
    }
}

/// Nodes that read all of a table.
fn whole_reads(plan: &[String]) -> Vec<&String> {
    let reads = |line: &&String| line.contains("Seq Scan on") && !is_small(line);
    plan.iter().filter(reads).collect()
}

fn is_small(line: &str) -> bool {
    SMALL.iter().any(|table| line.contains(table))
}

/// Scans of indexes that have nothing to look for, and so read all of them.
fn aimless_scans(plan: &[String]) -> Vec<&String> {
    let mut scans = Vec::new();
    for (at, line) in plan.iter().enumerate() {
        let node = plan[at + 1..]
            .iter()
            .take_while(|line| !line.contains("->"));
        let has_aim = |line: &String| line.contains("Index Cond:");
        if line.contains(" using ")
            && line.contains("Index")
            && !is_small(line)
            && !node.into_iter().any(has_aim)
        {
            scans.push(line);
        }
    }
    scans
}

impl Scenario {
    async fn check(&self, hot: &[(&str, String)], when: &str) {
        for (name, text) in hot {
            let plan = self.generic_plan(text).await;
            assert!(whole_reads(&plan).is_empty(), "{name}, {when}: {plan:#?}");
            assert!(aimless_scans(&plan).is_empty(), "{name}, {when}: {plan:#?}");
            if ["failing", "releasing"].contains(name) {
                // All claimed items would be read for each item of a batch.
                let held = plan.iter().find(|line| line.contains("work_item_lane"));
                assert_eq!(held, None, "{name}, {when}: {plan:#?}");
            }
            if *name == "failing" {
                // A row is folded into by its place, and what was folded is looked up in a hash.
                for part in ["Tid Scan on work_attempt", "hashed SubPlan"] {
                    let found = plan.iter().any(|line| line.contains(part));
                    assert!(found, "{part}, {when}: {plan:#?}");
                }
            }
            if *name == "the claim" {
                let due = plan
                    .iter()
                    .filter(|line| line.contains("using work_item_due "));
                assert_eq!(due.count(), 2, "candidate and due, {when}: {plan:#?}");
            }
        }
    }
}

async fn check(machines: u32) {
    let mut s = Fleet::of(machines)
        .scenario(Situation::NothingEligible)
        .await;
    let hot = s.hot().await;
    s.check(&hot, "never analyzed").await;
    for situation in [
        Situation::NothingEligible,
        Situation::OnePercentEligible,
        Situation::AllEligible,
    ] {
        s.db.run_sql(&situation.sql()).await.unwrap();
        s.db.run_sql("VACUUM ANALYZE work_item").await.unwrap();
        s.db.run_sql(
            "ANALYZE machines, machine_provided, machine_agent_started,
                      machine_agent_heartbeat, work_attempt, sessions, process_def",
        )
        .await
        .unwrap();
        s.check(&hot, &format!("analyzed with {situation:?}")).await;
    }
}

#[tokio::test]
async fn generic_plans_of_a_small_fleet_use_the_indexes_whatever_the_statistics() {
    check(1_000).await;
}

#[tokio::test]
async fn generic_plans_of_a_large_fleet_use_the_indexes_whatever_the_statistics() {
    check(100_000).await;
}

#[tokio::test]
async fn a_statement_is_planned_once_outside_of_transactions_and_as_usual_inside() {
    let mut s = Scenario::new().await;
    internal::connection::plan_once(&mut s.conn).await.unwrap();
    let mode = "SELECT concat_ws(' ', current_setting('plan_cache_mode'),
                    current_setting('enable_seqscan')) AS text";
    let isolation = connection::Isolation::default();
    assert_eq!(s.texts(mode).await, ["force_generic_plan off"]);
    internal::connection::begin(&mut s.conn, isolation, connection::Access::ReadOnly)
        .await
        .unwrap();
    assert_eq!(s.texts(mode).await, ["auto on"]);
    internal::connection::commit(&mut s.conn).await.unwrap();
    assert_eq!(s.texts(mode).await, ["force_generic_plan off"]);
}
