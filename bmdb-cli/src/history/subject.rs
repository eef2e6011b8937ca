//! Subject of a history: a machine, a session, or the operators.

use bmdb_model::{MachineId, SessionId};

#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    Machine(MachineId),
    Session(SessionId),
    /// All operator actions.
    Operators,
}

impl Subject {
    pub(super) const fn of(machine: Option<MachineId>, session: Option<SessionId>) -> Self {
        match (machine, session) {
            (Some(machine), _) => Self::Machine(machine),
            (None, Some(session)) => Self::Session(session),
            (None, None) => Self::Operators,
        }
    }

    /// The note for an empty history.
    pub(super) fn empty(self) -> String {
        match self {
            Self::Machine(machine) => format!("No history of machine {machine}."),
            Self::Session(session) => {
                format!("No recorded attempt was ended by session {session}.")
            }
            Self::Operators => "No operator actions.".to_owned(),
        }
    }
}
