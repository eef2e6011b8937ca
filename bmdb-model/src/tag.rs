//! bmdb's own tags by name, for programs that learn a tag's name at run time.

use crate::schema::{
    machine_agent_heartbeat, machine_agent_started, machine_hardware_report,
    machine_os_installation_report, machine_os_installation_request, machine_provided,
};
use crate::{Error, MachineId};
use diesel::prelude::*;
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
