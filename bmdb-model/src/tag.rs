//! bmdb's own tags by name, for programs that learn a tag's name at run time.

use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;
use std::str::FromStr;

/// The name of a tag; the tag's table is `machine_` and this name. A hold is not one of these tags: see
/// [`crate::hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagName {
    /// The machine's provider.
    Provided,
    /// The agent that was started.
    AgentStarted,
    /// The agent's last heartbeat.
    AgentHeartbeat,
    /// The hardware that the agent found.
    HardwareReport,
    /// The operating system to install.
    OsInstallationRequest,
    /// How the installation ended.
    OsInstallationReport,
}

/// The text is not the name of a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no tag {text:?}; the tags are {}", names())]
pub struct UnknownTag {
    text: String,
}

fn names() -> String {
    TagName::ALL.map(TagName::as_str).join(", ")
}

impl TagName {
    /// All tags.
    pub const ALL: [Self; 6] = [
        Self::Provided,
        Self::AgentStarted,
        Self::AgentHeartbeat,
        Self::HardwareReport,
        Self::OsInstallationRequest,
        Self::OsInstallationReport,
    ];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provided => "provided",
            Self::AgentStarted => "agent_started",
            Self::AgentHeartbeat => "agent_heartbeat",
            Self::HardwareReport => "hardware_report",
            Self::OsInstallationRequest => "os_installation_request",
            Self::OsInstallationReport => "os_installation_report",
        }
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TagName {
    type Err = UnknownTag;

    fn from_str(text: &str) -> Result<Self, UnknownTag> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownTag {
            text: text.chars().take(64).collect(),
        })
    }
}

/// Removes a tag from a machine; returns whether it had the tag. An agent's heartbeat is removed with
/// its start. The caller has touched the machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    tag: TagName,
) -> Result<bool, Error> {
    Ok(!unset_pipelined(conn, &[machine], tag).await?.is_empty())
}

/// Like [`unset`] for many machines, in one statement. Returns those that had the tag, in id order. The
/// caller has touched all of them.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset_all(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    tag: TagName,
) -> Result<Vec<MachineId>, Error> {
    let mut had = unset_pipelined(conn, machines, tag).await?;
    had.sort_unstable();
    Ok(had)
}

statement! {
    UnsetAgents<'a> = include_str!("sql/unset_agents.sql");
    (machines: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

statement! {
    UnsetAgentHeartbeats<'a> = include_str!("sql/unset_agent_heartbeats.sql");
    (machines: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

/// Defines the statement that deletes rows of a tag whose writers have all locked the machine.
macro_rules! unset {
    ($name:ident from $table:literal) => {
        statement! {
            $name<'a> = concat!(
                "DELETE FROM ", $table, " WHERE machine_id = ANY ($1) RETURNING machine_id"
            );
            (machines: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
        }
    };
}

unset!(UnsetProvided from "machine_provided");
unset!(UnsetHardwareReports from "machine_hardware_report");
unset!(UnsetOsInstallationRequests from "machine_os_installation_request");
unset!(UnsetOsInstallationReports from "machine_os_installation_report");

pub(crate) async fn unset_pipelined(
    mut conn: &AsyncPgConnection,
    machines: &[MachineId],
    tag: TagName,
) -> Result<Vec<MachineId>, Error> {
    let conn = &mut conn;
    let had = match tag {
        TagName::Provided => UnsetProvided { machines }.load(conn).await,
        TagName::AgentStarted => UnsetAgents { machines }.load(conn).await,
        TagName::AgentHeartbeat => UnsetAgentHeartbeats { machines }.load(conn).await,
        TagName::HardwareReport => UnsetHardwareReports { machines }.load(conn).await,
        TagName::OsInstallationRequest => UnsetOsInstallationRequests { machines }.load(conn).await,
        TagName::OsInstallationReport => UnsetOsInstallationReports { machines }.load(conn).await,
    };
    Ok(had?)
}
