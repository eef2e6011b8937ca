//! Limits: never more than allowed, whatever the number of programs; and every end frees its slots.

use crate::scenario::{START, Scenario, attempt, failed};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::connection;
use bmdb_model::internal::items_lock;
use bmdb_model::internal::process_control::{remove_limit, set_limit};
use bmdb_model::internal::work::{self, Ended};
use bmdb_model::process_control::{self, Limit, Per};
use bmdb_model::{Error, MachineId, Process, Provider, SessionId, internal, machine};
use bmdb_testkit::TestDb;
use diesel_async::AsyncPgConnection;
use futures_util::future::join_all;
use std::time::{Duration, Instant};

impl Scenario {
    /// Changes limits as an operator does: no claim and no end is under way meanwhile.
    pub(crate) async fn change<T>(
        &self,
        change: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut conn = self.db.connect().await.unwrap();
        connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
        items_lock::lock(&mut conn).await?;
        let changed = change(&mut conn).await;
        match changed {
            Ok(_) => connection::commit(&mut conn).await?,
            Err(_) => connection::roll_back(&mut conn).await?,
        }
        changed
    }

    pub(crate) async fn limit(&self, limit: Limit) -> Option<Limit> {
        let set = async |conn: &mut AsyncPgConnection| set_limit(conn, &START, &limit).await;
        self.change(set).await.unwrap()
    }

    /// `taken/maximum` of each partition, running and starts.
    async fn used(&mut self, per: Per) -> Vec<String> {
        let found = process_control::of(&mut self.conn, &START).await.unwrap();
        let limits = found.limits.iter().filter(|limit| limit.limit.per == per);
        let partitions = limits.flat_map(|limit| &limit.partitions);
        let text = |used: Option<process_control::SlotUse>| used.map(|used| used.to_string());
        let used = partitions.map(|p| {
            let parts: Vec<String> = [text(p.running), text(p.starts)]
                .into_iter()
                .flatten()
                .collect();
            format!("{} {}", p.name, parts.join(" "))
        });
        used.collect()
    }

    async fn some_machines(&self, provider: &Provider, count: usize) -> Vec<MachineId> {
        let mut machines = Vec::new();
        for n in 0..count {
            let machine = self
                .db
                .machine()
                .provided(provider, &format!("{n}"))
                .planned();
            machines.push(machine.create().await.unwrap());
        }
        machines
    }
}

fn per_process() -> Limit {
    Limit::new(Per::Process)
}

fn per_provider() -> Limit {
    Limit::new(Per::Provider)
}

/// The most attempts that ran at once, and the most that started within a window, by partition.
const EXCESS: &str = "
    WITH attempt AS (
        SELECT a.started_at, a.ended_at, p.provider FROM work_attempt a JOIN machine_provided p USING (machine_id)
        UNION ALL
        SELECT i.started_at, 'infinity', i.provider FROM work_item i WHERE i.session_id IS NOT NULL
    )
    SELECT coalesce(max((SELECT count(*) FROM attempt b
                WHERE b.started_at <= a.started_at AND b.ended_at > a.started_at)), 0) <= 3,
           coalesce(max((SELECT count(*) FROM attempt b
                WHERE b.started_at <= a.started_at AND b.ended_at > a.started_at
                  AND b.provider = a.provider)), 0) <= 2,
           coalesce(max((SELECT count(*) FROM attempt b
                WHERE b.provider = a.provider
                  AND b.started_at BETWEEN a.started_at - interval '1 second' AND a.started_at)), 0) <= 7,
           count(*) > 20
    FROM attempt a";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_claimers_never_exceed_limits_and_leak_no_slot() {
    let s = Scenario::new().await;
    // Planned by hand, so many that no machine is claimed twice.
    s.db.run_sql(
        "INSERT INTO machines SELECT gen_random_uuid() FROM generate_series(1, 600);
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         SELECT machine_id, CASE WHEN row_number() OVER () % 2 = 0 THEN 'Equinix' ELSE 'fra1' END, machine_id
         FROM machines;
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd', provider, true, clock_timestamp() - interval '1 min'
         FROM machine_provided",
    )
    .await
    .unwrap();
    s.limit(per_process().max_running(3)).await;
    s.limit(per_provider().max_running(2).max_starts(7, 1))
        .await;
    let until = Instant::now() + Duration::from_secs(4);
    let workers = (0..6)
        .map(|worker| tokio::spawn(work_until(s.db.url().to_owned(), s.session, worker, until)));
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    assert_eq!(s.rows(EXCESS).await, ["t|t|t|t"]);
    let taken =
        "SELECT count(*) FROM process_slot WHERE kind = 'Running' AND free_at > clock_timestamp()";
    assert_eq!(s.rows(taken).await, ["0"]);
}

/// Claims by every way there is, and ends by every way there is.
async fn work_until(url: String, session: SessionId, worker: u64, until: Instant) {
    use diesel_async::AsyncConnection;
    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
    let fra1 = Provider::from_static("fra1");
    for round in 0.. {
        if Instant::now() > until {
            return;
        }
        let provider = match (round + worker) % 3 {
            0 => None,
            1 => Some(&Provider::EQUINIX),
            _ => Some(&fra1),
        };
        let claimed = match round % 4 {
            0 => claim_by_hand(&mut conn, session).await,
            _ => work::claim(&mut conn, &START, provider, session, 3)
                .await
                .map(|claimed| claimed.unwrap()),
        };
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                assert!(
                    error.kind().is_retryable() || error.kind() == bmdb_model::ErrorKind::LaneTaken,
                    "{error}"
                );
                continue;
            }
        };
        if claimed.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for claimed in claimed {
            tokio::time::sleep(Duration::from_millis((worker * 7 + round) % 20)).await;
            let attempt = attempt(&claimed, &START, session);
            let ended = match round % 3 {
                0 => {
                    let cause = format!("{worker} {round}");
                    let failed = failed(3600, &cause);
                    let ended = work::fail(&mut conn, &attempt, &failed).await;
                    matches!(ended, Ok(Ended::Done(_)))
                }
                1 => {
                    let ended = work::finish(&mut conn, &attempt).await;
                    matches!(ended, Ok(Ended::Done(_)))
                }
                _ => work::cancel(&mut conn, &attempt).await.unwrap() == Ended::Done(()),
            };
            assert!(ended, "{attempt:?}");
        }
    }
}

/// As `Session::work` does, of a machine that has an item.
async fn claim_by_hand(
    conn: &mut AsyncPgConnection,
    session: SessionId,
) -> Result<Vec<work::Claimed>, Error> {
    connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
    let claimed = async {
        let machines = machine::page(conn, None, 600).await?;
        let gates = work::gates(conn, &START, &machines).await?;
        let open: Vec<MachineId> = gates
            .into_iter()
            .filter(|(_, gate)| *gate == work::Gate::Open)
            .map(|(machine, _)| machine)
            .collect();
        let Some(machine) = internal::machine::lock_first_free(conn, &open).await? else {
            return Ok(None);
        };
        if work::gates(conn, &START, &[machine]).await? != [(machine, work::Gate::Open)] {
            return Ok(None);
        }
        work::claim_machine(conn, machine, &START, session).await
    }
    .await;
    match claimed {
        Ok(claimed) => {
            connection::commit(conn).await?;
            Ok(claimed.into_iter().collect())
        }
        Err(error) => {
            connection::roll_back(conn).await?;
            Err(error)
        }
    }
}

#[tokio::test]
async fn a_lower_limit_starts_nothing_until_less_runs_and_a_higher_one_at_once() {
    let mut s = Scenario::new().await;
    s.some_machines(&Provider::EQUINIX, 12).await;
    assert_eq!(s.limit(per_provider().max_running(6)).await, None);
    let claimed = s.claim(&START).await;
    assert_eq!(claimed.len(), 6);
    let before = s.limit(per_provider().max_running(2)).await;
    assert_eq!(before, Some(per_provider().max_running(6)));
    assert_eq!(s.used(Per::Provider).await, ["Equinix 6/2"]);
    for (ended, attempt) in claimed.iter().enumerate() {
        assert!(
            s.claim(&START).await.is_empty(),
            "{ended} of six have ended"
        );
        s.fail(attempt, 3600, "x").await;
        if ended == 4 {
            break;
        }
    }
    assert_eq!(s.claim(&START).await.len(), 1, "one of two runs");
    s.limit(per_provider().max_running(4)).await;
    assert_eq!(s.claim(&START).await.len(), 2);
    assert_eq!(s.used(Per::Provider).await, ["Equinix 4/4"]);
}

#[tokio::test]
async fn starts_are_counted_in_a_window_that_slides_and_can_be_changed() {
    let mut s = Scenario::new().await;
    s.some_machines(&Provider::EQUINIX, 12).await;
    s.limit(per_process().max_starts(4, 600)).await;
    let first = s.claim(&START).await;
    assert_eq!(first.len(), 4);
    for attempt in &first {
        s.fail(attempt, 36_000, "x").await;
    }
    assert!(s.claim(&START).await.is_empty(), "an end frees no start");
    s.advance(300).await;
    s.limit(per_process().max_starts(2, 600)).await;
    let found = process_control::closed_gates(&mut s.conn, &START, None)
        .await
        .unwrap();
    let opens_at = found[0].opens_at().unwrap();
    let now = bmdb_model::connection::clock(&mut s.conn).await.unwrap();
    let seconds = (opens_at - now).num_seconds();
    assert!((290..=301).contains(&seconds), "{seconds}");
    s.limit(per_process().max_starts(2, 200)).await;
    assert_eq!(
        s.claim(&START).await.len(),
        2,
        "the window is shorter than what has passed"
    );
    s.limit(per_process().max_starts(3, 600)).await;
    assert_eq!(
        s.claim(&START).await.len(),
        1,
        "the slots that were used again have forgotten the others"
    );
    s.advance(601).await;
    assert_eq!(s.claim(&START).await.len(), 3);
}

#[tokio::test]
async fn a_limit_counts_what_is_claimed_already_and_its_removal_frees_everything() {
    let mut s = Scenario::new().await;
    s.some_machines(&Provider::EQUINIX, 3).await;
    s.some_machines(&Provider::from_static("fra1"), 3).await;
    let claimed = s.claim(&START).await;
    assert_eq!(claimed.len(), 6);
    s.limit(per_process().max_running(7).max_starts(8, 60))
        .await;
    s.limit(per_provider().max_running(3)).await;
    assert_eq!(s.used(Per::Process).await, [" 6/7 6/8"]);
    assert_eq!(s.used(Per::Provider).await, ["Equinix 3/3", "fra1 3/3"]);
    let remove = async |per| {
        let remove = async |conn: &mut AsyncPgConnection| remove_limit(conn, &START, per).await;
        s.change(remove).await.unwrap()
    };
    assert_eq!(
        remove(Per::Process).await,
        Some(per_process().max_running(7).max_starts(8, 60))
    );
    assert_eq!(remove(Per::Process).await, None);
    let slots = "SELECT count(*) FROM process_slot WHERE free_at = 'infinity'";
    assert_eq!(s.rows(slots).await, ["6"]);
    assert!(remove(Per::Provider).await.is_some());
    let left = "SELECT count(*) FROM process_control WHERE process = 'ShepherdAgentStart'
                UNION ALL SELECT count(*) FROM process_slot
                UNION ALL SELECT count(*) FROM work_item WHERE slots IS NOT NULL";
    assert_eq!(s.rows(left).await, ["0", "0", "0"]);
    for attempt in &claimed {
        s.finish(attempt).await;
    }
}

#[tokio::test]
async fn every_end_frees_its_slots() {
    let mut s = Scenario::new().await;
    s.some_machines(&Provider::EQUINIX, 8).await;
    s.limit(per_process().max_running(2)).await;
    s.limit(per_provider().max_running(2)).await;
    let both = || vec![" 2/2".to_owned(), "Equinix 2/2".to_owned()];
    for end in ["finish", "fail", "cancel", "expire", "delete"] {
        let attempts = s.claim(&START).await;
        assert_eq!(attempts.len(), 2, "{end}");
        let used = [s.used(Per::Process).await, s.used(Per::Provider).await].concat();
        assert_eq!(used, both(), "{end}");
        for attempt in &attempts {
            match end {
                "finish" => s.finish(attempt).await,
                "fail" => s.fail(attempt, 3600, "x").await,
                "cancel" => s.cancel(attempt).await,
                "delete" => {
                    let by_hand = format!(
                        "DELETE FROM work_item WHERE machine_id = '{}'",
                        attempt.machine
                    );
                    s.db.run_sql(&by_hand).await.unwrap();
                }
                _ => {}
            }
        }
        if end == "expire" {
            s.lose(1).await;
        }
        s.db.run_sql(
            "UPDATE work_item SET backoff_until = now() - interval '1 s' WHERE session_id IS NULL",
        )
        .await
        .unwrap();
        let taken = "SELECT count(*) FROM process_slot WHERE free_at = 'infinity'";
        assert_eq!(s.rows(taken).await, ["0"], "{end}");
    }
}

#[tokio::test]
async fn a_machine_without_an_item_takes_slots_when_its_first_one_is_claimed() {
    let mut s = Scenario::new().await;
    let wipe = Process::from_static("AcmeWipe");
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('AcmeWipe');
         INSERT INTO process_limit VALUES ('AcmeWipe', 'provider', 1, NULL, NULL)",
    )
    .await
    .unwrap();
    let (first, second) = (s.provided("a").await, s.provided("b").await);
    let attempt = s.claim_machine(first, &wipe).await;
    let session = s.session;
    let refused = work::claim_machine(&mut s.conn, second, &wipe, session)
        .await
        .unwrap();
    assert!(refused.is_none());
    let taken = "SELECT partition, free_at FROM process_slot";
    assert_eq!(s.rows(taken).await, ["Equinix|infinity"]);
    s.finish(&attempt).await;
    s.claim_machine(second, &wipe).await;
    let refused = work::claim_machine(&mut s.conn, first, &wipe, session)
        .await
        .unwrap();
    assert!(refused.is_none(), "of a machine that has an item now");
    assert_eq!(s.rows(taken).await, ["Equinix|infinity"]);
}

#[tokio::test]
async fn a_new_provider_has_slots_of_its_own_and_a_full_one_starves_none() {
    let mut s = Scenario::new().await;
    s.limit(per_provider().max_running(2)).await;
    s.some_machines(&Provider::EQUINIX, 5).await;
    assert_eq!(s.claim(&START).await.len(), 2);
    s.some_machines(&Provider::from_static("fra1"), 5).await;
    assert_eq!(s.claim(&START).await.len(), 2);
    assert_eq!(s.used(Per::Provider).await, ["Equinix 2/2", "fra1 2/2"]);
}

#[tokio::test]
async fn a_limit_that_cannot_be_or_is_of_an_unknown_process_is_refused() {
    let s = Scenario::new().await;
    let refused = async |process: Process, limit: Limit| {
        let set = async |conn: &mut AsyncPgConnection| set_limit(conn, &process, &limit).await;
        s.change(set).await.unwrap_err().to_string()
    };
    let refused_zero = refused(START, per_process().max_running(0)).await;
    assert!(
        refused_zero.contains("process ShepherdAgentStart: the maximum of running"),
        "{refused_zero}"
    );
    let unknown = refused(Process::from_static("Typo"), per_process().max_running(1)).await;
    assert_eq!(
        unknown,
        "there is no process Typo: the processes are ShepherdAccess, ShepherdAgentStart, ShepherdRecovery"
    );
    assert_eq!(s.rows("SELECT count(*) FROM process_control").await, ["0"]);
}

#[tokio::test]
async fn slots_are_taken_when_lane_mates_delay_a_start() {
    // The start is recorded when the lane is free; its window begins then, too.
    let db = TestDb::new().await.unwrap();
    let s = Scenario::on(db).await;
    let machine = s.provided("a").await;
    s.limit(per_process().max_starts(1, 60)).await;
    let mut rival = s.db.connect().await.unwrap();
    connection::begin(&mut rival, Isolation::ReadCommitted, Access::ReadWrite)
        .await
        .unwrap();
    work::claim_machine(&mut rival, machine, &Process::SHEPHERD_ACCESS, s.session)
        .await
        .unwrap()
        .unwrap();
    let (url, session) = (s.db.url().to_owned(), s.session);
    let waiting = tokio::spawn(async move {
        use diesel_async::AsyncConnection;
        let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
        work::claim_machine(&mut conn, machine, &START, session).await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while s.rows(waits).await == ["0"] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As long as the trigger takes to call it late.
    tokio::time::sleep(Duration::from_millis(600)).await;
    connection::roll_back(&mut rival).await.unwrap();
    let claimed = waiting.await.unwrap().unwrap().unwrap();
    let late = format!(
        "SELECT taken_at >= '{}' FROM process_slot WHERE taken_at IS NOT NULL",
        claimed.started_at
    );
    assert_eq!(s.rows(&late).await, ["t"]);
}
