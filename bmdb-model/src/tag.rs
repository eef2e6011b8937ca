//! The tags that come with bmdb, by name: for whoever deals with a tag that is named at run time.

use crate::schema::{
    machine_agent_heartbeat, machine_agent_started, machine_hardware_report,
    machine_os_installation_report, machine_os_installation_request, machine_provided,
};
use crate::{Error, MachineId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;
use std::str::FromStr;

/// A tag's name: its table is `machine_` and this. A hold is no tag of this kind: see [`crate::hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagName {
    /// Which provider the machine comes from.
    Provided,
    /// The agent was started.
    AgentStarted,
    /// The agent was heard from.
    AgentHeartbeat,
    /// What the agent found in the machine.
    HardwareReport,
    /// An operating system is to be installed.
    OsInstallationRequest,
    /// How an installation ended.
    OsInstallationReport,
}

/// A text that names no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no tag {text:?}; the tags are {}", names())]
pub struct UnknownTag {
    text: String,
}

fn names() -> String {
    TagName::ALL.map(TagName::as_str).join(", ")
}

impl TagName {
    /// All of them.
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

/// Takes a tag from a machine; whether it had it. The heartbeat of an agent goes with its start. The
/// caller has touched the machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    tag: TagName,
) -> Result<bool, Error> {
    macro_rules! delete {
        ($table:ident) => {
            diesel::delete($table::table.find(machine))
                .execute(conn)
                .await?
        };
    }
    let deleted = match tag {
        TagName::Provided => delete!(machine_provided),
        TagName::AgentStarted => delete!(machine_agent_heartbeat) + delete!(machine_agent_started),
        TagName::AgentHeartbeat => delete!(machine_agent_heartbeat),
        TagName::HardwareReport => delete!(machine_hardware_report),
        TagName::OsInstallationRequest => delete!(machine_os_installation_request),
        TagName::OsInstallationReport => delete!(machine_os_installation_report),
    };
    Ok(deleted > 0)
}
