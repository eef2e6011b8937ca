//! Limits and breakers under claims, ends and kills that race, judged by the log of attempts alone.

use crate::scenario::{START, Scenario, attempt, failed};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::connection;
use bmdb_model::internal::plan::KnownDefinitions;
use bmdb_model::internal::work::{self, Attempt, Cancel, Ended, Finish, How, Jitter, Waiting};
use bmdb_model::{Error, Provider, SessionId, TagWrites};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

const FRA1: Provider = Provider::from_static("fra1");

/// Enough to wait for each other, if they did.
const CONNECTIONS: u64 = 32;

impl Scenario {
    /// Due machines, in turn of two providers. Planned by hand, because there are many.
    async fn raced(machines: u32) -> Self {
        let s = Self::new().await;
        let fleet = format!(
            "INSERT INTO machines SELECT md5(n::text)::uuid FROM generate_series(1, {machines}) n;
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT md5(n::text)::uuid, CASE n % 2 WHEN 0 THEN 'Equinix' ELSE 'fra1' END, n
             FROM generate_series(1, {machines}) n;
             INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
             SELECT machine_id, '{START}', 'shepherd', provider, true, clock_timestamp() - interval '1 min'
             FROM machine_provided;
             INSERT INTO process_control VALUES ('{START}')"
        );
        s.db.run_sql(&fleet).await.unwrap();
        s
    }

    async fn control(&self, sql: &str) {
        self.db.run_sql(sql).await.unwrap();
    }

    /// Runs claims and ends on many connections. Returns how many attempts there were, and what failed.
    async fn race(&self, time: Duration) -> (usize, Vec<String>) {
        let until = Instant::now() + time;
        let racers = (0..CONNECTIONS).map(|number| {
            tokio::spawn(race(self.db.url().to_owned(), self.session, number, until))
        });
        let (mut attempts, mut errors) = (0, Vec::new());
        for racer in join_all(racers).await {
            let (of_racer, failed) = racer.unwrap();
            attempts += of_racer;
            errors.extend(failed);
        }
        (attempts, errors)
    }

    async fn most(&self) -> Most {
        let rows = self.rows(MOST).await;
        let numbers: Vec<i64> = rows[0]
            .split('|')
            .map(|number| number.parse().unwrap())
            .collect();
        Most {
            running: numbers[0],
            running_of_provider: numbers[1],
            started_of_provider: numbers[2],
        }
    }

    async fn taken(&self) -> Vec<String> {
        self.rows("SELECT count(*) FROM process_slot WHERE free_at = 'infinity'")
            .await
    }
}

/// The most that the log of attempts shows.
#[derive(Debug, PartialEq, Eq)]
struct Most {
    running: i64,
    running_of_provider: i64,
    started_of_provider: i64,
}

/// Reads no slots. At the same moment, an end comes before a start.
const MOST: &str = "
    WITH attempt AS (
        SELECT a.started_at, a.ended_at, p.provider
        FROM work_attempt a JOIN machine_provided p USING (machine_id)
    ), step AS (
        SELECT provider, started_at AS at, 1 AS step FROM attempt
        UNION ALL SELECT provider, ended_at, -1 FROM attempt
    ), running AS (
        SELECT sum(step) OVER (ORDER BY at, step) AS all_providers,
               sum(step) OVER (PARTITION BY provider ORDER BY at, step) AS of_provider
        FROM step
    ), started AS (
        SELECT count(*) OVER (PARTITION BY provider ORDER BY started_at
                              RANGE BETWEEN interval '1 second' PRECEDING AND CURRENT ROW) AS of_provider
        FROM attempt
    )
    SELECT (SELECT max(all_providers) FROM running), (SELECT max(of_provider) FROM running),
           (SELECT max(of_provider) FROM started)";

/// Claims up to three machines at a time and ends them in one statement, in turn in each way there is.
async fn race(
    url: String,
    session: SessionId,
    number: u64,
    until: Instant,
) -> (usize, Vec<String>) {
    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
    let (mut attempts, mut errors) = (0, Vec::new());
    for round in number.. {
        if Instant::now() > until {
            break;
        }
        match claim_and_end(&mut conn, session, round).await {
            Ok(0) => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(ended) => attempts += ended,
            Err(error) => errors.push(error.to_string()),
        }
    }
    (attempts, errors)
}

async fn claim_and_end(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    round: u64,
) -> Result<usize, Error> {
    let provider = match round % 3 {
        0 => None,
        1 => Some(&Provider::EQUINIX),
        _ => Some(&FRA1),
    };
    let claimed = work::claim(conn, &START, provider, session, 3).await?;
    let claimed = claimed.expect("the session lives");
    let claimed: Vec<Attempt> = claimed
        .iter()
        .map(|claimed| attempt(claimed, &START, session))
        .collect();
    let failure = failed(3600, "no answer");
    match round % 4 {
        0 | 1 => {
            let failures: Vec<_> = claimed.iter().map(|a| (a, unfolded(&failure))).collect();
            let ended = work::fail_all(conn, session, &failures).await?;
            assert!(ended.iter().all(|ended| matches!(ended, Ended::Done(_))));
        }
        2 => {
            let writes = TagWrites::new();
            let finishes: Vec<_> = claimed
                .iter()
                .map(|attempt| Finish {
                    attempt,
                    jitter: Jitter::default(),
                    writes: &writes,
                })
                .collect();
            let known = KnownDefinitions::default();
            // A claim that saw the item as it was before may have it locked until it has ended.
            let how = How {
                waiting: Waiting::ForItems,
                ..How::default()
            };
            let ended = work::finish_all(conn, session, &finishes, &known, how).await?;
            assert!(
                ended
                    .ended
                    .iter()
                    .all(|ended| matches!(ended, Ended::Done(_)))
            );
        }
        _ => {
            let canceled: Vec<_> = claimed.iter().map(|a| (a, Cancel::default())).collect();
            let ended = work::cancel_all(conn, session, &canceled).await?;
            assert!(ended.iter().all(|ended| *ended == Ended::Done(())));
        }
    }
    Ok(claimed.len())
}

/// Each failure is an attempt of its own in the log.
fn unfolded<'a>(failure: &work::FailedAttempt<'a>) -> work::FailedAttempt<'a> {
    work::FailedAttempt {
        fold: false,
        ..failure.clone()
    }
}

const LIMITS: &str = "
    INSERT INTO process_limit (process, per, max_running, max_starts, window_seconds)
    VALUES ('ShepherdAgentStart', 'process', 5, NULL, NULL), ('ShepherdAgentStart', 'provider', 3, 40, 1);
    INSERT INTO process_breaker (process, per, max_failures, failures_window_seconds)
    VALUES ('ShepherdAgentStart', 'provider', 1000, 60)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_stay_within_two_limits_and_no_statement_fails() {
    let s = Scenario::raced(4_000).await;
    s.control(LIMITS).await;
    let (attempts, errors) = s.race(Duration::from_secs(2)).await;
    assert_eq!(
        errors, [""; 0],
        "neither a serialization failure nor a deadlock"
    );
    let most = s.most().await;
    assert!(
        most.running <= 5 && most.running_of_provider <= 3,
        "{most:?}"
    );
    assert!(most.started_of_provider <= 40, "{most:?}");
    assert!(attempts > 20, "{attempts} attempts, {most:?}");
    assert_eq!(s.taken().await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_lock_of_the_slot_the_same_race_exceeds_the_limit() {
    let s = Scenario::raced(4_000).await;
    s.control(LIMITS).await;
    s.control(
        "UPDATE process_limit SET max_starts = NULL, window_seconds = NULL WHERE per = 'provider'",
    )
    .await;
    s.control(
        "DO $$
         DECLARE locked text := pg_get_functiondef(
             'lock_free_slot(process_limit, text, text, integer)'::regprocedure);
         BEGIN
             ASSERT locked LIKE '%FOR NO KEY UPDATE OF s SKIP LOCKED%';
             EXECUTE replace(locked, 'FOR NO KEY UPDATE OF s SKIP LOCKED', '');
         END $$",
    )
    .await;
    // Claims that wait for each other's slots may do so in a circle.
    loop {
        s.race(Duration::from_millis(500)).await;
        if s.most().await.running_of_provider > 3 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_due_at_once_start_nothing_however_many_claim() {
    let s = Scenario::raced(2_000).await;
    s.control(
        "INSERT INTO process_breaker (process, per, max_due) VALUES ('ShepherdAgentStart', 'process', 100)",
    )
    .await;
    assert_eq!(s.race(Duration::from_millis(500)).await, (0, Vec::new()));
    let trips = "SELECT count(*), min(reason) FROM operator_action WHERE verb = 'TripBreaker'";
    assert_eq!(
        s.rows(trips).await,
        ["1|2000 of 2000 machines need it at once, more than 100"]
    );
}

#[tokio::test]
async fn two_failures_that_commit_at_the_same_time_trip_before_the_next_start() {
    let mut s = Scenario::raced(8).await;
    s.control(
        "INSERT INTO process_breaker (process, per, max_failures, failures_window_seconds)
         VALUES ('ShepherdAgentStart', 'process', 2, 600)",
    )
    .await;
    let attempts = s.claim(&START).await;
    let failure = failed(3600, "no answer");
    let mut conns = Vec::new();
    for attempt in &attempts[..2] {
        let mut conn = s.db.connect().await.unwrap();
        connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite)
            .await
            .unwrap();
        // Neither waits for the other.
        conn.batch_execute("SET LOCAL lock_timeout = '5s'")
            .await
            .unwrap();
        let ended = work::fail(&mut conn, attempt, &failure).await.unwrap();
        assert!(matches!(ended, Ended::Done(_)));
        conns.push(conn);
    }
    for conn in &mut conns {
        connection::commit(conn).await.unwrap();
    }
    s.cancel(&attempts[2]).await;
    assert_eq!(s.claim(&START).await, []);
    let pause = "SELECT provider, source, reason FROM process_pause";
    assert_eq!(
        s.rows(pause).await,
        ["|Breaker|2 attempts failed within 00:10:00, the last one because: no answer"]
    );
}

#[tokio::test]
async fn batches_of_failures_of_several_providers_do_not_wait_for_each_other() {
    let mut s = Scenario::raced(8).await;
    s.control(
        "INSERT INTO process_breaker (process, per, max_failures, failures_window_seconds)
         VALUES ('ShepherdAgentStart', 'provider', 1000, 600)",
    )
    .await;
    let mut conns = [s.db.connect().await.unwrap(), s.db.connect().await.unwrap()];
    let failure = failed(3600, "no answer");
    for conn in &mut conns {
        connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite)
            .await
            .unwrap();
        conn.batch_execute("SET LOCAL lock_timeout = '5s'")
            .await
            .unwrap();
    }
    let attempts = s.claim(&START).await;
    let of_providers = s
        .rows("SELECT machine_id FROM machine_provided WHERE provider = 'fra1'")
        .await;
    let is_of_fra1 = |attempt: &&Attempt| of_providers.contains(&attempt.machine.to_string());
    let fra1: Vec<&Attempt> = attempts.iter().filter(is_of_fra1).collect();
    let equinix: Vec<&Attempt> = attempts.iter().filter(|a| !is_of_fra1(a)).collect();
    // In opposite order: a row for each provider would be locked in a circle.
    for (conn, attempt) in [(0, fra1[0]), (1, equinix[0]), (0, equinix[1]), (1, fra1[1])] {
        let ended = work::fail(&mut conns[conn], attempt, &failure)
            .await
            .unwrap();
        assert!(matches!(ended, Ended::Done(_)));
    }
}

/// What a component had just done when it was killed.
#[derive(Debug, Clone, Copy)]
enum Killed {
    BeforeTheCommitOfTheClaim,
    BetweenClaimAndEnd,
    BeforeTheCommitOfTheEnd,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_kills_between_claim_and_end_leak_no_slot() {
    use Killed::{BeforeTheCommitOfTheClaim, BeforeTheCommitOfTheEnd, BetweenClaimAndEnd};
    let mut s = Scenario::raced(40).await;
    s.control(
        "INSERT INTO process_limit (process, per, max_running)
         VALUES ('ShepherdAgentStart', 'process', 20), ('ShepherdAgentStart', 'provider', 15)",
    )
    .await;
    for round in 0..15 {
        // First those that end: an end may have to wait for a claim that has looked at its slot at the same
        // moment, and these claims are never committed.
        let mut victims = Vec::new();
        for ways in [
            &[BetweenClaimAndEnd, BeforeTheCommitOfTheEnd][..],
            &[BeforeTheCommitOfTheClaim],
        ] {
            let killed = (0..10).map(|victim| {
                let way = ways[(round + victim) % ways.len()];
                victim_of(s.db.url().to_owned(), s.session, way)
            });
            victims.extend(join_all(killed).await);
        }
        // The connections are open, and with them their transactions, until the server ends them.
        let claimed = victims
            .iter()
            .filter(|victim| matches!(victim, Ok((_, true))));
        assert!(claimed.count() > 5, "round {round}");
        let of_victims = "FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'victim'";
        s.control(&format!("SELECT pg_terminate_backend(pid) {of_victims}"))
            .await;
        while s.rows(&format!("SELECT count(*) {of_victims}")).await != ["0"] {}
        drop(victims);
        s.lose(1).await;
        let due =
            "UPDATE work_item SET backoff_until = now() - interval '1 s' WHERE session_id IS NULL";
        s.control(due).await;
        assert_eq!(s.taken().await, ["0"], "round {round}");
    }
    let left = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL OR slots IS NOT NULL";
    assert_eq!(s.rows(left).await, ["0"]);
}

/// Claims a machine and goes as far as it is to; says whether it got one.
async fn victim_of(
    url: String,
    session: SessionId,
    killed: Killed,
) -> Result<(AsyncPgConnection, bool), Error> {
    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
    conn.batch_execute("SET application_name = 'victim'; SET statement_timeout = '20s'")
        .await
        .unwrap();
    let in_transaction = matches!(killed, Killed::BeforeTheCommitOfTheClaim);
    if in_transaction {
        connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
    }
    let claimed = work::claim(&mut conn, &START, None, session, 1).await?;
    let claimed = claimed.expect("the session lives");
    if let (Killed::BeforeTheCommitOfTheEnd, Some(claimed)) = (killed, claimed.first()) {
        connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
        let failure = failed(1, "no answer");
        work::fail(&mut conn, &attempt(claimed, &START, session), &failure).await?;
    }
    Ok((conn, !claimed.is_empty()))
}
