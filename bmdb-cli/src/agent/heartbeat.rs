//! `bmdb agent heartbeat`: writes heartbeats of the named machines, or of those that standard input names.

use super::input;
use super::summary::Summary;
use super::writer::Writer;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use bmdb_model::{AgentHeartbeat, MachineId, Provider};

/// Write heartbeats of agents.
///
/// With - each line of standard input is a heartbeat: a complete machine id or Provider/provider_id, and
/// optionally a blank and the RFC 3339 time when the agent sent it. Lines that arrive within 50 ms are written
/// in one statement. While standard input is open, this program listens to agents: one that sends nothing is
/// silent. While the database is away it tries again, and listening starts again afterwards; heartbeats without a
/// time that have waited for half a minute are dropped then. Lines that are invalid and machines that do not exist
/// are reported on standard error. Ends with the input, or by Ctrl-C or SIGTERM.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb agent heartbeat fra1/rack-a-07
  my-gateway | bmdb agent heartbeat -
  my-gateway --site fra1 | bmdb agent heartbeat - --provider fra1

Exit codes, once all others are written: 2 some lines were invalid, 3 some machines do not exist, 5 some \
heartbeats were dropped while the database was away")]
pub(crate) struct Heartbeat {
    #[arg(value_name = "MACHINE", required = true, help = HELP)]
    machines: Vec<Target>,
    /// With -: listen only to the agents of this provider.
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Provider>,
}

const HELP: &str = "The machines, each by its id, at least the first 4 digits of it, or Provider/provider_id; \
                    - reads standard input";

#[derive(Debug, Clone)]
enum Target {
    Input,
    Machine(MachineArg),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-" => Ok(Self::Input),
            text => text.parse().map(Self::Machine),
        }
    }
}

impl Heartbeat {
    /// Whether it runs until its input ends.
    pub(super) fn reads_input(&self) -> bool {
        matches!(self.machines[..], [Target::Input])
    }

    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut machines = Vec::new();
        for target in &self.machines {
            match target {
                Target::Machine(machine) => machines.push(machine),
                Target::Input if self.machines.len() == 1 => return self.stream(context).await,
                Target::Input => {
                    return Err(Failure::usage(
                        "- stands alone: it reads all machines from standard input",
                    ));
                }
            }
        }
        if self.provider.is_some() {
            return Err(Failure::usage(
                "--provider says to whose agents - listens; named machines need none",
            ));
        }
        let summary = write(context, &machines).await?;
        context.output.report(&summary)
    }

    async fn stream(self, context: &Context) -> Result<(), Failure> {
        let mut writer = Writer::start(context, self.provider).await?;
        let stopped = context.signals.stopped();
        let lines = input::read()
            .map_err(|error| Failure::other(format!("cannot read standard input: {error}")))?;
        let summary = writer.run(lines, stopped).await?;
        writer.close().await;
        context.output.report(&summary)?;
        summary.failure().map_or(Ok(()), Err)
    }
}

/// Writes the heartbeats of all these machines, or none if one of them does not exist.
async fn write(context: &Context, machines: &[&MachineArg]) -> Result<Summary, Failure> {
    let mut heartbeats: Vec<AgentHeartbeat> = Vec::new();
    for machine in machines {
        heartbeats.push((machine.resolve(context).await?, None));
    }
    let heartbeats = &heartbeats;
    let written = context.with_session(async |session| session.heartbeat_agents(heartbeats).await);
    let unknown: Vec<MachineId> = written.await?;
    Ok(Summary {
        written: u64::try_from(heartbeats.len() - unknown.len()).unwrap_or(u64::MAX),
        unknown: u64::try_from(unknown.len()).unwrap_or(u64::MAX),
        ..Summary::default()
    })
}
