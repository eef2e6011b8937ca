//! `TagWrites`: what to write about one machine, as a value.

use crate::os_installation::{InstallationReport, InstallationRequest};
use crate::tag::TagName;
use crate::{AgentStarted, Error, Provided, hardware};
use chrono::{DateTime, Utc};
use std::fmt;

/// What to write about one machine: which of bmdb's own tags to set, and which to unset.
///
/// Unlike a closure it is a value, so that what is written about many machines travels in one statement
/// for each kind of tag. All of it is written in one transaction.
///
/// ```
/// use bmdb_model::tag::TagName;
/// use bmdb_model::{AgentStarted, TagWrites};
///
/// let writes = TagWrites::new()
///     .agent_started(AgentStarted::now(b"key"))
///     .hardware_report(b"16 cores")
///     .unset(TagName::OsInstallationReport);
/// writes.check()?;
/// # Ok::<(), bmdb_model::Error>(())
/// ```
///
/// Each tag is written once: a later call for the same tag replaces an earlier one, and otherwise the
/// order of the calls does not matter.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TagWrites {
    pub(crate) provided: Option<TagWrite<Provided>>,
    pub(crate) agent_started: Option<TagWrite<AgentStarted>>,
    pub(crate) agent_heartbeat: Option<TagWrite<Option<DateTime<Utc>>>>,
    pub(crate) hardware_report: Option<TagWrite<Vec<u8>>>,
    pub(crate) os_installation_request: Option<TagWrite<InstallationRequest>>,
    pub(crate) os_installation_report: Option<TagWrite<InstallationReport>>,
}

/// What to do with one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagWrite<T> {
    Set(T),
    Unset,
}

impl TagWrites {
    /// Writes nothing, until tags are added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the tag `provided`: the provider of the machine, and its identity there.
    #[must_use]
    pub fn provided(mut self, provided: Provided) -> Self {
        self.provided = Some(TagWrite::Set(provided));
        self
    }

    /// Records that the agent was started. Deletes heartbeats from before the start, but not the one that
    /// is set by [`TagWrites::agent_heartbeat`].
    #[must_use]
    pub fn agent_started(mut self, started: AgentStarted) -> Self {
        self.agent_started = Some(TagWrite::Set(started));
        self
    }

    /// Sets the agent's last heartbeat, also to an earlier time; `None` is the database's time of the write.
    #[must_use]
    pub fn agent_heartbeat(mut self, at: Option<DateTime<Utc>>) -> Self {
        self.agent_heartbeat = Some(TagWrite::Set(at));
        self
    }

    /// Stores the agent's report of the machine's hardware.
    #[must_use]
    pub fn hardware_report(mut self, raw: impl Into<Vec<u8>>) -> Self {
        self.hardware_report = Some(TagWrite::Set(raw.into()));
        self
    }

    /// Requests the installation of an operating system; a new generation replaces the one before.
    #[must_use]
    pub fn os_installation_request(mut self, request: InstallationRequest) -> Self {
        self.os_installation_request = Some(TagWrite::Set(request));
        self
    }

    /// Reports the result of installing a generation.
    #[must_use]
    pub fn os_installation_report(mut self, report: InstallationReport) -> Self {
        self.os_installation_report = Some(TagWrite::Set(report));
        self
    }

    /// Removes a tag, if the machine has it. The agent's heartbeat is removed with its start.
    #[must_use]
    pub fn unset(mut self, tag: TagName) -> Self {
        match tag {
            TagName::Provided => self.provided = Some(TagWrite::Unset),
            TagName::AgentStarted => {
                self.agent_started = Some(TagWrite::Unset);
                self.agent_heartbeat = Some(TagWrite::Unset);
            }
            TagName::AgentHeartbeat => self.agent_heartbeat = Some(TagWrite::Unset),
            TagName::HardwareReport => self.hardware_report = Some(TagWrite::Unset),
            TagName::OsInstallationRequest => self.os_installation_request = Some(TagWrite::Unset),
            TagName::OsInstallationReport => self.os_installation_report = Some(TagWrite::Unset),
        }
        self
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions().iter().all(|(_, action)| action.is_none())
    }

    /// Refuses values that cannot be stored. Call it before the work that ends with these writes.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`].
    pub fn check(&self) -> Result<(), Error> {
        check(&self.provided, Provided::check)?;
        check(&self.agent_started, AgentStarted::check)?;
        check(&self.hardware_report, |raw| hardware::check(raw))?;
        check(&self.os_installation_request, InstallationRequest::check)?;
        check(&self.os_installation_report, InstallationReport::check)
    }

    /// What is done with each tag: `set`, `unset` or nothing.
    fn actions(&self) -> [(TagName, Option<&'static str>); 6] {
        [
            (TagName::Provided, action(&self.provided)),
            (TagName::AgentStarted, action(&self.agent_started)),
            (TagName::AgentHeartbeat, action(&self.agent_heartbeat)),
            (TagName::HardwareReport, action(&self.hardware_report)),
            (
                TagName::OsInstallationRequest,
                action(&self.os_installation_request),
            ),
            (
                TagName::OsInstallationReport,
                action(&self.os_installation_report),
            ),
        ]
    }
}

fn check<T>(
    write: &Option<TagWrite<T>>,
    check: impl FnOnce(&T) -> Result<(), Error>,
) -> Result<(), Error> {
    match write {
        Some(TagWrite::Set(value)) => check(value),
        Some(TagWrite::Unset) | None => Ok(()),
    }
}

fn action<T>(write: &Option<TagWrite<T>>) -> Option<&'static str> {
    write.as_ref().map(|write| match write {
        TagWrite::Set(_) => "set",
        TagWrite::Unset => "unset",
    })
}

/// Without the values, which may be megabytes.
impl fmt::Debug for TagWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TagWrites");
        for (tag, action) in self.actions() {
            if let Some(action) = action {
                debug.field(tag.as_str(), &format_args!("{action}"));
            }
        }
        debug.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::Column;

    #[test]
    fn a_later_call_for_the_same_tag_replaces_the_earlier_one() {
        let [first, second] = [b"1", b"2"].map(AgentStarted::now);
        let set = TagWrites::new().agent_started(second.clone());
        let twice = TagWrites::new()
            .agent_started(first.clone())
            .agent_started(second);
        assert_eq!(twice, set);
        let unset = TagWrites::new()
            .hardware_report(b"a")
            .unset(TagName::HardwareReport);
        assert_eq!(unset, TagWrites::new().unset(TagName::HardwareReport));
        let set = TagWrites::new()
            .unset(TagName::HardwareReport)
            .hardware_report(b"a");
        assert_eq!(set, TagWrites::new().hardware_report(b"a"));
    }

    #[test]
    fn the_heartbeat_is_unset_with_the_start_until_it_is_set_again() {
        let unset = TagWrites::new()
            .agent_heartbeat(None)
            .unset(TagName::AgentStarted);
        assert_eq!(unset, TagWrites::new().unset(TagName::AgentStarted));
        assert_eq!(unset.agent_heartbeat, Some(TagWrite::Unset));
        let set = unset.agent_heartbeat(None);
        assert_eq!(set.agent_heartbeat, Some(TagWrite::Set(None)));
        assert_eq!(set.agent_started, Some(TagWrite::Unset));
    }

    #[test]
    fn nothing_is_written_by_default() {
        assert!(TagWrites::default().is_empty());
        for tag in TagName::ALL {
            assert!(!TagWrites::new().unset(tag).is_empty(), "{tag}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let long = vec![0; Column::PUBLIC_KEY.maximum_bytes + 1];
        let writes = TagWrites::new()
            .hardware_report(b"")
            .agent_started(AgentStarted::now(long));
        let refused = writes.check().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "public_key has 65537 bytes, and at most 65536 are stored: shorten it"
        );
        writes.unset(TagName::AgentStarted).check().unwrap();
    }

    #[test]
    fn debugging_shows_no_values() {
        let writes = TagWrites::new()
            .agent_started(AgentStarted::now(b"secret"))
            .unset(TagName::Provided);
        let text = "TagWrites { provided: unset, agent_started: set }";
        assert_eq!(format!("{writes:?}"), text);
    }
}
