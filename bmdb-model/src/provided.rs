//! The tag `machine_provided`: which provider a machine comes from, and as what.

use crate::error::{optional_storable, storable_non_empty};
use crate::schema::machine_provided;
use crate::text_enum::text_enum;
use crate::{Error, MachineId, Provider};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// What a provider says of a machine's state.
    ProviderStatus {
        /// The provider does not know it any more.
        Missing,
        /// It is being made.
        Provisioning,
        /// It could not be made and never will be.
        ProvisioningFailedPermanent,
        /// It is powered and booted.
        Running,
        /// It is powered off.
        Stopped,
        /// The provider's answer could not be understood.
        Unknown,
    }
}

/// The contents of the tag.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = machine_provided, treat_none_as_null = true, check_for_backend(Pg))]
pub struct Provided {
    /// The provider.
    pub provider: Provider,
    /// The provider's id for the machine, unique with the provider.
    pub provider_id: String,
    /// The provider's reservation it was made from.
    #[diesel(column_name = provider_reservation_id)]
    pub reservation_id: Option<String>,
    /// Where it is reached.
    #[diesel(column_name = provider_ip_address)]
    pub ip_address: Option<String>,
    /// Where it stands, in the provider's words.
    #[diesel(column_name = provider_location)]
    pub location: Option<String>,
    /// Its state, as last heard from the provider.
    #[diesel(column_name = provider_status)]
    pub status: Option<ProviderStatus>,
}

impl Provided {
    /// A machine of `provider`, known there as `provider_id`; everything else is unknown.
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

    pub(crate) fn check(&self) -> Result<(), Error> {
        storable_non_empty("provider_id", &self.provider_id)?;
        optional_storable("reservation_id", self.reservation_id.as_deref())?;
        optional_storable("ip_address", self.ip_address.as_deref())?;
        optional_storable("location", self.location.as_deref())
    }
}

/// A row of `machine_provided`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = machine_provided, check_for_backend(Pg))]
pub struct ProvidedMachine {
    /// The machine.
    pub machine_id: MachineId,
    /// The tag's contents.
    #[diesel(embed)]
    pub provided: Provided,
}

/// Sets the tag; the caller has touched the machine.
///
/// # Errors
/// [`Error::NulByte`], [`Error::Empty`], [`Error::ProviderIdTaken`], [`Error::Database`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    provided: &Provided,
) -> Result<(), Error> {
    provided.check()?;
    let result = diesel::insert_into(machine_provided::table)
        .values((machine_provided::machine_id.eq(machine), provided))
        .on_conflict(machine_provided::machine_id)
        .do_update()
        .set(provided)
        .execute(conn)
        .await;
    taken(result, provided)
}

/// A machine of a list that is known already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMachine {
    /// As it is in the list.
    pub listed: ProvidedMachine,
    /// Whether there is a machine with its id.
    pub id_is_taken: bool,
    /// Which machine has its provider's id.
    pub provided: Option<MachineId>,
}

/// The machine that the provider knows by this id.
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

fn taken(result: QueryResult<usize>, provided: &Provided) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
            Err(Error::ProviderIdTaken {
                provider: provided.provider.clone(),
                provider_id: provided.provider_id.clone(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Updates what a provider reports of a machine; `None` keeps what is known. Whether the machine
/// has the tag. None of this is planned by, so the machine need not be touched.
///
/// # Errors
/// [`Error::NulByte`], [`Error::Database`].
pub async fn update_status(
    conn: &mut AsyncPgConnection,
    provider: &Provider,
    provider_id: &str,
    status: Option<ProviderStatus>,
    ip_address: Option<&str>,
    location: Option<&str>,
) -> Result<bool, Error> {
    storable_non_empty("provider_id", provider_id)?;
    optional_storable("ip_address", ip_address)?;
    optional_storable("location", location)?;
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

/// The tag of one machine.
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

/// The tags of many machines, in no particular order; those without one are left out.
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

/// A provider's machines, by the provider's id.
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
