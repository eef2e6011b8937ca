//! Attempt counts: by minutes of the database's clock, for each component, in a table that stays small.

use crate::scenario::{ACCESS, MINUTE, START, Scenario};
use crate::snapshots::buffers;
use bmdb_model::attempt_counts::{self, Minute};
use bmdb_model::history::Event;
use bmdb_model::internal::attempt_counts::Count;
use bmdb_model::internal::connection::plan_once_sql;
use bmdb_model::{ErrorKind, Process, internal};
use uuid::Uuid;

const NIL: &str = "writer = '00000000-0000-0000-0000-000000000000'";

fn count(process: &Process, event: Event, count: i64) -> Count {
    Count {
        process: process.clone(),
        event,
        count,
        waits: count,
        waited_ms: 1000 * count,
    }
}

impl Scenario {
    async fn add(&mut self, writer: u128, counts: &[Count]) {
        let writer = Uuid::from_u128(writer);
        internal::attempt_counts::add(&mut self.conn, writer, counts)
            .await
            .unwrap();
    }

    /// Process, event, count and time waited of the last hour, whatever the minutes.
    async fn hour(&mut self) -> Vec<(String, Event, i64, i64)> {
        let minutes = attempt_counts::last_minutes(&mut self.conn, 60)
            .await
            .unwrap();
        let of = |m: Minute| (m.process.to_string(), m.event, m.count, m.waited_ms);
        minutes.into_iter().map(of).collect()
    }

    async fn trim(&mut self, rows: u32) -> u64 {
        let surplus = internal::attempt_counts::surplus(&mut self.conn, rows)
            .await
            .unwrap();
        let gone = internal::attempt_counts::trim(&mut self.conn, rows)
            .await
            .unwrap();
        assert_eq!(surplus, gone, "what was announced");
        gone
    }

    /// Rows of one minute for each of so many minutes before now, of 5 components.
    async fn fill(&self, minutes: u32) {
        let fill = format!(
            "INSERT INTO attempt_tally
             SELECT date_trunc('minute', clock_timestamp()) - make_interval(mins => m),
                    'P' || p, event, md5(w::text)::uuid, 1, 0, 0
             FROM generate_series(0, {minutes}) AS m, generate_series(1, 3) AS p,
                  unnest(ARRAY['Started', 'Finished', 'Failed', 'Canceled']) AS event,
                  generate_series(1, 5) AS w"
        );
        self.db.run_sql(&fill).await.unwrap();
    }
}

#[tokio::test]
async fn each_component_adds_counts_to_its_own_row_of_the_current_minute() {
    let mut s = Scenario::new().await;
    let failed = count(&START, Event::Failed, 2);
    s.add(1, &[failed.clone(), count(&ACCESS, Event::Failed, 5)])
        .await;
    s.add(2, std::slice::from_ref(&failed)).await;
    s.add(1, &[failed]).await;
    // A minute may have passed between them.
    let rows = "SELECT writer, process, sum(count), sum(waits), sum(waited_ms), bool_and(minute IN
                    (date_trunc('minute', clock_timestamp()),
                     date_trunc('minute', clock_timestamp() - interval '1 minute')))
                FROM attempt_tally GROUP BY writer, process ORDER BY writer, process";
    let own = [
        "00000000-0000-0000-0000-000000000001|ShepherdAccess|5|5|5000|t",
        "00000000-0000-0000-0000-000000000001|ShepherdAgentStart|4|4|4000|t",
        "00000000-0000-0000-0000-000000000002|ShepherdAgentStart|2|2|2000|t",
    ];
    assert_eq!(s.rows(rows).await, own);
    let counted: i64 = s.hour().await.iter().map(|(.., count, _)| count).sum();
    assert_eq!(counted, 11);
}

#[tokio::test]
async fn past_minutes_are_merged_and_late_counts_are_merged_by_the_next_trim() {
    let mut s = Scenario::new().await;
    let started = [count(&START, Event::Started, 3)];
    s.add(1, &started).await;
    s.add(2, &started).await;
    assert_eq!(s.trim(10).await, 0, "the minute is not over");
    s.db.advance(MINUTE * 3).await.unwrap();
    // Added by a third component whose statement took that long.
    s.db.run_sql(
        "INSERT INTO attempt_tally
         SELECT minute, process, event, md5('3')::uuid, 10, 1, 7 FROM attempt_tally LIMIT 1",
    )
    .await
    .unwrap();
    // At the turn of a minute these are three rows of two minutes.
    let before = s.hour().await;
    assert_eq!(s.trim(2).await, 2, "no more than asked for");
    assert_eq!(s.hour().await, before);
    assert_eq!(s.trim(10).await, 1);
    assert_eq!(s.hour().await, before);
    assert_eq!(s.trim(10).await, 0);
    let single = format!("SELECT count(*) FROM attempt_tally WHERE NOT {NIL}");
    assert_eq!(s.rows(&single).await, ["0"]);
    let sums = "SELECT sum(count), sum(waits), sum(waited_ms) FROM attempt_tally";
    assert_eq!(s.rows(sums).await, ["16|7|6007"]);
}

#[tokio::test]
async fn counts_older_than_a_day_are_deleted_in_bounded_batches() {
    let mut s = Scenario::new().await;
    s.fill(1600).await;
    let mut turns = 0;
    loop {
        let gone = s.trim(5000).await;
        assert!(gone <= 10_000, "{gone}");
        turns += 1;
        if gone == 0 {
            break;
        }
    }
    assert!(turns > 15, "{turns}");
    let left = "SELECT min(minute) >= clock_timestamp() - interval '25 h 1 min',
                       count(*) BETWEEN 1497 * 12 AND 1503 * 12 + 120,
                       sum(count) BETWEEN 1499 * 60 AND 1501 * 60 FROM attempt_tally";
    assert_eq!(s.rows(left).await, ["t|t|t"]);
}

#[tokio::test]
async fn reading_the_last_hour_and_trimming_do_not_read_the_whole_table() {
    let mut s = Scenario::new().await;
    s.fill(1500).await;
    while s.trim(5000).await > 0 {}
    s.db.run_sql("VACUUM ANALYZE attempt_tally").await.unwrap();
    s.hour().await;
    s.trim(5000).await;
    for (text, execute, most) in [
        (
            "SELECT minute, process, event, least(sum(count)",
            "EXECUTE counts (60)",
            100,
        ),
        (
            "-- Attempt counts that can be merged",
            "EXECUTE counts (90000, 5000)",
            40,
        ),
    ] {
        let statement = s.text(text).await;
        let sql = format!(
            "{} PREPARE counts AS {statement}; BEGIN; {execute}; {execute};
             EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {execute}; ROLLBACK",
            plan_once_sql()
        );
        let rows = s.rows(&sql).await;
        assert!(buffers(&rows) <= most, "{rows:#?}");
    }
}

#[tokio::test]
async fn concurrent_trims_do_not_wait_for_each_other_or_for_a_component_that_adds_counts() {
    use diesel_async::SimpleAsyncConnection;
    let mut s = Scenario::new().await;
    s.add(1, &[count(&START, Event::Started, 1)]).await;
    s.add(2, &[count(&START, Event::Started, 1)]).await;
    s.db.advance(MINUTE * 3).await.unwrap();
    let mut rival = s.db.connect().await.unwrap();
    let lock = "BEGIN; UPDATE attempt_tally SET count = count + 5
                WHERE writer = '00000000-0000-0000-0000-000000000001'";
    rival.batch_execute(lock).await.unwrap();
    assert_eq!(
        internal::attempt_counts::trim(&mut s.conn, 10)
            .await
            .unwrap(),
        1
    );
    rival.batch_execute("COMMIT").await.unwrap();
    assert_eq!(s.trim(10).await, 1);
    let counted: i64 = s.hour().await.iter().map(|(.., count, _)| count).sum();
    assert_eq!(counted, 7);
}

#[tokio::test]
async fn invalid_counts_are_refused() {
    let mut s = Scenario::new().await;
    let negative = count(&START, Event::Started, -1);
    let writer = Uuid::from_u128(1);
    let refused = internal::attempt_counts::add(&mut s.conn, writer, &[negative]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(s.hour().await, []);
}
