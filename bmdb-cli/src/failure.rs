//! Failure of a command: its message and exit code. Every error of the libraries converts into it.

use crate::exit::Exit;
use bmdb_core::operator::OperatorError;
use bmdb_core::{ConnectError, SessionError, TxError, WorkError};
use bmdb_model::grants::GrantError;
use bmdb_model::migration::MigrationError;

/// Why a command failed, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
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

    /// Adds the next step, where the message does not name it.
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

/// The failure of a command that a signal has ended.
impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        let message = match exit {
            Exit::HungUp => "ended by SIGHUP",
            Exit::Quit => "ended by SIGQUIT",
            Exit::Terminated => "ended by SIGTERM",
            _ => "interrupted",
        };
        Self::new(exit, message)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let error = match error {
            ConnectError::Migration(error) => return error.into(),
            error => error,
        };
        let exit = match &error {
            ConnectError::InvalidUrl(_)
            | ConnectError::InvalidConfig { .. }
            | ConnectError::UnusableFile { .. } => Exit::Usage,
            // Class 28: the server refuses the login.
            ConnectError::Refused { code, .. } if code.starts_with("28") || code == "42501" => {
                Exit::Denied
            }
            // Waiting does not mend it.
            ConnectError::NotUtf8 { .. } => Exit::Schema,
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
            | MigrationError::BuiltUpon { .. }
            | MigrationError::NotUtf8(_) => Exit::Schema,
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

/// Classifies a failed migration by its source.
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
            Error::NulByte { .. }
            | Error::Empty { .. }
            | Error::TooLong { .. }
            | Error::InvalidDefinition { .. }
            | Error::InvalidControl { .. } => Exit::Usage,
            Error::NoSuchMachine(_) | Error::NoSuchProcess { .. } => Exit::NotFound,
            Error::ProviderIdTaken { .. } | Error::MachineExists(_) | Error::MachineHasWork(_) => {
                Exit::Conflict
            }
            _ => match error.kind() {
                ErrorKind::ConnectionLost
                | ErrorKind::ReadOnly
                | ErrorKind::OutOfResources
                | ErrorKind::NotReady
                | ErrorKind::StalePlan
                | ErrorKind::StatementTimeout
                | ErrorKind::Canceled => Exit::Unreachable,
                ErrorKind::Denied => Exit::Denied,
                ErrorKind::LockTimeout | ErrorKind::LaneTaken => Exit::Conflict,
                ErrorKind::SchemaMismatch => Exit::Schema,
                ErrorKind::InvalidValue => Exit::Usage,
                _ => Exit::Other,
            },
        };
        let failure = Self::new(exit, error.to_string());
        match exit {
            Exit::Denied => failure.hint(
                "grant the login a role: bmdb_viewer to read, bmdb_component to work \
                 (GRANT … TO the login); `bmdb migrate grants` creates the roles",
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
            // The closure's own failure.
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
        let error = match error {
            OperatorError::Transaction(error) => return error.into(),
            error => error,
        };
        let exit = match &error {
            OperatorError::NoSuchSession(_)
            | OperatorError::NotHeld { .. }
            | OperatorError::NoBackoff { .. }
            | OperatorError::NoLimit { .. }
            | OperatorError::NoBreaker { .. }
            | OperatorError::BackoffPassed { .. } => Exit::NotFound,
            OperatorError::SessionEnded(_)
            | OperatorError::OtherFence { .. }
            | OperatorError::AtWork { .. }
            | OperatorError::NotPaused { .. }
            | OperatorError::IsOff { .. }
            | OperatorError::IsOn { .. }
            | OperatorError::Blocked { .. } => Exit::Conflict,
            OperatorError::MayNotDefine { .. } => Exit::Denied,
            OperatorError::Tag(_) => Exit::Usage,
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
            WorkError::Conflict { .. }
            | WorkError::BackedOff { .. }
            | WorkError::OnHold { .. }
            | WorkError::ProcessOnHold { .. }
            | WorkError::Paused { .. }
            | WorkError::Limited { .. } => Self::new(Exit::Conflict, error.to_string()),
            WorkError::Database(error) => error.into(),
            WorkError::Transaction(error) => error.into(),
            other => Self::other(other.to_string()),
        }
    }
}
