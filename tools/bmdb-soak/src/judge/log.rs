//! Log: what the database says, read by the judge's own SQL.

use super::attempt::Attempt;
use super::invariant::Breach;
use super::laws::{COUNTS, LAWS};
use super::limits::Limits;
use crate::connect::connect;
use crate::failure::Done;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use tokio_postgres::{Client, Row};

#[derive(Debug)]
pub(super) struct Log {
    pub(super) attempts: BTreeMap<Fence, Attempt>,
    /// The machines of all tags that were ever written, by the fence that wrote them.
    pub(super) tags: HashMap<Fence, Vec<MachineId>>,
    pub(super) limits: Limits,
    pub(super) broken_laws: Vec<Breach>,
    /// When attempts ended, except expired ones, sorted.
    pub(super) ends: Vec<i64>,
    pub(super) counts: Vec<(&'static str, usize)>,
}

const ATTEMPTS: &str = "
    SELECT fence, machine_id::text, process, session_id::text,
           (extract(epoch FROM started_at) * 1000000)::bigint,
           (extract(epoch FROM ended_at) * 1000000)::bigint, outcome, interval_seconds
    FROM work_attempt";

const TAGS: &str = "SELECT fence, machine_id::text FROM tag_log";

impl Log {
    pub(super) async fn read(url: &str) -> Done<Self> {
        let client = connect(url).await?;
        let mut attempts = BTreeMap::new();
        for row in client.query(ATTEMPTS, &[]).await? {
            let attempt = attempt(&row)?;
            attempts.insert(attempt.fence, attempt);
        }
        let mut tags: HashMap<Fence, Vec<MachineId>> = HashMap::new();
        for row in client.query(TAGS, &[]).await? {
            let machines = tags.entry(Fence::new(row.get(0))).or_default();
            machines.push(row.get::<_, &str>(1).parse()?);
        }
        let mut counts = Vec::new();
        for (what, sql) in COUNTS {
            let count: i64 = client.query_one(sql, &[]).await?.get(0);
            counts.push((what, usize::try_from(count)?));
        }
        let ended = attempts.values().filter(|a| a.outcome != Outcome::Expired);
        let mut ends: Vec<i64> = ended.map(|attempt| attempt.ended).collect();
        ends.sort_unstable();
        Ok(Self {
            attempts,
            tags,
            limits: Limits::read(&client).await?,
            broken_laws: broken_laws(&client).await?,
            ends,
            counts,
        })
    }
}

async fn broken_laws(client: &Client) -> Done<Vec<Breach>> {
    let mut breaches = Vec::new();
    for (invariant, law) in LAWS {
        let rows = client.query(law, &[]).await?;
        breaches.extend(rows.iter().map(|row| Breach {
            invariant,
            what: row.get(0),
        }));
    }
    Ok(breaches)
}

fn attempt(row: &Row) -> Done<Attempt> {
    Ok(Attempt {
        fence: Fence::new(row.get(0)),
        machine: row.get::<_, &str>(1).parse()?,
        process: row.get::<_, &str>(2).parse()?,
        session: row.get::<_, &str>(3).parse()?,
        started: row.get(4),
        ended: row.get(5),
        outcome: row.get::<_, &str>(6).parse()?,
        interval: row.get(7),
    })
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fence,
            process,
            machine,
            ..
        } = self;
        write!(f, "fence {fence} ({process} of machine {machine})")
    }
}
