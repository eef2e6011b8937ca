//! The cost of a finish with a tag: the item is written once, and the plan that a connection keeps reads a few
//! pages in any fleet.

use crate::cost::{buffers, fleets};
use crate::fleet::{Fleet, Situation};
use crate::scenario::{START, Scenario};
use bmdb_model::internal::connection::{plan_once, plan_once_sql};
use bmdb_model::internal::plan::KnownDefinitions;
use bmdb_model::internal::work::{self, Attempt, Ended, Finish, How, Jitter};
use bmdb_model::{AgentStarted, MachineId, TagWrites};
use serde_json::Value;

/// How often a finish goes down an index, at most: the items, tags and holds that the views look at for one
/// machine, and the new entries of the item, of the attempt and of the next process's item.
const DESCENTS: usize = 30;

/// The most pages that a finish touches in the smallest fleet, most of them roots and leaves of indexes.
const MOST: usize = 200;

impl Scenario {
    /// Finishes an attempt, and writes that the agent was started.
    async fn finish_started(&mut self, attempt: &Attempt) {
        let writes = TagWrites::new().agent_started(AgentStarted::now(b"key"));
        let finishes = [Finish {
            attempt,
            jitter: Jitter::default(),
            writes: &writes,
        }];
        let (known, how) = (KnownDefinitions::default(), How::default());
        let finished = work::finish_all(&mut self.conn, self.session, &finishes, &known, how);
        let ended = finished.await.unwrap().ended;
        assert!(matches!(ended[..], [Ended::Done(None)]), "{ended:?}");
    }

    /// The text of the statement that plans and finishes, as this database's definitions make it.
    async fn finishing(&mut self) -> String {
        let machine = self.provided("prepares the statement").await;
        let attempt = self.claim_machine(machine, &START).await;
        self.finish_started(&attempt).await;
        let mut prepared = self.prepared().await;
        prepared.retain(|text| text.contains("others AS ("));
        assert_eq!(prepared.len(), 1, "{prepared:?}");
        prepared.remove(0)
    }

    /// Runs the statement for a machine.
    async fn execute(&self, attempts: &[&Attempt]) -> String {
        let definitions = "SELECT quote_literal((SELECT version FROM definitions_version)),
                quote_literal(array_agg(process ORDER BY process)), quote_literal(array_agg(lane ORDER BY process)),
                quote_literal(array_agg(rest_initial_seconds ORDER BY process)),
                quote_literal(array_agg(rest_maximum_seconds ORDER BY process)),
                quote_literal(array_agg(flapping_within_seconds ORDER BY process))
            FROM process_def WHERE workflow IS NOT NULL";
        let definitions = self.rows(definitions).await.remove(0).replace('|', ", ");
        let machines: Vec<String> = attempts.iter().map(|a| a.machine.to_string()).collect();
        let fences: Vec<String> = attempts.iter().map(|a| a.fence.to_string()).collect();
        format!(
            "EXECUTE finishing ('{{{}}}', {definitions}, '{}', '{{{}}}', '{{{}}}', '{{{}}}');",
            machines.join(","),
            self.session,
            fences.join(","),
            vec!["0"; fences.len()].join(","),
            vec!["now"; fences.len()].join(","),
        )
    }

    /// The pages that finishing touches, with a plan that is made before `filling`; rolled back. It runs before,
    /// or looking into the catalog would be counted.
    async fn finish_cost(&self, text: &str, attempt: &Attempt, filling: &str) -> usize {
        touched(&self.finish_plan(text, attempt, filling).await)
    }

    async fn finish_plan(&self, text: &str, attempt: &Attempt, filling: &str) -> Value {
        let set = plan_once_sql();
        let (none, execute) = (self.execute(&[]).await, self.execute(&[attempt]).await);
        let tag = format!(
            "INSERT INTO machine_agent_started VALUES ('{}', now(), 'key');",
            attempt.machine
        );
        let sql = format!(
            "{set} PREPARE finishing AS {text}; {none} {filling}
             SAVEPOINT before; {tag} {execute} ROLLBACK TO before;
             {tag} EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute} ROLLBACK"
        );
        let rows = self.rows(&format!("BEGIN; {sql}")).await;
        let explained = rows.iter().find(|row| row.starts_with('[')).unwrap();
        let explained: Value = serde_json::from_str(explained).unwrap();
        explained[0]["Plan"].clone()
    }
}

/// The pages that are read by scans, without those that a write looks for room in: after tables were filled in
/// the same transaction, versions from 16 on look into many.
fn scanned(plan: &Value) -> usize {
    match plan["Plans"].as_array() {
        None => buffers(plan),
        Some(parts) => parts.iter().map(scanned).sum(),
    }
}

/// Parts that run after the others are not contained in the whole.
fn touched(plan: &Value) -> usize {
    let parts = plan["Plans"].as_array().into_iter().flatten();
    buffers(plan).max(parts.map(touched).sum())
}

/// A machine of a fleet, which is due.
async fn claimed(s: &mut Scenario) -> Attempt {
    let machine = s.rows("SELECT md5('7')::uuid").await;
    let machine: MachineId = machine[0].parse().unwrap();
    s.claim_machine(machine, &START).await
}

#[tokio::test]
async fn a_finish_with_a_tag_touches_as_many_pages_in_any_fleet() {
    let mut costs = Vec::new();
    for machines in fleets() {
        let mut s = Fleet::of(machines)
            .scenario(Situation::NothingEligible)
            .await;
        let text = s.finishing().await;
        let attempt = claimed(&mut s).await;
        let never_analyzed = s.finish_cost(&text, &attempt, "").await;
        s.db.run_sql("VACUUM ANALYZE work_item, machines, machine_provided")
            .await
            .unwrap();
        costs.push((never_analyzed, s.finish_cost(&text, &attempt, "").await));
    }
    for (levels, (never_analyzed, analyzed)) in costs.iter().enumerate() {
        let most = MOST + DESCENTS * levels;
        assert!(*never_analyzed <= most && *analyzed <= most, "{costs:?}");
    }
}

#[tokio::test]
async fn a_plan_that_was_made_while_the_tables_were_empty_uses_the_indexes_when_they_are_full() {
    let mut s = Scenario::new().await;
    let text = s.finishing().await;
    let machine = s.provided("1").await;
    let attempt = s.claim_machine(machine, &START).await;
    let few = scanned(&s.finish_plan(&text, &attempt, "").await);
    let filling = "INSERT INTO machines (machine_id)
             SELECT md5(n::text)::uuid FROM generate_series(1, 20000) n;
         INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT md5(n::text)::uuid, 'Equinix', 'n' || n FROM generate_series(1, 20000) n;
         INSERT INTO machine_agent_started
             SELECT md5(n::text)::uuid, now(), 'key' FROM generate_series(1, 20000) n;
         INSERT INTO machine_agent_heartbeat
             SELECT md5(n::text)::uuid, now() FROM generate_series(1, 20000) n;
         INSERT INTO work_item (machine_id, process, lane, provider, plan_at, eligible)
             SELECT md5(n::text)::uuid, 'ShepherdRecovery', 'shepherd', 'Equinix', now(), true
             FROM generate_series(1, 20000) n;";
    let many = scanned(&s.finish_plan(&text, &attempt, filling).await);
    assert!(few <= MOST && many <= MOST + 2 * DESCENTS, "{few} {many}");
}

#[tokio::test]
async fn an_item_is_written_once_when_its_attempt_is_finished_with_a_tag() {
    let mut s = Scenario::new().await;
    s.provided("1").await;
    s.db.run_sql(
        "CREATE TABLE item_write (process text, operation text);
         CREATE FUNCTION note_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             INSERT INTO public.item_write VALUES (NEW.process, TG_OP);
             RETURN NULL;
         END $$;
         CREATE TRIGGER note_write AFTER INSERT OR UPDATE ON work_item
             FOR EACH ROW EXECUTE FUNCTION note_write()",
    )
    .await
    .unwrap();
    let attempt = s.claim_one(&START).await;
    s.db.run_sql("DELETE FROM item_write").await.unwrap();
    s.finish_started(&attempt).await;
    let writes = s.rows("SELECT * FROM item_write ORDER BY process").await;
    assert_eq!(
        writes,
        ["ShepherdAgentStart|UPDATE", "ShepherdRecovery|INSERT"]
    );
}

#[tokio::test]
async fn finishes_of_a_connection_share_one_generic_plan() {
    let mut s = Scenario::new().await;
    plan_once(&mut s.conn).await.unwrap();
    for id in ["1", "2", "3", "4", "5", "6", "7"] {
        s.provided(id).await;
        let attempt = s.claim_one(&START).await;
        s.finish_started(&attempt).await;
    }
    let plans = "SELECT generic_plans || ' ' || custom_plans AS text FROM pg_prepared_statements
                 WHERE NOT from_sql AND statement NOT LIKE '%pg_prepared_statements%'
                   AND (statement LIKE '%others AS (%' OR statement LIKE '%Begins the end of attempts%')";
    assert_eq!(s.texts(plans).await, ["7 0", "7 0"]);
}
