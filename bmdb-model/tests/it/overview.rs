//! The overview's reads: their results, and that they cost the same in every fleet.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{RECOVERY, START, Scenario};
use crate::snapshots::buffers;
use bmdb_model::internal::connection::plan_once_sql;
use bmdb_model::overview::{self, Latency};
use bmdb_model::work::{self, ClaimedFilter, LongestClaimed, LongestClaimedKey};
use bmdb_model::{Error, MachineId, history};
use std::time::Duration;

impl Scenario {
    async fn longest(&mut self, filter: &ClaimedFilter) -> Vec<MachineId> {
        let longest = work::longest_claimed(&mut self.conn, filter, None, 10).await;
        let LongestClaimed { page, is_all, .. } = longest.unwrap();
        assert!(is_all);
        page.rows.into_iter().map(|row| row.machine).collect()
    }

    /// The buffers that a statement touches which this connection has prepared, the third time it runs.
    pub(crate) async fn buffers_of(&mut self, part: &str, arguments: &str) -> u64 {
        let statement = self.text(part).await;
        let execute = format!("EXECUTE read {arguments}");
        let sql = format!(
            "{} PREPARE read AS {statement}; {execute}; {execute};
             EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {execute}",
            plan_once_sql()
        );
        let rows = self.rows(&sql).await;
        buffers(&rows)
    }
}

#[tokio::test]
async fn the_longest_due_machine_of_each_process_is_found_across_providers() {
    let mut s = Scenario::new().await;
    let old = s.provided("old").await;
    s.advance(100).await;
    s.db.run_sql(
        "INSERT INTO machines SELECT gen_random_uuid() FROM generate_series(1, 3);
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
         SELECT machine_id, 'ShepherdRecovery', 'shepherd', NULL, true, clock_timestamp() - interval '1 min'
         FROM machines m WHERE NOT EXISTS (SELECT 1 FROM work_item i WHERE i.machine_id = m.machine_id) LIMIT 1;
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd', 'Lumen', true, clock_timestamp() - interval '50 s'
         FROM machines m WHERE NOT EXISTS (SELECT 1 FROM work_item i WHERE i.machine_id = m.machine_id) LIMIT 1",
    )
    .await
    .unwrap();
    let oldest = overview::oldest_due(&mut s.conn).await.unwrap();
    let found: Vec<_> = oldest
        .iter()
        .map(|due| (&due.process, due.is_possibly_due))
        .collect();
    assert_eq!(found, [(&START, false), (&RECOVERY, true)]);
    assert_eq!(oldest[0].machine, old);
    // Claimed items and those that back off do not wait.
    s.claim_machine(old, &START).await;
    let oldest = overview::oldest_due(&mut s.conn).await.unwrap();
    assert_eq!(oldest[0].provider.as_ref().unwrap().as_str(), "Lumen");
    s.db.run_sql("UPDATE work_item SET backoff_until = now() + interval '1 h'")
        .await
        .unwrap();
    assert_eq!(overview::oldest_due(&mut s.conn).await.unwrap(), []);
}

#[tokio::test]
async fn claimed_work_is_summarised_and_listed_longest_first() {
    let mut s = Scenario::new().await;
    let none = overview::claimed(&mut s.conn).await.unwrap();
    assert_eq!((none.claimed, none.stuck, none.latency), (0, 0, None));
    let (first, second) = (s.provided("a").await, s.provided("b").await);
    s.advance(10).await;
    s.claim_machine(first, &START).await;
    s.advance(3601).await;
    s.claim_machine(second, &START).await;
    let held = overview::claimed(&mut s.conn).await.unwrap();
    assert_eq!((held.claimed, held.stuck, held.is_all), (2, 1, true));
    let Latency {
        of,
        p50_ms,
        p95_ms,
        max_ms,
        ..
    } = held.latency.unwrap();
    assert_eq!(of, 2);
    assert!((10_000..20_000).contains(&p50_ms), "{p50_ms}");
    assert_eq!(p95_ms, max_ms);
    assert!((3_611_000..3_700_000).contains(&max_ms), "{max_ms}");

    assert_eq!(s.longest(&ClaimedFilter::default()).await, [first, second]);
    let of_another = ClaimedFilter {
        component: Some("nobody".to_owned()),
        ..ClaimedFilter::default()
    };
    assert_eq!(s.longest(&of_another).await, []);
    let of_this = ClaimedFilter {
        process: Some(START),
        component: Some("fixture".to_owned()),
        session: Some(s.session),
        ..ClaimedFilter::default()
    };
    assert_eq!(s.longest(&of_this).await, [first, second]);
    let all = ClaimedFilter::default();
    let page = work::longest_claimed(&mut s.conn, &all, None, 1)
        .await
        .unwrap()
        .page;
    let key: LongestClaimedKey = page.next.unwrap().to_string().parse().unwrap();
    let page = work::longest_claimed(&mut s.conn, &all, Some(&key), 1)
        .await
        .unwrap()
        .page;
    assert_eq!((page.rows[0].machine, page.next), (second, None));
    let nul = ClaimedFilter {
        component: Some("a\0".to_owned()),
        ..ClaimedFilter::default()
    };
    let refused = work::longest_claimed(&mut s.conn, &nul, None, 1).await;
    assert!(matches!(refused, Err(Error::NulByte { .. })), "{refused:?}");
}

#[tokio::test]
async fn sessions_are_counted_by_whether_they_live() {
    let mut s = Scenario::new().await;
    let dead = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.db.expire(dead).await.unwrap();
    let counted = overview::sessions(&mut s.conn).await.unwrap();
    assert_eq!((counted.live, counted.dead), (1, 1));
}

#[tokio::test]
async fn a_sessions_attempts_are_listed_in_pages_even_after_it_is_removed() {
    let mut s = Scenario::new().await;
    let machines = s.machines(5).await;
    let mut fences = Vec::new();
    for machine in &machines {
        let attempt = s.claim_machine(*machine, &START).await;
        fences.push(attempt.fence);
        s.fail(&attempt, 1, "x").await;
    }
    let first = s.session;
    let another = s.another_session().await;
    let nothing = history::of_session(&mut s.conn, another, None, 10).await;
    assert_eq!(nothing.unwrap().rows, []);
    // A streak belongs to the session that failed last.
    s.advance(2).await;
    s.session = another;
    let attempt = s.claim_machine(machines[0], &START).await;
    s.fail(&attempt, 1, "x").await;
    let taken_over = history::of_session(&mut s.conn, another, None, 10).await;
    let taken_over: Vec<_> = taken_over
        .unwrap()
        .rows
        .iter()
        .map(|a| (a.machine, a.fence, a.last_fence, a.repeats))
        .collect();
    assert_eq!(
        taken_over,
        [(machines[0], fences[0], attempt.fence, 1)],
        "the attempts"
    );

    let delete = format!("DELETE FROM sessions WHERE session_id = '{first}'");
    s.db.run_sql(&delete).await.unwrap();
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let page = history::of_session(&mut s.conn, first, after.as_ref(), 2).await;
        let page = page.unwrap();
        pages.push(page.rows.iter().map(|a| a.fence).collect::<Vec<_>>());
        let Some(next) = page.next else { break };
        after = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(
        pages,
        [vec![fences[4], fences[3]], vec![fences[2], fences[1]]],
        "the last claimed first"
    );
}

#[tokio::test]
async fn the_reads_of_the_overview_are_bounded_in_a_fleet_of_any_size() {
    let mut s = Fleet::of(100_000).scenario(Situation::ManyHeld).await;
    s.db.run_sql(
        "UPDATE work_item SET eligible = true, backoff_until = now() + interval '1 day', failures = 12
         WHERE fence % 20 = 2",
    )
    .await
    .unwrap();
    s.db.run_sql("VACUUM ANALYZE work_item").await.unwrap();
    let session = s.session;
    overview::oldest_due(&mut s.conn).await.unwrap();
    overview::sessions(&mut s.conn).await.unwrap();
    work::poisoned(&mut s.conn, None, 100).await.unwrap();
    let held = overview::claimed(&mut s.conn).await.unwrap();
    assert!((9_000..=10_000).contains(&held.claimed), "{held:?}");
    let longest = work::longest_claimed(&mut s.conn, &ClaimedFilter::default(), None, 50).await;
    assert_eq!(longest.unwrap().page.rows.len(), 50);
    let oldest = s
        .buffers_of("What has been due for longest of each", "")
        .await;
    assert!(oldest <= 30, "{oldest}");
    let sessions = s.buffers_of("FILTER (WHERE NOT is_live)", "(10000)").await;
    assert!(sessions <= 5, "{sessions}");
    let poisoned = s
        .buffers_of("FROM work_poisoned p JOIN", "(NULL, '', 101)")
        .await;
    assert!(poisoned <= 1_000, "{poisoned}");
    // An index entry and a page for each of the 10,000 items that are read.
    let held = s
        .buffers_of("Summary of claimed work", "(10001, 3600)")
        .await;
    assert!(held <= 11_000, "{held}");
    let all = "(NULL, NULL, NULL, 0, NULL, 0, 51)";
    let longest = s.buffers_of("Claimed work, the longest", all).await;
    assert!(longest <= 12_000, "{longest}");
    let attempts = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome)
         SELECT md5(n::text)::uuid, n, n, 'ShepherdAgentStart', '{session}', now(), now(), 'Canceled'
         FROM generate_series(1, 100000) n; ANALYZE work_attempt"
    );
    s.db.run_sql(&attempts).await.unwrap();
    let page = history::of_session(&mut s.conn, session, None, 50).await;
    assert_eq!(page.unwrap().rows.len(), 50);
    let of_session = format!("('{session}', 50000, 51)");
    let did = s
        .buffers_of("What a session did: the attempts", &of_session)
        .await;
    assert!(did <= 60, "{did}");
}
