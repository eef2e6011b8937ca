//! Which machines of a list exist already, for imports.

use crate::provided::KnownMachine;
use crate::statement::statement;
use crate::{Error, MachineId, ProvidedMachine, Provider};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    /// Positions in the list, from 1, of machines whose id or provider id is taken.
    Known<'a> = "SELECT n.position, m.machine_id IS NOT NULL, p.machine_id \
         FROM unnest($1::uuid[], $2::text[], $3::text[]) \
              WITH ORDINALITY n (machine_id, provider, provider_id, position) \
         LEFT JOIN machines m ON m.machine_id = n.machine_id \
         LEFT JOIN machine_provided p ON (p.provider, p.provider_id) = (n.provider, n.provider_id) \
         WHERE m.machine_id IS NOT NULL OR p.machine_id IS NOT NULL \
         ORDER BY n.position";
    (machines: &'a [MachineId] => Array<SqlUuid>, providers: &'a [&'a Provider] => Array<Text>, provider_ids: &'a [&'a str] => Array<Text>)
    -> (BigInt, Bool, Nullable<SqlUuid>)
}

/// Returns the machines of the list whose id or provider id is taken, in the list's order.
///
/// # Errors
/// [`Error::Database`].
pub async fn known(
    conn: &mut AsyncPgConnection,
    listed: &[ProvidedMachine],
) -> Result<Vec<KnownMachine>, Error> {
    let machines: Vec<MachineId> = listed.iter().map(|m| m.machine_id).collect();
    let providers: Vec<&Provider> = listed.iter().map(|m| &m.provided.provider).collect();
    let provider_ids: Vec<&str> = listed
        .iter()
        .map(|m| m.provided.provider_id.as_str())
        .collect();
    let query = Known {
        machines: &machines,
        providers: &providers,
        provider_ids: &provider_ids,
    };
    let rows: Vec<(i64, bool, Option<MachineId>)> = query.load(conn).await?;
    let known = rows
        .into_iter()
        .filter_map(|(position, id_is_taken, provided)| {
            let position = usize::try_from(position).ok()?.checked_sub(1)?;
            Some(KnownMachine {
                listed: listed.get(position)?.clone(),
                id_is_taken,
                provided,
            })
        });
    Ok(known.collect())
}

/// Refuses a list of new machines if the id or provider id of one is taken.
///
/// # Errors
/// [`Error::MachineExists`], [`Error::ProviderIdTaken`], [`Error::Database`].
pub async fn refuse_known(
    conn: &mut AsyncPgConnection,
    new: &[ProvidedMachine],
) -> Result<(), Error> {
    match known(conn, new).await?.into_iter().next() {
        None => Ok(()),
        Some(KnownMachine {
            listed,
            id_is_taken: true,
            ..
        }) => Err(Error::MachineExists(listed.machine_id)),
        Some(KnownMachine { listed, .. }) => Err(Error::ProviderIdTaken {
            provider: listed.provided.provider,
            provider_id: listed.provided.provider_id,
        }),
    }
}
