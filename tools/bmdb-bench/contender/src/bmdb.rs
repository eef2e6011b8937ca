//! bmdb: a control loop that writes the tag *agent started*, as its runner runs it.

use crate::database::{Error, connect};
use crate::progress::Progress;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::control_loop::{
    Commit, ControlLoop, Failure, LoopOptions, Machine, Runner, Shutdown,
};
use bmdb_core::{Bmdb, Config, Work};
use bmdb_model::{AgentStarted, Process, Provider};
use std::sync::Arc;

/// Whether every machine has the tag. The attempt ends in the transaction that writes it.
pub(crate) const DONE: &str = "SELECT NOT EXISTS (SELECT FROM machines m WHERE NOT EXISTS
    (SELECT FROM machine_agent_started s WHERE s.machine_id = m.machine_id))";

/// Counts the machines that have the tag.
pub(crate) const OUTCOMES: &str = "SELECT count(*) FROM machine_agent_started";

/// Machines that are due for the process.
pub(crate) async fn fill(url: &str, jobs: u32) -> Result<(), Error> {
    let fleet = format!(
        "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, {jobs});
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         SELECT machine_id, 'Equinix', machine_id::text FROM machines"
    );
    connect(url).await?.batch_execute(&fleet).await?;
    let bmdb = Bmdb::connect(Config::new(url).component("comparison")).await?;
    bmdb.replan().await?;
    Ok(())
}

pub(crate) async fn work(url: &str, workers: u32, progress: Arc<Progress>) -> Result<(), Error> {
    let config = Config::new(url).component("comparison");
    let bmdb = Bmdb::connect(config.pool_size(usize::try_from(workers)?)).await?;
    // The default rate protects the database from loops that find work and do nothing about it.
    let options = LoopOptions::default().parallelism(workers).rate(None);
    let runner = Runner::new(&bmdb, AgentStarter(progress)).options(options);
    runner.run(Shutdown::new()).await?;
    Ok(())
}

struct AgentStarter(Arc<Progress>);

impl ControlLoop for AgentStarter {
    fn workflow(&self) -> Process {
        Process::SHEPHERD_AGENT_START
    }

    fn providers(&self) -> Vec<Provider> {
        vec![Provider::EQUINIX]
    }

    fn backoff(&self) -> Backoff {
        Backoff::fixed(Seconds::MIN)
    }

    async fn process(&self, work: &Work, _: &Machine) -> Result<Commit, Failure> {
        self.0.start();
        if self.0.fails_once() && work.failures() == 0 {
            return Err(Failure::new("no answer"));
        }
        self.0.succeed(1);
        Ok(Commit::agent_started(AgentStarted::now(b"the agent's key")))
    }
}
