//! Sample: counts of the whole fleet.
//!
//! Counting reads whole tables, which takes seconds in a fleet of a million machines. So requests never
//! count: pages and metrics show the latest sample and its age.

use bmdb_core::{Reader, TxError};
use bmdb_model::agent::{self, ProviderAgents};
use bmdb_model::connection::{self, AsyncPgConnection};
use bmdb_model::counts::{self, FleetCounts, PendingCounts, ProcessCounts};
use bmdb_model::custom_tags::{self, TagTable};
use bmdb_model::plan::{self, PlanFailure};
use bmdb_model::process_control::{self, ProcessControl};
use bmdb_model::{ErrorKind, Process, ProcessDef, process};
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::time::Instant;

/// Counts of the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// Counts of machines and sessions.
    pub fleet: FleetCounts,
    /// Counts of each process that is defined or has work items, by name.
    pub processes: Vec<ProcessCounts>,
    /// Due machines of each process that has a workflow.
    pub pending: Vec<PendingCounts>,
    /// Processes whose workflow view could not be counted, with the error.
    pub uncounted: Vec<(Process, String)>,
    /// What limits and stops each process, by name.
    pub controls: Vec<ProcessControl>,
    /// Processes whose workflow fails when machines are planned.
    pub plan_failures: Vec<PlanFailure>,
    /// By the database's clock, when [`Sample::controls`] was read.
    pub at: DateTime<Utc>,
    /// Tag tables, including custom ones, and how many machines have each tag; by name.
    pub tags: Vec<(String, i64)>,
    /// Tag tables that could not be counted, with the error.
    pub uncounted_tags: Vec<(String, String)>,
    /// Who listens to the agents of each provider.
    pub agents: Vec<ProviderAgents>,
    /// How long the counting took.
    pub took: Duration,
    begun: Instant,
}

impl Sample {
    /// Counts the fleet. Each count is its own transaction: counts may be of different moments, and none
    /// holds back vacuum for longer than its own statement.
    ///
    /// # Errors
    /// Any error of a read, except that of a workflow view or a tag table, which is recorded in
    /// [`Sample::uncounted`] or [`Sample::uncounted_tags`].
    pub async fn take(reader: &Reader) -> Result<Self, TxError> {
        let begun = Instant::now();
        let fleet = reader
            .read(async |conn| Ok(counts::fleet(conn).await?))
            .await?;
        let processes = reader
            .read(async |conn| Ok(counts::processes(conn).await?))
            .await?;
        let defined = reader
            .read(async |conn| Ok(process::all(conn).await?))
            .await?;
        let (pending, uncounted) = count_pending(reader, &defined).await?;
        let (tags, uncounted_tags) = count_tags(reader).await?;
        let control = reader.read(async |conn| {
            let controls = process_control::all(conn).await?;
            let plan_failures = plan::failures(conn).await?;
            let agents = agent::listening(conn).await?;
            Ok((
                connection::now(conn).await?,
                controls,
                plan_failures,
                agents,
            ))
        });
        let (at, controls, plan_failures, agents) = control.await?;
        Ok(Self {
            processes: with_idle_processes(processes, &defined, fleet.machines),
            fleet,
            pending,
            uncounted,
            controls,
            plan_failures,
            at,
            tags,
            uncounted_tags,
            agents,
            took: begun.elapsed(),
            begun,
        })
    }

    /// The time since the counting began.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How many machines could be claimed for this process: by its workflow, or by its work items if it has
    /// none. `None` if its workflow view could not be counted.
    #[must_use]
    pub fn due(&self, counts: &ProcessCounts) -> Option<i64> {
        let due = |pending: &PendingCounts| pending.machines - pending.limited - pending.paused;
        self.of_queue(counts, due, counts.due)
    }

    /// How many machines need this process and cannot be claimed, because a limit leaves no room. `None` like
    /// [`Sample::due`].
    #[must_use]
    pub fn limited(&self, counts: &ProcessCounts) -> Option<i64> {
        self.of_queue(counts, |pending| pending.limited, counts.limited)
    }

    /// How many machines need this process and cannot be claimed, because it is paused. `None` like
    /// [`Sample::due`].
    #[must_use]
    pub fn paused(&self, counts: &ProcessCounts) -> Option<i64> {
        self.of_queue(counts, |pending| pending.paused, counts.paused)
    }

    fn of_queue(
        &self,
        counts: &ProcessCounts,
        by_workflow: impl Fn(&PendingCounts) -> i64,
        by_items: Option<i64>,
    ) -> Option<i64> {
        let process = &counts.process;
        match self.pending_for(process) {
            Some(pending) => Some(by_workflow(pending)),
            None if self.is_uncounted(process) => None,
            None => by_items,
        }
    }

    /// Due machines by the workflow of this process; `None` without a workflow that could be counted.
    #[must_use]
    pub fn pending_for(&self, process: &Process) -> Option<&PendingCounts> {
        self.pending
            .iter()
            .find(|pending| pending.process == *process)
    }

    /// Whether the process is switched off: then nothing about it needs a look.
    pub(crate) fn is_off(&self, process: &Process) -> bool {
        let mut controls = self.controls.iter();
        controls.any(|control| control.process == *process && control.off_workflow.is_some())
    }

    /// Whether the process's workflow fails when machines are planned.
    pub(crate) fn is_plan_failing(&self, process: &Process) -> bool {
        let mut failures = self.plan_failures.iter();
        failures.any(|failure| failure.broken.process == *process)
    }

    /// What limits and stops the processes that are not switched off.
    pub(crate) fn controls_in_use(&self) -> impl Iterator<Item = &ProcessControl> {
        let controls = self.controls.iter();
        controls.filter(|control| control.off_workflow.is_none())
    }

    pub(crate) fn is_uncounted(&self, process: &Process) -> bool {
        self.uncounted.iter().any(|(failed, _)| failed == process)
    }
}

type Counted<T, N> = (Vec<T>, Vec<(N, String)>);

/// The processes that could be counted, and those that could not.
async fn count_pending(
    reader: &Reader,
    defined: &[ProcessDef],
) -> Result<Counted<PendingCounts, Process>, TxError> {
    let (mut pending, mut failed) = (Vec::new(), Vec::new());
    for definition in defined {
        let count =
            async |conn: &mut AsyncPgConnection| Ok(counts::pending(conn, definition).await?);
        match unless_unavailable(reader.read(count).await)? {
            Ok(counted) => pending.extend(counted),
            Err(error) => {
                tracing::warn!(process = %definition.process, error, "cannot count a workflow");
                failed.push((definition.process.clone(), error));
            }
        }
    }
    Ok((pending, failed))
}

/// The tags that could be counted, and those that could not.
async fn count_tags(reader: &Reader) -> Result<Counted<(String, i64), String>, TxError> {
    let tables = reader
        .read(async |conn| Ok(custom_tags::tables(conn).await?))
        .await?;
    let (mut tags, mut failed) = (Vec::new(), Vec::new());
    for table in &tables {
        let name = table.name.clone();
        match count_tag(reader, table).await? {
            Ok(machines) => tags.push((name, machines)),
            Err(error) => failed.push((name, error)),
        }
    }
    Ok((tags, failed))
}

async fn count_tag(reader: &Reader, table: &TagTable) -> Result<Result<i64, String>, TxError> {
    if !table.readable {
        return Ok(Err("the database user may not read this table".to_owned()));
    }
    let count = async |conn: &mut AsyncPgConnection| Ok(custom_tags::count(conn, table).await?);
    let counted = unless_unavailable(reader.read(count).await)?;
    // The table may have been dropped since, or locked for too long.
    if let Err(error) = &counted {
        tracing::warn!(table = %table.name, error, "cannot count a tag");
    }
    Ok(counted)
}

/// Keeps the error of one count apart, unless the database is unavailable and no other count can succeed.
fn unless_unavailable<T>(counted: Result<T, TxError>) -> Result<Result<T, String>, TxError> {
    match counted {
        Err(error)
            if matches!(error, TxError::Unavailable(_))
                || matches!(
                    error.kind(),
                    Some(ErrorKind::ConnectionLost | ErrorKind::OutOfResources)
                ) =>
        {
            Err(error)
        }
        counted => Ok(counted.map_err(|error| error.to_string())),
    }
}

/// Adds counts of processes without work items, so that their metrics do not come and go.
fn with_idle_processes(
    mut counted: Vec<ProcessCounts>,
    defined: &[ProcessDef],
    machines: i64,
) -> Vec<ProcessCounts> {
    for definition in defined {
        let process = &definition.process;
        if !counted.iter().any(|counts| counts.process == *process) {
            let mut counts = ProcessCounts::new(process.clone());
            counts.due = (!definition.replan_on_claim).then_some(0);
            (counts.limited, counts.paused) = (counts.due, counts.due);
            counts.not_eligible = machines;
            counted.push(counts);
        }
    }
    counted.sort_by(|one, other| one.process.as_str().cmp(other.process.as_str()));
    counted
}
