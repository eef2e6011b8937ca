//! What the database says: by SQL of the checker's own.

use super::named;
use crate::shell::Failure;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use tokio_postgres::{Client, NoTls, Row};

/// An attempt that has ended. Times are microseconds since the epoch.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) fence: Fence,
    pub(super) machine: MachineId,
    pub(super) process: Process,
    pub(super) session: SessionId,
    pub(super) started: i64,
    pub(super) ended: i64,
    pub(super) outcome: Outcome,
    pub(super) interval: Option<i64>,
}

/// Everything that is read.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) attempts: BTreeMap<Fence, Attempt>,
    /// Each tag that was ever written, by the fence that wrote it.
    pub(super) tags: HashMap<Fence, Vec<MachineId>>,
    /// Sessions that nobody keeps alive and nobody has removed, with what they hold.
    pub(super) left: Vec<String>,
    /// Machines whose tag is not of the last to write it.
    pub(super) strangers: Vec<String>,
}

const ATTEMPTS: &str = "
    SELECT fence, machine_id::text, process, session_id::text,
           (extract(epoch FROM started_at) * 1000000)::bigint,
           (extract(epoch FROM ended_at) * 1000000)::bigint, outcome, interval_seconds
    FROM work_attempt";

const TAGS: &str = "SELECT fence, machine_id::text FROM soak_tag";

const LEFT: &str = "
    SELECT format('session %s (%s) is still there, with %s machines', s.session_id,
                  s.session_runtime_info, count(i.machine_id))
    FROM sessions s LEFT JOIN work_item i USING (session_id)
    GROUP BY s.session_id, s.session_runtime_info";

/// Whoever finished last in the lane wrote last: a recovery removes the tag, others set it.
const STRANGERS: &str = "
    SELECT format('machine %s has the tag of fence %s, the last to write was fence %s', machine_id,
                  convert_from(s.agent_public_key, 'UTF8'), coalesce(max(t.fence)::text, 'none'))
    FROM machine_agent_started s LEFT JOIN soak_tag t USING (machine_id)
    GROUP BY machine_id
    HAVING max(t.fence)::text IS DISTINCT FROM convert_from(s.agent_public_key, 'UTF8')";

impl Log {
    pub(super) async fn read(url: &str) -> Result<Self, Failure> {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .map_err(Failure::check)?;
        tokio::spawn(connection);
        let mut attempts = BTreeMap::new();
        for row in rows(&client, ATTEMPTS).await? {
            let attempt = attempt(&row)?;
            attempts.insert(attempt.fence, attempt);
        }
        let mut tags: HashMap<Fence, Vec<MachineId>> = HashMap::new();
        for row in rows(&client, TAGS).await? {
            let machine = row.get::<_, &str>(1).parse().map_err(Failure::check)?;
            tags.entry(Fence::new(row.get(0)))
                .or_default()
                .push(machine);
        }
        let texts = async |sql| -> Result<Vec<String>, Failure> {
            let rows = rows(&client, sql).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        };
        Ok(Self {
            attempts,
            tags,
            left: texts(LEFT).await?,
            strangers: texts(STRANGERS).await?,
        })
    }

    /// Of all that were not lost, in their order.
    pub(super) fn ends(&self) -> Vec<i64> {
        let ended = self.attempts.values();
        let mut ends: Vec<i64> = ended
            .filter(|attempt| attempt.outcome != Outcome::Expired)
            .map(|attempt| attempt.ended)
            .collect();
        ends.sort_unstable();
        ends
    }
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<Row>, Failure> {
    client.query(sql, &[]).await.map_err(Failure::check)
}

fn attempt(row: &Row) -> Result<Attempt, Failure> {
    let outcomes = [
        Outcome::Finished,
        Outcome::Failed,
        Outcome::Canceled,
        Outcome::Expired,
    ];
    let said: &str = row.get(6);
    let outcome = outcomes.into_iter().find(|o| o.as_str() == said);
    Ok(Attempt {
        fence: Fence::new(row.get(0)),
        machine: row.get::<_, &str>(1).parse().map_err(Failure::check)?,
        process: row.get::<_, &str>(2).parse().map_err(Failure::check)?,
        session: row.get::<_, &str>(3).parse().map_err(Failure::check)?,
        started: row.get(4),
        ended: row.get(5),
        outcome: outcome.ok_or_else(|| Failure::check(format!("the outcome {said:?}")))?,
        interval: row.get(7),
    })
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(self.fence, &self.process, &self.machine))
    }
}
