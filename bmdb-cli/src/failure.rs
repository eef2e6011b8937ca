//! Why a command failed, and with which exit code: every error of the libraries ends up here.

use crate::exit::Exit;
use bmdb_core::operator::OperatorError;
use bmdb_core::{ConnectError, SessionError, TxError, WorkError};
use bmdb_model::grants::GrantError;
use bmdb_model::migration::MigrationError;

/// What a command comes back with when it did not succeed: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Exit::Other, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same with what to do next, where the message does not say so.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match &error {
            ConnectError::Migration(_) => {
                return match error {
                    ConnectError::Migration(error) => error.into(),
                    other => Self::other(other.to_string()),
                };
            }
            ConnectError::InvalidUrl(_)
            | ConnectError::InvalidConfig { .. }
            | ConnectError::UnusableFile { .. } => Exit::Usage,
            // Class 28: who is not let in at all.
            ConnectError::Refused { code, .. } if code.starts_with("28") || code == "42501" => {
                Exit::Denied
            }
            _ => Exit::Unreachable,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<MigrationError> for Failure {
    fn from(error: MigrationError) -> Self {
        let exit = match error {
            MigrationError::ComponentTooOld { .. }
            | MigrationError::DatabaseTooOld { .. }
            | MigrationError::BuiltUpon { .. } => Exit::Schema,
            MigrationError::Busy { .. }
            | MigrationError::Locked { .. }
            | MigrationError::NotTheNewest { .. } => Exit::Conflict,
            MigrationError::MayNotMigrate { .. } => Exit::Denied,
            MigrationError::Failed(source) => return migration_failed(source),
            MigrationError::Database(error) => return bmdb_model::Error::from(error).into(),
            _ => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}

/// What it failed by decides, where that is known.
fn migration_failed(source: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    let source = match source.downcast::<ConnectError>() {
        Ok(error) => return (*error).into(),
        Err(source) => source,
    };
    let source = match source.downcast::<TxError>() {
        Ok(error) => return (*error).into(),
        Err(source) => source,
    };
    Failure::other(MigrationError::Failed(source).to_string())
}

impl From<bmdb_model::Error> for Failure {
    fn from(error: bmdb_model::Error) -> Self {
        use bmdb_model::{Error, ErrorKind};
        let exit = match &error {
            Error::NulByte { .. } | Error::Empty { .. } | Error::InvalidDefinition { .. } => {
                Exit::Usage
            }
            Error::NoSuchMachine(_) => Exit::NotFound,
            Error::ProviderIdTaken { .. } | Error::MachineExists(_) | Error::MachineHasWork(_) => {
                Exit::Conflict
            }
            _ => match error.kind() {
                ErrorKind::ConnectionLost => Exit::Unreachable,
                ErrorKind::Denied => Exit::Denied,
                ErrorKind::LockTimeout | ErrorKind::LaneTaken => Exit::Conflict,
                _ => Exit::Other,
            },
        };
        let failure = Self::new(exit, error.to_string());
        match exit {
            Exit::Denied => failure.hint(
                "a login that only looks needs the role bmdb_viewer, any other bmdb_component \
                 (GRANT … TO the login); `bmdb migrate grants` sets the roles up",
            ),
            _ => failure,
        }
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Self {
        let exit = match error {
            GrantError::MayNotCreateRoles { .. } | GrantError::NotInForce { .. } => Exit::Denied,
            GrantError::Refused { ref reason, .. }
                if reason.kind() == bmdb_model::ErrorKind::Denied =>
            {
                Exit::Denied
            }
            GrantError::NoSchema => Exit::Usage,
            GrantError::Database(error) => return error.into(),
            _ => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<TxError> for Failure {
    fn from(error: TxError) -> Self {
        match error {
            TxError::Database(error) => error.into(),
            TxError::Unavailable(_) => Self::new(Exit::Unreachable, error.to_string()),
            TxError::Invalid { .. } => Self::usage(error.to_string()),
            // A closure's own reason.
            TxError::Aborted(source) => match source.downcast::<Self>() {
                Ok(failure) => *failure,
                Err(source) => Self::other(source.to_string()),
            },
            other => Self::other(other.to_string()),
        }
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let exit = match &error {
            OperatorError::NoSuchSession(_)
            | OperatorError::NotHeld { .. }
            | OperatorError::NoBackoff { .. }
            | OperatorError::BackoffPassed { .. } => Exit::NotFound,
            OperatorError::SessionEnded(_)
            | OperatorError::OtherFence { .. }
            | OperatorError::AtWork { .. } => Exit::Conflict,
            OperatorError::Tag(_) => Exit::Usage,
            OperatorError::Transaction(_) => {
                return match error {
                    OperatorError::Transaction(error) => error.into(),
                    other => Self::other(other.to_string()),
                };
            }
            _ => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Migration(error) => error.into(),
            SessionError::Transaction(error) => error.into(),
            other => Self::usage(other.to_string()),
        }
    }
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::NothingToDo => Self::new(Exit::NotFound, error.to_string()),
            WorkError::Conflict { .. } | WorkError::BackedOff { .. } | WorkError::OnHold { .. } => {
                Self::new(Exit::Conflict, error.to_string())
            }
            WorkError::Database(error) => error.into(),
            WorkError::Transaction(error) => error.into(),
            other => Self::other(other.to_string()),
        }
    }
}
