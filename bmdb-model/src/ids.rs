//! Identifiers of machines, sessions and claims.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
        #[diesel(sql_type = SqlUuid)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id as a plain UUID.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text).map(Self).map_err(|reason| InvalidId {
                    what: $what,
                    text: text.chars().take(64).collect(),
                    reason,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl ToSql<SqlUuid, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<SqlUuid, Pg>::to_sql(&self.0, out)
            }
        }

        impl FromSql<SqlUuid, Pg> for $name {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                Uuid::from_sql(bytes).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A physical server.
    MachineId, "machine id"
}

uuid_id! {
    /// A component's lease. Session ids are never reused.
    SessionId, "session id"
}

/// The text is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid {what} {text:?}: {reason}; expected a UUID such as 67e55044-10b1-426f-9247-bb680e5fe0c8"
)]
/// The text is not a UUID.
pub struct InvalidId {
    what: &'static str,
    text: String,
    reason: uuid::Error,
}

/// The number of a claim; it increases with every claim.
///
/// It guards every later write of that work. Pass it to external systems too: they should refuse a
/// command whose fence is smaller than one that they have seen for the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[diesel(sql_type = BigInt)]
pub struct Fence(i64);

impl Fence {
    /// The fence with this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<i64> for Fence {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl From<Fence> for i64 {
    fn from(fence: Fence) -> Self {
        fence.0
    }
}

/// The text is not the number of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid fence {0:?}: expected a whole number")]
pub struct InvalidFence(String);

impl FromStr for Fence {
    type Err = InvalidFence;

    fn from_str(text: &str) -> Result<Self, InvalidFence> {
        let number = text.parse().map(Self);
        number.map_err(|_| InvalidFence(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ToSql<BigInt, Pg> for Fence {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<BigInt, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<BigInt, Pg> for Fence {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        i64::from_sql(bytes).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_machine_id_is_named_in_the_error() {
        let error = "67e55044-10b1"
            .parse::<MachineId>()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("invalid machine id \"67e55044-10b1\": "),
            "{error}"
        );
    }

    #[test]
    fn ids_convert_to_uuids_and_back() {
        let (machine, session) = (MachineId::random(), SessionId::random());
        assert_eq!(MachineId::from(Uuid::from(machine)), machine);
        assert_eq!(SessionId::from(Uuid::from(session)), session);
    }

    #[test]
    fn a_fence_is_parsed_from_its_number_and_other_texts_are_refused() {
        let fence = Fence::from(42);
        assert_eq!(fence.to_string().parse(), Ok(fence));
        assert_eq!(i64::from(fence), 42);
        let error = "4 2".parse::<Fence>().unwrap_err().to_string();
        assert_eq!(error, "invalid fence \"4 2\": expected a whole number");
    }
}
