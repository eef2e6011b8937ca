//! Filters that nothing can fit, for their names are not known: most likely typing errors.

use crate::exit::Exit;
use crate::failure::Failure;
use bmdb_core::{Reader, TxError};
use bmdb_model::{Process, Provider, fleet, process};
use std::fmt::Display;

/// Refuses a process that is not known in the database.
///
/// # Errors
/// Not found; what reading fails with.
pub(crate) async fn process(reader: &Reader, name: Option<&Process>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    let known = reader.read(async |conn| match process::is_known(conn, name).await? {
        true => Ok(None),
        false => Ok(Some(process::known(conn).await?)),
    });
    let Some(known) = known.await? else {
        return Ok(());
    };
    let failure = Failure::new(Exit::NotFound, format!("there is no process {name}"));
    Err(match known.as_slice() {
        [] => failure,
        known => failure.hint(format!("there are {}", listed(known))),
    })
}

/// Warns of providers that no machine has. They are no error, for all of their machines may be gone, or
/// yet to come.
///
/// # Errors
/// What reading fails with.
pub(crate) async fn providers<'p>(
    reader: &Reader,
    named: impl IntoIterator<Item = &'p Provider>,
) -> Result<(), TxError> {
    let mut named = named.into_iter().peekable();
    if named.peek().is_none() {
        return Ok(());
    }
    // One step down an index for each there is.
    let known = reader.read(async |conn| Ok(fleet::providers(conn).await?));
    let known = known.await?;
    for provider in named.filter(|provider| !known.contains(provider)) {
        match known.as_slice() {
            [] => tracing::warn!("no machine is provided by {provider}, nor by anybody else"),
            known => tracing::warn!(
                "no machine is provided by {provider}; there are {}",
                listed(known)
            ),
        }
    }
    Ok(())
}

fn listed(names: &[impl Display]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}
