//! A fleet whose agents beat or are silent, the gateway that listens to them, and time that passes.

use crate::connect::connect;
use crate::failure::Done;
use bmdb_core::fleet::Fleet;
use bmdb_core::{AgentListener, Bmdb, Config, Session, SessionOptions};
use bmdb_model::{AgentStarted, MachineId};
use bmdb_testkit::TestDb;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use tokio_postgres::Client;

/// Less than the gap after which nobody is listening any more.
const MINUTE: Duration = Duration::from_secs(60);

const REBOOTS: &str = "SELECT count(*) FROM work_attempt WHERE process = 'ShepherdRecovery'";

/// The machines whose agents run again.
const REBOOTED: &str = "SELECT DISTINCT machine_id::text FROM work_attempt
    WHERE process = 'ShepherdRecovery' AND outcome = 'Finished' AND fence > $1";

/// The most starts within ten minutes, and the most machines at once.
const MOST: &str = "
    SELECT coalesce(max(s.starts), 0), coalesce(max(s.running), 0)
    FROM (SELECT count(*) FILTER (WHERE b.started_at > a.started_at - interval '10 minutes') AS starts,
                 count(*) FILTER (WHERE b.ended_at > a.started_at) AS running
          FROM work_attempt a
          JOIN work_attempt b ON b.process = a.process AND b.started_at <= a.started_at
          WHERE a.process = 'ShepherdRecovery'
          GROUP BY a.fence) s";

/// Which agents send heartbeats.
#[derive(Debug, Clone, Copy)]
pub(super) enum Agents {
    All,
    /// Not those of the first machines, unless they were rebooted in this act.
    AllButFirst(usize),
}

pub(super) struct SilentFleet {
    db: TestDb,
    client: Client,
    machines: Vec<MachineId>,
    session: Session,
    listener: Option<AgentListener>,
    /// The last fence before this act.
    before: i64,
}

impl SilentFleet {
    /// Machines of one provider, whose agents have started.
    pub(super) async fn make(machines: usize) -> Done<Self> {
        let db = TestDb::new().await?;
        // Nobody listens but the gateway.
        db.run_sql("DELETE FROM agent_listening").await?;
        let config = Config::new(db.url())
            .component("gateway")
            .janitor_interval(None);
        let session = Bmdb::connect(config)
            .await?
            .start_session(SessionOptions::default())
            .await?;
        let rows: Vec<_> = (0..machines)
            .map(|id| json!({"provider": "Equinix", "provider_id": id.to_string()}))
            .collect();
        let fleet = Fleet::parse(&json!({ "machines": rows }).to_string())?;
        session
            .transact(async |tx| tx.import_fleet(&fleet).await.map(drop))
            .await?;
        let client = connect(db.admin_url()).await?;
        let ids = "SELECT machine_id::text FROM machine_provided ORDER BY provider_id::integer";
        let mut machines = Vec::new();
        for row in client.query(ids, &[]).await? {
            machines.push(row.get::<_, &str>(0).parse()?);
        }
        let started = AgentStarted::now("key");
        for some in machines.chunks(500) {
            session
                .transact(async |tx| {
                    for machine in some {
                        tx.set_agent_started(*machine, &started).await?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(Self {
            db,
            client,
            machines,
            session,
            listener: None,
            before: 0,
        })
    }

    pub(super) fn url(&self) -> &str {
        self.db.url()
    }

    pub(super) fn machine(&self, index: usize) -> MachineId {
        self.machines[index]
    }

    /// Reboots count as those of this act from now on.
    pub(super) async fn begin_act(&mut self) -> Done {
        let fence = "SELECT last_value FROM work_fence";
        self.before = self.client.query_one(fence, &[]).await?.get(0);
        Ok(())
    }

    /// The gateway listens to all agents.
    pub(super) async fn listen(&mut self) -> Done {
        self.listener = Some(self.session.listen_to_agents(None).await?);
        Ok(())
    }

    /// The gateway is gone.
    pub(super) async fn stop_listening(&mut self) -> Done {
        self.listener = None;
        // The handle says so in the background, for which the story has no time.
        let gone = "DELETE FROM agent_listener";
        Ok(self.client.batch_execute(gone).await?)
    }

    /// A minute passes. Agents send a heartbeat, and if there is a gateway, it writes them.
    pub(super) async fn pass_a_minute(&self, agents: Agents) -> Done {
        self.advance().await?;
        if self.listener.is_some() {
            let silent = match agents {
                Agents::All => HashSet::new(),
                Agents::AllButFirst(count) => self.silent(count).await?,
            };
            let beating = self.machines.iter().filter(|m| !silent.contains(m));
            let heartbeats: Vec<_> = beating.map(|machine| (*machine, None)).collect();
            self.session.heartbeat_agents(&heartbeats).await?;
        }
        // Janitors do it every few seconds, of which a moved minute has none.
        let observe = "SELECT observe_listening()";
        Ok(self.client.batch_execute(observe).await?)
    }

    /// Makes the programs look at once instead of at their next poll.
    pub(super) async fn wake(&self) -> Done {
        let notify = "SELECT pg_notify('bmdb_due', 'ShepherdRecovery')";
        Ok(self.client.batch_execute(notify).await?)
    }

    /// Janitors that replan lock machines later than their own rows, so moving all times can lose a deadlock.
    async fn advance(&self) -> Done {
        let mut tries = 0;
        loop {
            match self.db.advance(MINUTE).await {
                Err(_) if tries < 5 => tries += 1,
                advanced => return Ok(advanced?),
            }
        }
    }

    async fn silent(&self, first: usize) -> Done<HashSet<MachineId>> {
        let first = &self.machines[..first.min(self.machines.len())];
        let mut silent: HashSet<MachineId> = first.iter().copied().collect();
        for row in self.client.query(REBOOTED, &[&self.before]).await? {
            silent.remove(&row.get::<_, &str>(0).parse()?);
        }
        Ok(silent)
    }

    /// How often a program has started to reboot a machine in this act.
    pub(super) async fn reboots(&self) -> Done<usize> {
        let reboots = format!("{REBOOTS} AND fence > $1");
        let count: i64 = self
            .client
            .query_one(&reboots, &[&self.before])
            .await?
            .get(0);
        Ok(usize::try_from(count)?)
    }

    pub(super) async fn is_paused(&self) -> Done<bool> {
        self.holds("EXISTS (SELECT FROM process_pause WHERE until > clock_timestamp())")
            .await
    }

    /// Whether the breaker can trip again after somebody resumed.
    pub(super) async fn is_armed(&self) -> Done<bool> {
        self.holds("NOT EXISTS (SELECT FROM process_breaker_state WHERE disarmed)")
            .await
    }

    async fn holds(&self, condition: &str) -> Done<bool> {
        let query = format!("SELECT {condition}");
        Ok(self.client.query_one(&query, &[]).await?.get(0))
    }

    /// The most starts within ten minutes, and the most machines at once, in the whole story.
    pub(super) async fn most(&self) -> Done<(usize, usize)> {
        let row = self.client.query_one(MOST, &[]).await?;
        let number = |column| usize::try_from(row.get::<_, i64>(column));
        Ok((number(0)?, number(1)?))
    }
}
