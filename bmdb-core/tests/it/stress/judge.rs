//! The judges: the audit of attempts, and what only the stress's own logs can tell.

use super::journal::Facts;
use super::part::Plan;
use super::processes::Outcome;
use super::rows;
use super::summary::Summary;
use crate::scenario::RETRY;
use bmdb_model::{Fence, MachineId};
use bmdb_testkit::TestDb;
use bmdb_testkit::audit::{Rules, audit};
use std::collections::HashMap;

/// Each finds nothing in a lawful database; what it finds is a sentence.
const LAWS: [&str; 5] = [
    // A tag in the log was committed with the end of its attempt, or not at all.
    "SELECT 'machine ' || t.machine_id || ' fence ' || t.fence || ' has written ' || count(*)
            || ' times, and is recorded as ' || coalesce(min(a.outcome), 'nothing')
     FROM tag_log t LEFT JOIN work_attempt a USING (machine_id, fence)
     GROUP BY t.machine_id, t.fence
     HAVING count(*) > 1 OR min(a.outcome) IS DISTINCT FROM 'Finished'",
    // Whoever finished last in the lane wrote last: a recovery removes the tag, others set it. Agents
    // of before have the key "none".
    "SELECT 'machine ' || machine_id || ' has the tag of fence '
            || convert_from(s.agent_public_key, 'UTF8') || ', the last to write was fence '
            || coalesce(max(t.fence)::text, 'none')
     FROM machine_agent_started s LEFT JOIN tag_log t USING (machine_id)
     GROUP BY machine_id
     HAVING coalesce(max(t.fence)::text, 'none') <> convert_from(s.agent_public_key, 'UTF8')",
    // The heartbeat was committed before the claim's transaction began, and is of its sending or
    // later. So the plan by which the machine was claimed must have known it.
    "SELECT 'machine ' || machine_id || ' fence ' || fence || ' was recovered at '
            || a.started_at || ' although it had been heard from at ' || max(h.sent_at)
     FROM recovery_log r
     JOIN work_attempt a USING (machine_id, fence)
     JOIN heartbeat_log h USING (machine_id)
     WHERE h.acknowledged_at < r.began_at
       AND h.sent_at + interval '700 milliseconds' > a.started_at
     GROUP BY machine_id, fence, a.started_at",
    // Planned from scratch, an item would be as it is. A time-driven one may be too early.
    "WITH needed AS (
         SELECT machine_id, 'ShepherdAgentStart' AS process, provider, ready_at
         FROM workflow_agent_start
         UNION ALL
         SELECT machine_id, 'ShepherdRecovery', provider, ready_at FROM workflow_agent_recovery
     ), planned AS (
         SELECT * FROM work_item WHERE process IN ('ShepherdAgentStart', 'ShepherdRecovery')
     )
     SELECT 'the plan of machine ' || machine_id || ' for ' || process || ' is stale: eligible '
            || coalesce(i.eligible::text, 'never') || ', at ' || coalesce(i.plan_at::text, 'no time')
            || ', its workflow says ' || coalesce(n.ready_at::text, 'at once or not at all')
     FROM needed n FULL JOIN planned i USING (machine_id, process)
     WHERE coalesce(i.eligible, false) IS DISTINCT FROM
           (n.machine_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = n.machine_id))
        OR i.eligible AND (i.provider IS DISTINCT FROM n.provider OR i.plan_at > n.ready_at)",
    "SELECT 'machine ' || machine_id || ' is still held by session ' || session_id
     FROM work_item WHERE session_id IS NOT NULL",
];

/// Judges a run that has come to rest.
pub(super) async fn judge(
    plan: &Plan,
    db: &TestDb,
    outcome: Outcome,
    backends_killed: usize,
) -> Summary {
    let Outcome { facts, .. } = &outcome;
    let mut rules = Rules::new(RETRY);
    rules.claimed = Some(facts.claimed.clone());
    rules.acknowledged.clone_from(&facts.acknowledged);
    rules.refused.clone_from(&facts.refused);
    let audit = audit(db.url(), &rules).await.unwrap();
    let mut findings = broken_laws(db).await;
    findings.extend(lost_tags(db, facts).await);
    Summary {
        seed: plan.seed,
        time: plan.time,
        audit,
        findings,
        backends_killed,
        recoveries: count(db, "SELECT count(*) FROM recovery_log").await,
        heartbeats: count(db, "SELECT count(*) FROM heartbeat_log").await,
        deadlocks: count(db, &statistic("deadlocks")).await,
        rolled_back: count(db, &statistic("xact_rollback")).await,
        outcome,
    }
}

async fn broken_laws(db: &TestDb) -> Vec<String> {
    let mut findings = Vec::new();
    for law in LAWS {
        findings.extend(rows(db, law).await);
    }
    findings
}

/// What a finish wrote that was acknowledged is there.
async fn lost_tags(db: &TestDb, facts: &Facts) -> Vec<String> {
    let log = rows(db, "SELECT machine_id, fence FROM tag_log").await;
    let mut written: HashMap<(MachineId, Fence), usize> = HashMap::new();
    for row in log {
        let (machine, fence) = row.split_once('|').unwrap();
        let tag = (machine.parse().unwrap(), Fence::new(fence.parse().unwrap()));
        *written.entry(tag).or_default() += 1;
    }
    let lost = facts.tagged.iter().filter(|tag| !written.contains_key(tag));
    lost.map(|(machine, fence)| {
        format!("machine {machine} fence {fence} finished, but its tags were not written")
    })
    .collect()
}

fn statistic(column: &str) -> String {
    format!("SELECT {column} FROM pg_stat_database WHERE datname = current_database()")
}

async fn count(db: &TestDb, sql: &str) -> usize {
    rows(db, sql).await[0].parse().unwrap()
}

#[tokio::test]
async fn the_judges_find_what_a_stranger_wrote_and_a_stale_plan() {
    let db = super::fleet::new("").await;
    assert_eq!(broken_laws(&db).await, [""; 0]);
    let [stranger, stale] = {
        let bare = "SELECT machine_id FROM machines
                    WHERE machine_id NOT IN (SELECT machine_id FROM machine_agent_started) LIMIT 2";
        let machines = rows(&db, bare).await;
        <[String; 2]>::try_from(machines).unwrap()
    };
    let sabotage = format!(
        "INSERT INTO machine_agent_started VALUES ('{stranger}', now(), '7');
         INSERT INTO tag_log (machine_id, fence) VALUES ('{stranger}', 8);
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at,
                                   ended_at, outcome)
         VALUES ('{stranger}', 8, 8, 'ShepherdAccess', gen_random_uuid(), now(), now(), 'Canceled');
         UPDATE work_item SET eligible = false, plan_at = NULL WHERE machine_id = '{stale}';"
    );
    db.run_sql(&sabotage).await.unwrap();
    let found = broken_laws(&db).await.join("\n");
    for expected in [
        format!("machine {stranger} fence 8 has written 1 times, and is recorded as Canceled"),
        format!("machine {stranger} has the tag of fence 7, the last to write was fence 8"),
        format!("the plan of machine {stale} for ShepherdAgentStart is stale: eligible false"),
        format!("the plan of machine {stranger} for ShepherdRecovery is stale: eligible never"),
    ] {
        assert!(found.contains(&expected), "{expected}\n{found}");
    }
    let unwritten = (stale.parse().unwrap(), Fence::new(9));
    let facts = Facts {
        tagged: vec![unwritten],
        ..Facts::default()
    };
    assert_eq!(lost_tags(&db, &facts).await.len(), 1);
}
