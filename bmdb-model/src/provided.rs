//! The tag `machine_provided`: a machine's provider, and what the provider says of it.

use crate::column::Column;
use crate::error::{storable, storable_non_empty};
use crate::rows::{self, Rows};
use crate::schema::machine_provided;
use crate::statement::statement;
use crate::text_enum::{UnknownName, text_enum};
use crate::{Error, MachineId, Provider};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// The machine's state according to its provider.
    ProviderStatus {
        /// The provider no longer knows it.
        Missing,
        /// It is being provisioned.
        Provisioning,
        /// It could not be provisioned and never will be.
        ProvisioningFailedPermanent,
        /// It is powered on and booted.
        Running,
        /// It is powered off.
        Stopped,
        /// The provider's answer could not be understood.
        Unknown,
    }
}

/// A tag that this release cannot read: its status is one of a later release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider_status: {0}")]
pub struct UnreadableProvided(#[from] UnknownName);

/// The contents of the tag.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = machine_provided, treat_none_as_null = true, check_for_backend(Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Provided {
    pub provider: Provider,
    /// The provider's id for the machine, unique within the provider.
    pub provider_id: String,
    /// The provider's reservation for the machine.
    #[diesel(column_name = provider_reservation_id)]
    pub reservation_id: Option<String>,
    /// The address at which it is reached.
    #[diesel(column_name = provider_ip_address)]
    pub ip_address: Option<String>,
    /// Its location, in the provider's words.
    #[diesel(column_name = provider_location)]
    pub location: Option<String>,
    /// Its last known state.
    #[diesel(column_name = provider_status)]
    pub status: Option<ProviderStatus>,
}

impl Provided {
    /// A machine of `provider`, with the provider's id. All other fields are unknown.
    #[must_use]
    pub fn new(provider: Provider, provider_id: impl Into<String>) -> Self {
        Self {
            provider,
            provider_id: provider_id.into(),
            reservation_id: None,
            ip_address: None,
            location: None,
            status: None,
        }
    }

    /// Sets the reservation.
    #[must_use]
    pub fn reservation_id(mut self, id: impl Into<String>) -> Self {
        self.reservation_id = Some(id.into());
        self
    }

    /// Sets the address.
    #[must_use]
    pub fn ip_address(mut self, address: impl Into<String>) -> Self {
        self.ip_address = Some(address.into());
        self
    }

    /// Sets the location.
    #[must_use]
    pub fn location(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// Sets the state.
    #[must_use]
    pub fn status(mut self, status: ProviderStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Refuses what cannot be stored, before anything is done with it.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`].
    pub fn check(&self) -> Result<(), Error> {
        Column::PROVIDER_ID.check_non_empty(&self.provider_id)?;
        Column::RESERVATION_ID.check_optional(self.reservation_id.as_deref())?;
        Column::IP_ADDRESS.check_optional(self.ip_address.as_deref())?;
        Column::LOCATION.check_optional(self.location.as_deref())
    }

    /// About how long it is.
    fn bytes(&self) -> usize {
        let optional = [&self.reservation_id, &self.ip_address, &self.location];
        let optional = optional.into_iter().flatten().map(String::len);
        self.provider_id.len() + optional.sum::<usize>()
    }
}

/// A row of `machine_provided`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = machine_provided, check_for_backend(Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ProvidedMachine {
    pub machine_id: MachineId,
    /// The tag's contents.
    #[diesel(embed)]
    pub provided: Provided,
}

impl ProvidedMachine {
    /// A machine with this tag.
    #[must_use]
    pub const fn new(machine_id: MachineId, provided: Provided) -> Self {
        Self {
            machine_id,
            provided,
        }
    }
}

/// Sets the tag. The caller has touched the machine.
///
/// # Errors
/// As [`Provided::check`]; [`Error::ProviderIdTaken`], [`Error::Database`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    provided: &Provided,
) -> Result<(), Error> {
    provided.check()?;
    set_pipelined(conn, &Rows::from([(machine, provided)])).await
}

/// Like [`set`] for many machines, in one statement, and in machine order: an id that one machine gives
/// up can be given to a later one. If a machine is named twice, the last entry counts. The caller has
/// touched all of them.
///
/// # Errors
/// [`Error::OfMachine`] with an error of [`Provided::check`], and then nothing was written;
/// [`Error::ProviderIdTaken`], also if two of the machines have the same id; [`Error::Database`].
pub async fn set_all(
    conn: &mut AsyncPgConnection,
    machines: &[ProvidedMachine],
) -> Result<(), Error> {
    let rows: Rows<'_, Provided> = machines
        .iter()
        .map(|machine| (machine.machine_id, &machine.provided))
        .collect();
    rows::check(&rows, Provided::check)?;
    set_pipelined(conn, &rows).await
}

statement! {
    Set<'a> = include_str!("sql/set_provided.sql");
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        providers: &'a [&'a Provider] => Array<Text>,
        provider_ids: &'a [&'a str] => Array<Text>,
        reservation_ids: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        ip_addresses: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        locations: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        statuses: &'a [Option<ProviderStatus>] => Array<Nullable<Text>>,
    ) -> ()
}

/// Sets the tag to values that have been checked.
pub(crate) async fn set_pipelined(
    conn: &AsyncPgConnection,
    provided: &Rows<'_, Provided>,
) -> Result<(), Error> {
    let batches = rows::batches(provided, Provided::bytes).into_iter();
    let statements = batches.map(|batch| async move {
        let set = Set {
            machines: &batch.machines,
            providers: &batch.column(|provided| &provided.provider),
            provider_ids: &batch.column(|provided| &*provided.provider_id),
            reservation_ids: &batch.column(|provided| provided.reservation_id.as_deref()),
            ip_addresses: &batch.column(|provided| provided.ip_address.as_deref()),
            locations: &batch.column(|provided| provided.location.as_deref()),
            statuses: &batch.column(|provided| provided.status),
        };
        match set.execute(&mut &*conn).await {
            Ok(_) => Ok(()),
            Err(error) => Err(taken(error, &batch.values)),
        }
    });
    rows::pipelined(statements).await
}

/// The error of setting these tags. PostgreSQL names the key of a unique violation in its own language:
/// `Key (provider, provider_id)=(fra1, rack-7) already exists.`
fn taken(error: DieselError, provided: &[&Provided]) -> Error {
    let DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, report) = &error else {
        return error.into();
    };
    let details = report.details().unwrap_or_default();
    let is_named = |provided: &&&Provided| {
        details.contains(&format!(
            "=({}, {})",
            provided.provider, provided.provider_id
        ))
    };
    let taken = match provided {
        [only] => Some(only),
        // A text may contain another one.
        all => all
            .iter()
            .filter(is_named)
            .max_by_key(|provided| provided.provider_id.len()),
    };
    match taken {
        Some(Provided {
            provider,
            provider_id,
            ..
        }) => Error::ProviderIdTaken {
            provider: provider.clone(),
            provider_id: provider_id.clone(),
        },
        None => error.into(),
    }
}

/// A machine of a list that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KnownMachine {
    /// The machine as it is in the list.
    pub listed: ProvidedMachine,
    /// Whether a machine has its id.
    pub id_is_taken: bool,
    /// The machine that has its provider id.
    pub provided: Option<MachineId>,
}

/// Returns the machine with this provider id.
///
/// # Errors
/// [`Error::NulByte`], [`Error::Empty`], [`Error::Database`].
pub async fn find(
    conn: &mut AsyncPgConnection,
    provider: &Provider,
    provider_id: &str,
) -> Result<Option<MachineId>, Error> {
    storable_non_empty("provider_id", provider_id)?;
    let of_provider = machine_provided::provider
        .eq(provider)
        .and(machine_provided::provider_id.eq(provider_id));
    Ok(machine_provided::table
        .filter(of_provider)
        .select(machine_provided::machine_id)
        .first(conn)
        .await
        .optional()?)
}

/// Updates what a provider reports about a machine; `None` keeps the current value. Returns whether the
/// machine has the tag. No plan depends on these fields, so the machine need not be touched.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`], [`Error::Database`].
pub async fn update_status(
    conn: &mut AsyncPgConnection,
    provider: &Provider,
    provider_id: &str,
    status: Option<ProviderStatus>,
    ip_address: Option<&str>,
    location: Option<&str>,
) -> Result<bool, Error> {
    storable_non_empty("provider_id", provider_id)?;
    Column::IP_ADDRESS.check_optional(ip_address)?;
    Column::LOCATION.check_optional(location)?;
    #[derive(AsChangeset)]
    #[diesel(table_name = machine_provided)]
    struct Known<'a> {
        provider_status: Option<ProviderStatus>,
        provider_ip_address: Option<&'a str>,
        provider_location: Option<&'a str>,
    }
    let of_provider = machine_provided::provider
        .eq(provider)
        .and(machine_provided::provider_id.eq(provider_id));
    let known = Known {
        provider_status: status,
        provider_ip_address: ip_address,
        provider_location: location,
    };
    if status.is_none() && ip_address.is_none() && location.is_none() {
        let query = machine_provided::table.filter(of_provider);
        return Ok(diesel::select(diesel::dsl::exists(query))
            .get_result(conn)
            .await?);
    }
    let updated = diesel::update(machine_provided::table.filter(of_provider))
        .set(known)
        .execute(conn)
        .await?;
    Ok(updated == 1)
}

/// Returns the tag of one machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<Option<Provided>, Error> {
    Ok(machine_provided::table
        .find(machine)
        .select(Provided::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Returns the tags of many machines, in no particular order. Machines without the tag are left out.
///
/// # Errors
/// [`Error::Database`].
pub async fn of_all(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
) -> Result<Vec<ProvidedMachine>, Error> {
    Ok(machine_provided::table
        .filter(machine_provided::machine_id.eq_any(machines))
        .select(ProvidedMachine::as_select())
        .load(conn)
        .await?)
}

/// Lists a provider's machines, by the provider's id.
///
/// # Errors
/// [`Error::Database`].
pub async fn by_provider(
    conn: &mut AsyncPgConnection,
    provider: &Provider,
) -> Result<Vec<ProvidedMachine>, Error> {
    Ok(machine_provided::table
        .filter(machine_provided::provider.eq(provider))
        .select(ProvidedMachine::as_select())
        .order(machine_provided::provider_id)
        .load(conn)
        .await?)
}

statement! {
    FindAll<'a> = "SELECT DISTINCT p.machine_id, p.provider, p.provider_id \
         FROM unnest($1::text[], $2::text[]) AS a (provider, provider_id) \
         JOIN machine_provided p ON p.provider = a.provider AND p.provider_id = a.provider_id";
    (providers: &'a [&'a str] => Array<Text>, ids: &'a [&'a str] => Array<Text>) -> (SqlUuid, Text, Text)
}

/// Finds many machines by provider and provider id in one statement, in no particular order. Those that do
/// not exist are left out.
///
/// # Errors
/// [`Error::NulByte`], [`Error::Database`].
pub async fn find_all(
    conn: &mut AsyncPgConnection,
    names: &[(Provider, String)],
) -> Result<Vec<(MachineId, Provider, String)>, Error> {
    for (_, id) in names {
        storable("provider id", id)?;
    }
    let providers: Vec<&str> = names
        .iter()
        .map(|(provider, _)| provider.as_str())
        .collect();
    let ids: Vec<&str> = names.iter().map(|(_, id)| id.as_str()).collect();
    let find = FindAll {
        providers: &providers,
        ids: &ids,
    };
    Ok(find.load(conn).await?)
}
