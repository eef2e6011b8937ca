//! The definitions that machines are planned by.

use crate::statement::statement;
use crate::{Error, Lane, Process};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of changes of definitions so far, as a transaction of a session read it at its beginning;
/// `None` if somebody has deleted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefinitionsVersion(pub(crate) Option<i64>);

/// The processes that have a workflow, with the definitions that were in force when they were read.
///
/// A plan by definitions that have changed since fails with [`crate::ErrorKind::Serialization`]: the
/// transaction reads them again when it is retried. So they may be kept for as long as their version stays
/// the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions {
    /// `None` if somebody has deleted it.
    pub(super) version: Option<i64>,
    pub(super) workflows: Vec<Workflow>,
}

impl Definitions {
    /// The same definitions, but only this process's view is queried; the items of all others stay as
    /// they are. Use it to find the view that makes planning fail, and to plan without it.
    #[must_use]
    pub fn only(&self, process: &Process) -> Self {
        let only = |workflow: &Workflow| Workflow {
            asked: workflow.process == *process,
            ..workflow.clone()
        };
        Self {
            version: self.version,
            workflows: self.workflows.iter().map(only).collect(),
        }
    }

    /// Whether the process has a workflow.
    pub(crate) fn has(&self, process: &Process) -> bool {
        self.workflows.iter().any(|w| w.process == *process)
    }
}

/// A process that has a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workflow {
    pub(super) process: Process,
    pub(super) lane: Lane,
    pub(super) view: String,
    /// Whether the view is queried. Otherwise its items stay as they are.
    pub(super) asked: bool,
    pub(super) rest: RestTimes,
}

/// What a definition says of machines on which a process finishes without effect, or again and again. In
/// seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RestTimes {
    pub(super) initial: i64,
    pub(super) maximum: i64,
    pub(super) flapping_within: i64,
}

statement! {
    /// With its version, in one statement, which sees both before a change or both after it. One row
    /// without a process if none has a workflow.
    ReadDefinitions = "SELECT v.version, d.process, d.lane, d.workflow, \
             d.rest_initial_seconds, d.rest_maximum_seconds, d.flapping_within_seconds \
         FROM (SELECT (SELECT version FROM definitions_version) AS version) v \
         LEFT JOIN process_def d ON d.workflow IS NOT NULL ORDER BY d.process";
    () -> (Nullable<BigInt>, Nullable<(Text, Text, Text, BigInt, BigInt, BigInt)>)
}

type DefinitionRow = (Process, Lane, String, i64, i64, i64);

/// Reads the definitions, for planning several times by them. Lock the machines first.
///
/// # Errors
/// [`Error::Database`].
pub async fn definitions(conn: &mut AsyncPgConnection) -> Result<Definitions, Error> {
    definitions_pipelined(conn).await
}

pub(crate) async fn definitions_pipelined(
    mut conn: &AsyncPgConnection,
) -> Result<Definitions, Error> {
    let rows: Vec<(Option<i64>, Option<DefinitionRow>)> =
        ReadDefinitions {}.load(&mut conn).await?;
    let version = rows.iter().find_map(|(version, _)| *version);
    let workflow = |(process, lane, view, initial, maximum, flapping_within)| Workflow {
        process,
        lane,
        view,
        asked: true,
        rest: RestTimes {
            initial,
            maximum,
            flapping_within,
        },
    };
    let workflows = rows.into_iter().filter_map(|(_, row)| row.map(workflow));
    Ok(Definitions {
        version,
        workflows: workflows.collect(),
    })
}

/// For how long definitions are kept: a database that is restored in place may have the same version again.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The definitions that a connection has read. Each connection has its own, because another one may be to
/// another server. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct KnownDefinitions(Arc<Mutex<Option<Known>>>);

#[derive(Debug, Clone)]
struct Known {
    definitions: Arc<Definitions>,
    read_at: Instant,
}

impl KnownDefinitions {
    /// The definitions of a version. They are read if this connection has not read them in the last minute, and
    /// are those in force then, which may be of a later version.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn of(
        &self,
        conn: &mut AsyncPgConnection,
        DefinitionsVersion(version): DefinitionsVersion,
    ) -> Result<Arc<Definitions>, Error> {
        let known = self.known();
        if let Some(known) = known
            && version.is_some()
            && known.definitions.version == version
            && known.read_at.elapsed() < KEPT_FOR
        {
            return Ok(known.definitions);
        }
        let read_at = Instant::now();
        let definitions = Arc::new(definitions(conn).await?);
        let read = Known {
            definitions: definitions.clone(),
            read_at,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(definitions)
    }

    /// Forgets them. After a plan failed because they have changed: perhaps by its own transaction, which the version
    /// that the next one begins with does not show.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self) -> Option<Known> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
