//! What the demonstration reads from the database while the workers run.

use crate::connect::connect;
use crate::failure::Done;
use std::fmt;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// How long a machine must have been claimed for its worker to be killed.
const SLOW: &str = "800 milliseconds";

/// After this many failures in a row a machine has shown its intervals: 1, 2, 4, 5, 5.
const FAILURES_SHOWN: i64 = 5;

/// Progress of the fleet at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) machines: i64,
    pub(super) started: i64,
    pub(super) claimed: i64,
    backing_off: i64,
    /// Machines that must still be started and have not failed too often for that.
    pub(super) promising: i64,
    claims: i64,
    /// Claims per second over the last second.
    rate: f64,
    /// The highest rate so far.
    pub(super) best_rate: f64,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "started {:>3}/{}  working {:>2}  backing off {:>2}  claims {:>4}  {:>5.0} claims/s",
            self.started, self.machines, self.claimed, self.backing_off, self.claims, self.rate
        )
    }
}

/// A machine on which a worker takes long.
#[derive(Debug)]
pub(super) struct SlowMachine {
    pub(super) machine: String,
    pub(super) fence: i64,
    pub(super) worker_pid: i32,
    found: Instant,
}

pub(super) struct Observer {
    client: Client,
    last_claims: Option<(Instant, i64)>,
    best_rate: f64,
}

impl Observer {
    pub(super) async fn connect(url: &str) -> Done<Self> {
        Ok(Self {
            client: connect(url).await?,
            last_claims: None,
            best_rate: 0.0,
        })
    }

    pub(super) async fn snapshot(&mut self) -> Done<Snapshot> {
        let counts = "SELECT (SELECT count(*) FROM machine_provided), \
            (SELECT count(*) FROM machine_agent_started), \
            count(*) FILTER (WHERE session_id IS NOT NULL), \
            count(*) FILTER (WHERE session_id IS NULL AND backoff_until > now()), \
            count(*) FILTER (WHERE process = 'ShepherdAgentStart' AND eligible AND failures < $1), \
            (SELECT count(*) FROM work_attempt) + count(*) FILTER (WHERE session_id IS NOT NULL) \
            FROM work_item";
        let row = self.client.query_one(counts, &[&FAILURES_SHOWN]).await?;
        let claims: i64 = row.get(5);
        let rate = self.rate(claims);
        Ok(Snapshot {
            machines: row.get(0),
            started: row.get(1),
            claimed: row.get(2),
            backing_off: row.get(3),
            promising: row.get(4),
            claims,
            rate,
            best_rate: self.best_rate,
        })
    }

    fn rate(&mut self, claims: i64) -> f64 {
        let Some((at, before)) = self.last_claims else {
            self.last_claims = Some((Instant::now(), claims));
            return 0.0;
        };
        let elapsed = at.elapsed();
        let new = u32::try_from(claims - before).unwrap_or(0);
        let rate = f64::from(new) / elapsed.as_secs_f64().max(0.001);
        if elapsed >= Duration::from_secs(1) {
            self.best_rate = self.best_rate.max(rate);
            self.last_claims = Some((Instant::now(), claims));
        }
        rate
    }

    /// A machine that has been claimed for long.
    pub(super) async fn slow_machine(&self) -> Done<Option<SlowMachine>> {
        let query = format!(
            "SELECT i.machine_id::text, i.fence, substring(s.session_runtime_info from 'pid (\\d+)')::int \
             FROM work_item i JOIN sessions s USING (session_id) \
             WHERE i.started_at < clock_timestamp() - interval '{SLOW}' ORDER BY i.fence LIMIT 1"
        );
        let row = self.client.query_opt(&query, &[]).await?;
        Ok(row.and_then(|row| {
            Some(SlowMachine {
                machine: row.get(0),
                fence: row.get(1),
                worker_pid: row.get::<_, Option<i32>>(2)?,
                found: Instant::now(),
            })
        }))
    }

    /// The worker that got the machine after the first was killed, and how many seconds later.
    pub(super) async fn taken_over(&self, slow: &SlowMachine) -> Done<Option<(String, f64)>> {
        let query = "SELECT s.session_runtime_info FROM work_item i JOIN sessions s USING (session_id) \
             WHERE i.machine_id::text = $1 AND i.fence > $2";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&slow.machine, &slow.fence];
        let row = self.client.query_opt(query, &values).await?;
        Ok(row.map(|row| (row.get(0), slow.found.elapsed().as_secs_f64())))
    }
}
