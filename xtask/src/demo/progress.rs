//! What the demonstration reads from the database while it runs, and shows.

use super::FAILURES_SHOWN;
use crate::shell::Failure;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// How long a machine must have been held for its worker to be killed.
const SLOW: &str = "800 milliseconds";

pub(crate) struct Progress {
    client: Client,
    terminal: bool,
    line_shown: bool,
    last_plain: Option<Instant>,
    last_claims: Option<(Instant, i64)>,
    best_rate: f64,
}

/// The fleet at one moment.
pub(crate) struct Snapshot {
    pub(crate) machines: i64,
    pub(crate) started: i64,
    pub(crate) held: i64,
    pub(crate) backing_off: i64,
    /// Machines that are still to be started and have not failed often enough to be given up on.
    pub(crate) promising: i64,
    claims: i64,
    rate: f64,
    /// The most claims per second seen in any second so far.
    pub(crate) best_rate: f64,
}

/// A machine that a worker is taking long for.
pub(crate) struct SlowMachine {
    pub(crate) machine: String,
    pub(crate) fence: i64,
    pub(crate) worker_pid: u32,
    killed_at: Instant,
}

async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(Failure::check)?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn nothing_is_held(url: &str) -> Result<bool, Failure> {
    let held = "SELECT NOT EXISTS (SELECT FROM work)";
    let row = connect(url)
        .await?
        .query_one(held, &[])
        .await
        .map_err(Failure::check)?;
    Ok(row.get(0))
}

impl Progress {
    pub(crate) async fn connect(url: &str) -> Result<Self, Failure> {
        Ok(Self {
            client: connect(url).await?,
            terminal: stderr().is_terminal(),
            line_shown: false,
            last_plain: None,
            last_claims: None,
            best_rate: 0.0,
        })
    }

    pub(crate) async fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        let counts = "SELECT (SELECT count(*) FROM machine_provided), \
            (SELECT count(*) FROM machine_agent_started), \
            count(*) FILTER (WHERE session_id IS NOT NULL), \
            count(*) FILTER (WHERE session_id IS NULL AND backoff_until > now()), \
            count(*) FILTER (WHERE process = 'ShepherdAgentStart' AND eligible AND failures < $1), \
            (SELECT count(*) FROM work_attempt) + count(*) FILTER (WHERE session_id IS NOT NULL) \
            FROM work_item";
        let row = self
            .client
            .query_one(counts, &[&FAILURES_SHOWN])
            .await
            .map_err(Failure::check)?;
        let claims: i64 = row.get(5);
        let rate = self.rate(claims);
        Ok(Snapshot {
            machines: row.get(0),
            started: row.get(1),
            held: row.get(2),
            backing_off: row.get(3),
            promising: row.get(4),
            claims,
            rate,
            best_rate: self.best_rate,
        })
    }

    /// Claims per second over the last second or so.
    fn rate(&mut self, claims: i64) -> f64 {
        let Some((at, before)) = self.last_claims else {
            self.last_claims = Some((Instant::now(), claims));
            return 0.0;
        };
        let seconds = at.elapsed().as_secs_f64();
        let new = u32::try_from(claims - before).unwrap_or(0);
        let rate = f64::from(new) / seconds.max(0.001);
        if seconds >= 1.0 {
            self.best_rate = self.best_rate.max(rate);
            self.last_claims = Some((Instant::now(), claims));
        }
        rate
    }

    /// Redraws one line on a terminal; elsewhere prints a line a second.
    pub(crate) fn show(&mut self, now: &Snapshot, elapsed: Duration) {
        let line = format!(
            "{:5.1} s  started {:>3}/{}  working {:>2}  backing off {:>2}  claims {:>4}  {:>5.0} claims/s",
            elapsed.as_secs_f64(),
            now.started,
            now.machines,
            now.held,
            now.backing_off,
            now.claims,
            now.rate
        );
        if self.terminal {
            eprint!("\r{line}\x1b[K");
            self.line_shown = stderr().flush().is_ok();
        } else if self
            .last_plain
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(1))
        {
            eprintln!("{line}");
            self.last_plain = Some(Instant::now());
        }
    }

    /// Prints a line that stays.
    pub(crate) fn say(&mut self, message: &str) {
        self.end();
        eprintln!("{message}");
    }

    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.line_shown) {
            eprintln!();
        }
    }

    /// A machine that has been held for long, and the worker that holds it.
    pub(crate) async fn slow_machine(&self) -> Result<Option<SlowMachine>, Failure> {
        let query = format!(
            "SELECT i.machine_id::text, i.fence, substring(s.session_runtime_info from 'pid (\\d+)')::bigint \
             FROM work_item i JOIN sessions s USING (session_id) \
             WHERE i.started_at < clock_timestamp() - interval '{SLOW}' ORDER BY i.fence LIMIT 1"
        );
        let row = self
            .client
            .query_opt(&query, &[])
            .await
            .map_err(Failure::check)?;
        Ok(row.and_then(|row| {
            Some(SlowMachine {
                machine: row.get(0),
                fence: row.get(1),
                worker_pid: u32::try_from(row.get::<_, Option<i64>>(2)?).ok()?,
                killed_at: Instant::now(),
            })
        }))
    }

    /// Who got the machine after its worker was killed, and how many seconds after.
    pub(crate) async fn taken_over(
        &self,
        slow: &SlowMachine,
    ) -> Result<Option<(String, f64)>, Failure> {
        let query = "SELECT s.session_runtime_info FROM work_item i JOIN sessions s USING (session_id) \
             WHERE i.machine_id::text = $1 AND i.fence > $2";
        let row = self
            .client
            .query_opt(query, &[&slow.machine, &slow.fence])
            .await
            .map_err(Failure::check)?;
        Ok(row.map(|row| (row.get(0), slow.killed_at.elapsed().as_secs_f64())))
    }
}
