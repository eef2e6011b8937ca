//! Lists for people: the rows of a page, consecutive pages without a gap, and the cost of a page.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{ACCESS, MINUTE, RECOVERY, START, Scenario};
use crate::snapshots::buffers;
use bmdb_model::backoff::{self, Which};
use bmdb_model::session::{self, ClaimedCount};
use bmdb_model::work::{self, ClaimedFilter, STUCK_AFTER};
use bmdb_model::{Error, MachineId, Page, Process, SessionId};
use std::str::FromStr;

/// Reads a whole list in pages of two, through the texts of their keys.
async fn whole<T, K>(mut page: impl AsyncFnMut(Option<&K>) -> Result<Page<T, K>, Error>) -> Vec<T>
where
    K: FromStr<Err: std::fmt::Debug> + ToString,
{
    let mut all = Vec::new();
    let mut after: Option<K> = None;
    loop {
        let page = page(after.as_ref()).await.unwrap();
        assert!(page.rows.len() <= 2);
        all.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => return all,
        }
    }
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

impl Scenario {
    pub(crate) async fn machines(&self, count: usize) -> Vec<MachineId> {
        let mut machines = Vec::new();
        for id in 0..count {
            machines.push(self.provided(&id.to_string()).await);
        }
        machines
    }

    /// The buffers of a statement that this connection has prepared, run with these parameters as a
    /// reader's transaction would run it.
    pub(crate) async fn cost_of(&mut self, part: &str, parameters: &str) -> u64 {
        let text = self.text(part).await;
        let execute = format!("EXECUTE list ({parameters});");
        let sql = format!(
            "PREPARE list AS {text}; {execute} EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {execute}"
        );
        let rows = self.rows(&sql).await;
        let plan = rows.iter().position(|row| row.contains("Buffers: shared"));
        buffers(&rows[plan.unwrap()..])
    }
}

#[tokio::test]
async fn sessions_are_listed_newest_first_with_their_claimed_items() {
    let mut s = Scenario::new().await;
    let machines = s.machines(3).await;
    for machine in &machines {
        s.claim_machine(*machine, &ACCESS).await;
    }
    let mut expected = vec![(s.session, ClaimedCount::Exactly(3))];
    for _ in 0..4 {
        expected.push((s.another_session().await, ClaimedCount::Exactly(0)));
    }
    expected.reverse();
    let conn = &mut s.conn;
    let listed = whole(async |after: Option<&_>| session::page(conn, after, 2).await).await;
    let listed: Vec<_> = listed.iter().map(|l| (l.row.id, l.claimed)).collect();
    assert_eq!(listed, expected);

    let found = session::find(&mut s.conn, s.session)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.is_live, found.claimed),
        (true, ClaimedCount::Exactly(3))
    );
    s.db.expire(s.session).await.unwrap();
    let found = session::find(&mut s.conn, s.session)
        .await
        .unwrap()
        .unwrap();
    assert!(!found.is_live);
    let unknown = session::find(&mut s.conn, SessionId::random())
        .await
        .unwrap();
    assert_eq!(unknown, None);
}

#[tokio::test]
async fn claimed_work_is_listed_by_machine_and_filtered_by_process_session_and_time() {
    let mut s = Scenario::new().await;
    let machines = s.machines(5).await;
    for machine in &machines[..4] {
        s.claim_machine(*machine, &START).await;
    }
    s.advance(3600).await;
    let late = s.another_session().await;
    let first = std::mem::replace(&mut s.session, late);
    s.claim_machine(machines[4], &Process::from_static("Other"))
        .await;

    let mut list = async |filter: ClaimedFilter| {
        let conn = &mut s.conn;
        let held =
            whole(async |after: Option<&_>| work::claimed(conn, &filter, after, 2).await).await;
        held.iter().map(|work| work.machine).collect::<Vec<_>>()
    };
    let all = ClaimedFilter::default();
    assert_eq!(list(all.clone()).await, sorted(machines.clone()));
    let stuck = ClaimedFilter {
        claimed_for: Some(STUCK_AFTER),
        ..all.clone()
    };
    assert_eq!(list(stuck).await, sorted(machines[..4].to_vec()));
    let of_process = ClaimedFilter {
        process: Some(START),
        ..all.clone()
    };
    assert_eq!(list(of_process).await, sorted(machines[..4].to_vec()));
    let of_session = ClaimedFilter {
        session: Some(late),
        ..all
    };
    assert_eq!(list(of_session).await, [machines[4]]);

    let held = work::claimed_on(&mut s.conn, machines[0])
        .await
        .unwrap()
        .remove(0);
    assert_eq!((held.session, held.component.as_str()), (first, "fixture"));
    assert!(held.due_since.unwrap() <= held.started_at);
    assert!((3600..3660).contains(&held.claimed_seconds), "{held:?}");
    let other = work::claimed_on(&mut s.conn, machines[4])
        .await
        .unwrap()
        .remove(0);
    assert_eq!(other.due_since, None, "nothing had said that it was due");
}

#[tokio::test]
async fn backoffs_of_unclaimed_items_are_listed_by_their_end() {
    let mut s = Scenario::new().await;
    let machines = s.machines(6).await;
    for (at, machine) in machines.iter().enumerate() {
        for process in [&START, &RECOVERY] {
            let attempt = s.claim_machine(*machine, process).await;
            let seconds = u32::try_from(100 * (at + 1)).unwrap();
            s.fail(
                &attempt,
                seconds + u32::from(process == &RECOVERY),
                "no answer",
            )
            .await;
        }
    }
    s.advance(350).await;
    s.claim_machine(machines[0], &START).await;

    let mut list = async |which, process: Option<&Process>| {
        let conn = &mut s.conn;
        let listed = async |after: Option<&_>| backoff::page(conn, which, process, after, 2).await;
        whole(listed).await
    };
    let at = |machine| machines.iter().position(|m| *m == machine).unwrap();
    let of_all = list(Which::Active, None).await;
    let places: Vec<_> = of_all
        .iter()
        .map(|b| (at(b.machine), b.process == START))
        .collect();
    assert_eq!(
        places,
        [
            (3, true),
            (3, false),
            (4, true),
            (4, false),
            (5, true),
            (5, false)
        ]
    );
    let of_one = list(Which::Active, Some(&START)).await;
    assert_eq!(
        of_one.iter().map(|b| at(b.machine)).collect::<Vec<_>>(),
        [3, 4, 5]
    );
    assert_eq!(
        (
            of_one[0].failures,
            of_one[0].losses,
            of_one[0].last_interval_seconds
        ),
        (1, 0, Some(400))
    );
    assert_eq!(of_one[0].cause.as_deref(), Some("no answer"));

    let expired = list(Which::Expired, None).await;
    let places: Vec<_> = expired
        .iter()
        .map(|b| (at(b.machine), b.process == START))
        .collect();
    assert_eq!(
        places,
        [(2, false), (2, true), (1, false), (1, true), (0, false)]
    );
    let of_one = list(Which::Expired, Some(&START)).await;
    assert_eq!(
        of_one.iter().map(|b| at(b.machine)).collect::<Vec<_>>(),
        [2, 1]
    );
    assert_eq!(list(Which::Expired, Some(&ACCESS)).await, []);
}

#[tokio::test]
async fn items_that_expired_three_times_or_failed_ten_times_in_a_row_are_poisoned() {
    let mut s = Scenario::new().await;
    let machines = s.machines(4).await;
    for (machine, counts) in
        machines
            .iter()
            .zip(["losses = 3", "failures = 10", "losses = 2", "failures = 9"])
    {
        s.db.run_sql(&format!(
            "UPDATE work_item SET {counts} WHERE machine_id = '{machine}'"
        ))
        .await
        .unwrap();
    }
    let conn = &mut s.conn;
    let listed = whole(async |after: Option<&_>| work::poisoned(conn, after, 2).await).await;
    let listed: Vec<_> = listed
        .iter()
        .map(|p| (p.machine, p.losses, p.failures))
        .collect();
    assert_eq!(
        listed,
        sorted(vec![(machines[0], 3, 0), (machines[1], 0, 10)])
    );
}

/// A fleet with a tenth of its items claimed, a tenth backing off, a tenth with a past backoff, and a
/// hundredth poisoned.
async fn busy(machines: u32) -> Scenario {
    let s = Fleet::of(machines).scenario(Situation::AllEligible).await;
    let sessions = "INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                        session_interval_seconds, session_deadline, session_created_at)
                    SELECT gen_random_uuid(), 'one of many', '', 60, now() + interval '1 hour',
                           now() - n * interval '1 second' FROM generate_series(1, 2000) n;
        UPDATE work_item SET started_at = now(), session_id = (SELECT min(session_id::text)::uuid FROM sessions)
        WHERE fence % 10 = 0;
        UPDATE work_item SET backoff_until = now() + fence * interval '1 second', cause = 'no answer'
        WHERE fence % 10 = 1;
        UPDATE work_item SET backoff_until = now() - fence * interval '1 second', cause = 'no answer'
        WHERE fence % 10 = 2;
        UPDATE work_item SET failures = 12 WHERE fence % 100 = 3";
    s.db.run_sql(sessions).await.unwrap();
    s.db.run_sql("VACUUM ANALYZE").await.unwrap();
    s
}

#[tokio::test]
async fn a_page_of_a_large_fleet_costs_some_buffers_for_each_of_its_rows() {
    let mut s = busy(30_000).await;
    let conn = &mut s.conn;
    work::poisoned(conn, None, 20).await.unwrap();
    for which in [Which::Active, Which::Expired] {
        for process in [Some(&START), None] {
            let page = backoff::page(conn, which, process, None, 20).await.unwrap();
            assert_eq!(page.rows.len(), 20);
        }
    }
    let of_process = "'ShepherdAgentStart', NULL, NULL, '', 21";
    let of_all = "NULL, NULL, NULL, '', 21";
    let middle = "'ShepherdAgentStart', now() + interval '500 seconds',
                  '80000000-0000-0000-0000-000000000000', 'P', 21";
    let mut costs = Vec::new();
    for (part, parameters) in [
        ("(SELECT $1::text)\n-- Backoffs in force", of_process),
        ("(SELECT $1::text)\n-- Backoffs in force", middle),
        ("(SELECT $1::text)\n-- Backoffs whose", of_process),
        (")\n\n-- Backoffs in force", of_all),
        (")\n\n-- Backoffs whose", of_all),
        ("work_poisoned", "NULL, '', 21"),
    ] {
        costs.push(s.cost_of(part, parameters).await);
    }
    // Each row is in a random page of the table, or found by its key.
    assert!(costs.iter().all(|cost| *cost <= 5 * 21 + 20), "{costs:?}");
}

#[tokio::test]
async fn lists_of_claimed_work_read_at_most_ten_thousand_items() {
    let mut s = Fleet::of(30_000).scenario(Situation::AllEligible).await;
    let hold = format!(
        "UPDATE work_item SET started_at = now(), session_id = '{}'",
        s.session
    );
    s.db.run_sql(&hold).await.unwrap();
    s.db.run_sql("VACUUM ANALYZE").await.unwrap();
    let mine = session::find(&mut s.conn, s.session)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(mine.claimed, ClaimedCount::AtLeast(10_001));

    let (mut after, mut pages) = (None, 0);
    let stuck = ClaimedFilter {
        claimed_for: Some(MINUTE * 60),
        ..ClaimedFilter::default()
    };
    while pages == 0 || after.is_some() {
        let page = work::claimed(&mut s.conn, &stuck, after.as_ref(), 20)
            .await
            .unwrap();
        assert_eq!(page.rows, []);
        (after, pages) = (page.next, pages + 1);
    }
    assert_eq!(
        pages, 4,
        "three that are full of others, and one that finds the end"
    );
    let all = work::claimed(&mut s.conn, &ClaimedFilter::default(), None, 20)
        .await
        .unwrap();
    assert_eq!(all.rows.len(), 20);
    let second = work::claimed(
        &mut s.conn,
        &ClaimedFilter::default(),
        all.next.as_ref(),
        20,
    )
    .await
    .unwrap();
    assert!(second.rows[0].machine > all.rows[19].machine);

    let cost = s
        .cost_of(
            "Claimed work, in the order",
            "NULL, '', NULL, NULL, NULL, 3600, 21",
        )
        .await;
    // Each item that is read is in a random page: as many buffers, and those of the index.
    assert!(cost <= 10_000 + 200, "{cost}");
    session::page(&mut s.conn, None, 20).await.unwrap();
    let cost = s
        .cost_of("Sessions, the newest first", "NULL, NULL, 21")
        .await;
    assert!(cost <= 10_000 + 300, "{cost}");
}
