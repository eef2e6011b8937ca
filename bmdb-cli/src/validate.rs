//! Checks of names in filters: an unknown name is most likely a typing error.

use crate::exit::Exit;
use crate::failure::Failure;
use bmdb_core::{Reader, TxError};
use bmdb_model::{Process, Provider, fleet, process};
use std::fmt::Display;

/// Refuses a process that the database does not know.
///
/// # Errors
/// `NotFound` with the known processes; what reading fails with.
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
        known => failure.hint(format!("the processes are {}", listed(known))),
    })
}

/// Warns about providers without machines. This is not an error: their machines may be gone or not be
/// imported yet.
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
    // Costs one index lookup for each provider.
    let known = reader.read(async |conn| Ok(fleet::providers(conn).await?));
    let known = known.await?;
    for provider in named.filter(|provider| !known.contains(provider)) {
        match known.as_slice() {
            [] => tracing::warn!("no machine has the provider {provider}, or any other provider"),
            known => tracing::warn!(
                "no machine has the provider {provider}; the providers are {}",
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
