//! Limits of the columns that hold texts and bytes, in bytes. Checked before anything is sent.

use crate::Error;
use crate::error::storable;
use std::borrow::Cow;

/// Columns of texts or bytes that have the same meaning, and the longest value that they take.
///
/// Functions of this crate refuse a longer value with [`Error::TooLong`]. What a column takes also fits the
/// indexes that the column is in, alone and together with their other columns. The texts that attempts leave
/// behind are cut instead: a failure is recorded whatever its cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name in errors.
    pub name: &'static str,
    /// The longest value, in bytes of UTF-8.
    pub maximum_bytes: usize,
    /// Where it is stored, each as `table.column`.
    pub stored_in: &'static [&'static str],
}

impl Column {
    /// Names of processes, lanes and providers.
    pub const NAME: Self = Self {
        name: "name",
        maximum_bytes: 63,
        stored_in: &[
            "agent_listener.provider",
            "agent_listening.provider",
            "attempt_tally.process",
            "machine_provided.provider",
            "operator_action.process",
            "plan_failure.process",
            "process_breaker.process",
            "process_breaker_state.partition",
            "process_breaker_state.process",
            "process_control.process",
            "process_def.lane",
            "process_def.process",
            "process_failures.partition",
            "process_failures.process",
            "process_limit.process",
            "process_pause.process",
            "process_pause.provider",
            "process_slot.partition",
            "process_slot.process",
            "work_attempt.process",
            "work_item.lane",
            "work_item.process",
            "work_item.provider",
        ],
    };
    /// The provider's id of a machine.
    pub const PROVIDER_ID: Self = Self {
        name: "provider_id",
        maximum_bytes: 1024,
        stored_in: &["machine_provided.provider_id"],
    };
    /// The provider's reservation.
    pub const RESERVATION_ID: Self = Self {
        name: "reservation_id",
        maximum_bytes: 1024,
        stored_in: &["machine_provided.provider_reservation_id"],
    };
    /// The address at which a machine is reached.
    pub const IP_ADDRESS: Self = Self {
        name: "ip_address",
        maximum_bytes: 1024,
        stored_in: &["machine_provided.provider_ip_address"],
    };
    /// The location of a machine.
    pub const LOCATION: Self = Self {
        name: "location",
        maximum_bytes: 1024,
        stored_in: &["machine_provided.provider_location"],
    };
    /// The public key of an agent.
    pub const PUBLIC_KEY: Self = Self {
        name: "public_key",
        maximum_bytes: 65_536,
        stored_in: &["machine_agent_started.agent_public_key"],
    };
    /// The hardware that an agent found.
    pub const HARDWARE_REPORT: Self = Self {
        name: "hardware report",
        maximum_bytes: 16_777_216,
        stored_in: &["machine_hardware_report.hardware_report_raw"],
    };
    /// A request to install an operating system.
    pub const OS_INSTALLATION_REQUEST: Self = Self {
        name: "installation request",
        maximum_bytes: 16_777_216,
        stored_in: &["machine_os_installation_request.os_installation_request_raw"],
    };
    /// The report of an installation.
    pub const OS_INSTALLATION_REPORT: Self = Self {
        name: "installation report",
        maximum_bytes: 16_777_216,
        stored_in: &["machine_os_installation_report.os_installation_report_raw"],
    };
    /// Why an operator acts.
    pub const REASON: Self = Self {
        name: "reason",
        maximum_bytes: 8192,
        stored_in: &[
            "machine_hold.reason",
            "operator_action.reason",
            "process_pause.reason",
            "work_item.hold_reason",
        ],
    };
    /// Who acts.
    pub const OPERATOR: Self = Self {
        name: "operator",
        maximum_bytes: 1024,
        stored_in: &["operator_action.operator", "process_pause.paused_by"],
    };
    /// The name of a component.
    pub const COMPONENT: Self = Self {
        name: "component name",
        maximum_bytes: 1024,
        stored_in: &["sessions.session_component_name"],
    };
    /// Where and how a component runs.
    pub const RUNTIME_INFO: Self = Self {
        name: "runtime info",
        maximum_bytes: 4096,
        stored_in: &["sessions.session_runtime_info"],
    };
    /// The view of a workflow. No view has a longer name, so there is none to define it by.
    pub const WORKFLOW: Self = Self {
        name: "workflow",
        maximum_bytes: 63,
        stored_in: &[
            "plan_failure.workflow",
            "process_def.off_workflow",
            "process_def.workflow",
        ],
    };
    /// The cause of a failure. A longer one is cut.
    pub const CAUSE: Self = Self {
        name: "cause",
        maximum_bytes: 8192,
        stored_in: &["work_attempt.cause", "work_item.cause"],
    };
    /// The error of a workflow, or of a task of the maintenance. A longer one is cut.
    pub const ERROR: Self = Self {
        name: "error",
        maximum_bytes: 2048,
        stored_in: &["plan_failure.error", "upkeep.failure"],
    };
    /// Each value in an audit record's details. A longer one is cut.
    pub const DETAIL: Self = Self {
        name: "detail",
        maximum_bytes: 8192,
        stored_in: &["operator_action.details"],
    };

    /// All columns of texts and bytes whose values come from outside the database.
    pub const ALL: [Self; 17] = [
        Self::NAME,
        Self::PROVIDER_ID,
        Self::RESERVATION_ID,
        Self::IP_ADDRESS,
        Self::LOCATION,
        Self::PUBLIC_KEY,
        Self::HARDWARE_REPORT,
        Self::OS_INSTALLATION_REQUEST,
        Self::OS_INSTALLATION_REPORT,
        Self::REASON,
        Self::OPERATOR,
        Self::COMPONENT,
        Self::RUNTIME_INFO,
        Self::WORKFLOW,
        Self::CAUSE,
        Self::ERROR,
        Self::DETAIL,
    ];

    /// Refuses a text that cannot be stored.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::NulByte`].
    pub fn check(&self, text: &str) -> Result<(), Error> {
        self.check_bytes(text.as_bytes())?;
        storable(self.name, text)
    }

    /// Like [`Column::check`]; also refuses an empty text.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`].
    pub fn check_non_empty(&self, text: &str) -> Result<(), Error> {
        match text.is_empty() {
            true => Err(Error::Empty { field: self.name }),
            false => self.check(text),
        }
    }

    /// Refuses bytes that are too many.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        match bytes.len() <= self.maximum_bytes {
            true => Ok(()),
            false => Err(Error::TooLong {
                field: self.name,
                length: bytes.len(),
                limit: self.maximum_bytes,
            }),
        }
    }

    pub(crate) fn check_optional(&self, text: Option<&str>) -> Result<(), Error> {
        text.map_or(Ok(()), |text| self.check(text))
    }

    /// The text as it is recorded when nobody can be asked for another one: NUL bytes are escaped, and what is
    /// too long is cut at a character boundary and marked.
    #[must_use]
    pub fn recorded<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.len() <= self.maximum_bytes && !text.contains('\0') {
            return Cow::Borrowed(text);
        }
        // A byte more than the column takes, so that what is cut is marked.
        let beginning = &text[..text.floor_char_boundary(self.maximum_bytes + 1)];
        let mut recorded = beginning.replace('\0', ESCAPED_NUL);
        if recorded.len() > self.maximum_bytes || beginning.len() < text.len() {
            recorded.truncate(recorded.floor_char_boundary(self.maximum_bytes - CUT_MARK.len()));
            recorded.push_str(CUT_MARK);
        }
        Cow::Owned(recorded)
    }

    /// Like [`Column::recorded`], and never empty.
    #[must_use]
    pub fn recorded_reason<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match text.is_empty() {
            true => Cow::Borrowed("no reason given"),
            false => self.recorded(text),
        }
    }
}

/// How Rust writes NUL.
const ESCAPED_NUL: &str = "\\u{0}";

/// The end of a text that was cut.
pub(crate) const CUT_MARK: &str = " … [cut]";

/// The text with every character escaped that some database may refuse: what is left is printable ASCII.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | ' '..='~' => escaped.push(c),
            c => escaped.extend(c.escape_unicode()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_marked() {
        let cause = "ß".repeat(5000);
        let cut = Column::CAUSE.recorded(&cause);
        assert!(
            cut.len() <= 8192 && cut.ends_with(CUT_MARK),
            "{}",
            cut.len()
        );
        let longest = "x".repeat(8192);
        assert_eq!(Column::CAUSE.recorded(&longest), longest);
    }

    #[test]
    fn nul_is_escaped_and_does_not_make_a_text_longer_than_its_column() {
        assert_eq!(Column::CAUSE.recorded("a\0b\u{ffff}"), "a\\u{0}b\u{ffff}");
        let nul = "\0".repeat(8192);
        let cut = Column::CAUSE.recorded(&nul);
        assert!(cut.len() <= 8192 && cut.ends_with(CUT_MARK), "{cut}");
    }

    #[test]
    fn what_is_escaped_is_ascii_and_keeps_its_lines() {
        assert_eq!(escaped("a → b\n\0"), "a \\u{2192} b\n\\u{0}");
    }
}
