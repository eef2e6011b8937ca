//! Role: the kind of server that a URL asks for.

use bmdb_model::internal::connection::ConnectionInfo;

/// The kind of server that `target_session_attrs` requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Role {
    pub(super) fn of(value: Option<&str>) -> Self {
        match value {
            Some("read-write") => Self::ReadWrite,
            Some("read-only") => Self::ReadOnly,
            Some("primary") => Self::Primary,
            Some("standby") => Self::Standby,
            Some("prefer-standby") => Self::PreferStandby,
            _ => Self::Any,
        }
    }

    /// The kinds to look for among all servers, one after another.
    pub(super) const fn rounds(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// The kind that the server is not; `None` if the server is suitable.
    pub(super) fn missing(self, info: &ConnectionInfo) -> Option<&'static str> {
        let (fits, wanted) = match self {
            Self::Any | Self::PreferStandby => return None,
            Self::ReadWrite => (!info.is_read_only, "one that accepts writes"),
            Self::ReadOnly => (info.is_read_only, "a read-only one"),
            Self::Primary => (!info.is_standby, "a primary"),
            Self::Standby => (info.is_standby, "a standby"),
        };
        (!fits).then_some(wanted)
    }
}
