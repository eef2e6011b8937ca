//! What it costs to observe who listens to agents.

use crate::scenario::Scenario;
use bmdb_testkit::Template;

/// Agents of two providers; nobody hears the second one's.
fn fleet(machines: u32) -> Template {
    Template::new().sql(format!(
        "DELETE FROM agent_listening;
         INSERT INTO machines (machine_id) SELECT md5(n::text)::uuid FROM generate_series(1, {machines}) n;
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         SELECT md5(n::text)::uuid, CASE n % 2 WHEN 0 THEN 'Equinix' ELSE 'Lumen' END, n
         FROM generate_series(1, {machines}) n;
         INSERT INTO machine_agent_heartbeat
         SELECT md5(n::text)::uuid, now() - interval '1 hour' FROM generate_series(1, {machines}) n"
    ))
}

async fn buffers(s: &Scenario) -> usize {
    let explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT observe_listening()";
    let plan: serde_json::Value = serde_json::from_str(&s.rows(explain).await[0]).unwrap();
    let of = |kind: &str| usize::try_from(plan[0]["Plan"][kind].as_u64().unwrap()).unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

#[tokio::test]
async fn an_observation_costs_the_same_in_any_fleet_in_which_somebody_is_heard() {
    let mut costs = Vec::new();
    for machines in [1_000, 100_000] {
        let s = Scenario::on(fleet(machines).database().await.unwrap()).await;
        let beat = "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = now()
                    WHERE machine_id IN (md5('7')::uuid, md5('8')::uuid)";
        s.db.run_sql(beat).await.unwrap();
        s.db.run_sql("SELECT observe_listening()").await.unwrap();
        s.advance(31).await;
        // Each connection looks into the catalog first.
        let own = "UPDATE agent_listening SET observed_at = '-infinity'";
        s.db.run_sql(own).await.unwrap();
        let first = buffers(&s).await;
        costs.push((first, buffers(&s).await));
    }
    let [(small, idle), (large, idle_too)] = costs[..] else {
        unreachable!("two fleets")
    };
    assert!(large < small + 60, "{costs:?}");
    assert!(idle_too < idle + 20, "{costs:?}");
}

#[tokio::test]
async fn a_search_that_finds_nothing_is_repeated_the_more_seldom_the_longer_it_takes() {
    let mut s = Scenario::on(fleet(100_000).database().await.unwrap()).await;
    s.observe().await;
    let pauses = "SELECT pause BETWEEN '5 seconds' AND '30 seconds' FROM agent_listening";
    assert_eq!(s.rows(pauses).await, ["t", "t"]);
    assert!(!s.listening().await.listened);
}
