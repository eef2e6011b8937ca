//! A machine as people name it on the command line.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use bmdb_model::{IdPrefix, MachineId, Provider, machine, provided};
use std::str::FromStr;

/// Fewer digits would often mean several machines, and mean another one tomorrow.
const FEWEST_DIGITS: usize = 4;

/// How many machines are listed where a prefix means several.
const CANDIDATES: i64 = 5;

/// A machine's id, a prefix of it that no other machine's id has, or `Provider/provider_id`. Help for
/// an argument of this type: [`MachineArg::HELP`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineArg {
    Id(MachineId),
    Prefix(IdPrefix),
    Provided(Provider, String),
}

impl MachineArg {
    pub(crate) const HELP: &'static str =
        "The machine: its id, the first digits of it (4 at least), or Provider/provider_id";

    /// Which machine it is.
    ///
    /// # Errors
    /// Not found; a wrong request where it may be one of several.
    pub(crate) async fn resolve(&self, context: &Context) -> Result<MachineId, Failure> {
        let found = match self {
            Self::Id(id) => {
                let reader = context.reader().await?;
                let read = reader.read(async |conn| Ok(machine::find(conn, *id).await?));
                read.await?.map(|machine| machine.id)
            }
            other => other.look_up(context).await?,
        };
        found.ok_or_else(|| self.not_found())
    }

    /// The same for what is kept of machines that have been deleted: a whole id is taken as it is.
    pub(crate) async fn resolve_also_deleted(
        &self,
        context: &Context,
    ) -> Result<MachineId, Failure> {
        match self {
            Self::Id(id) => Ok(*id),
            other => {
                let found = other.look_up(context).await?;
                found.ok_or_else(|| {
                    other
                        .not_found()
                        .hint("a machine that has been deleted is named by its whole id")
                })
            }
        }
    }

    async fn look_up(&self, context: &Context) -> Result<Option<MachineId>, Failure> {
        let reader = context.reader().await?;
        match self {
            Self::Id(id) => Ok(Some(*id)),
            Self::Provided(provider, id) => {
                let found = reader.read(async |conn| Ok(provided::find(conn, provider, id).await?));
                Ok(found.await?)
            }
            Self::Prefix(prefix) => {
                let limit = CANDIDATES + 1;
                let found =
                    reader.read(async |conn| Ok(machine::with_prefix(conn, prefix, limit).await?));
                match found.await?.as_slice() {
                    [] => Ok(None),
                    [machine] => Ok(Some(*machine)),
                    several => Err(ambiguous(prefix, several)),
                }
            }
        }
    }

    fn not_found(&self) -> Failure {
        let message = match self {
            Self::Id(id) => format!("there is no machine {id}"),
            Self::Prefix(prefix) => format!("no machine's id begins with {prefix}"),
            Self::Provided(provider, id) => format!("{provider} has no machine {id:?}"),
        };
        Failure::new(Exit::NotFound, message).hint("`bmdb machine list` has all there are")
    }
}

fn ambiguous(prefix: &IdPrefix, several: &[MachineId]) -> Failure {
    let shown = usize::try_from(CANDIDATES).unwrap_or(usize::MAX);
    let mut list: Vec<String> = several
        .iter()
        .take(shown)
        .map(|id| format!("\n  {id}"))
        .collect();
    if several.len() > shown {
        list.push("\n  …".to_owned());
    }
    Failure::usage(format!(
        "the ids of several machines begin with {prefix}:{}",
        list.concat()
    ))
    .hint("add digits")
}

impl FromStr for MachineArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((provider, id)) = text.split_once('/') {
            let provider = provider.parse().map_err(|error| format!("{error}"))?;
            return match id.is_empty() {
                true => Err("the provider's id behind the slash is missing".to_owned()),
                false => Ok(Self::Provided(provider, id.to_owned())),
            };
        }
        let prefix: IdPrefix = text.parse().map_err(|_| {
            "neither an id, nor the first digits of one (hex digits), nor Provider/provider_id"
                .to_owned()
        })?;
        match prefix.digits() {
            ..FEWEST_DIGITS => Err(format!("at least {FEWEST_DIGITS} digits are needed")),
            _ if prefix.first_id() == prefix.last_id() => Ok(Self::Id(prefix.first_id())),
            _ => Ok(Self::Prefix(prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_in_three_ways() {
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let arg = |text: &str| text.parse::<MachineArg>();
        assert_eq!(arg(id), Ok(MachineArg::Id(id.parse().unwrap())));
        assert_eq!(
            arg(&id.replace('-', "")),
            Ok(MachineArg::Id(id.parse().unwrap()))
        );
        assert_eq!(arg("67e5"), Ok(MachineArg::Prefix("67e5".parse().unwrap())));
        let provided = MachineArg::Provided(Provider::EQUINIX, "rack/7".to_owned());
        assert_eq!(arg("Equinix/rack/7"), Ok(provided));
        for (bad, why) in [
            ("67e", "at least 4 digits"),
            ("rack-7", "neither an id"),
            ("Equinix/", "is missing"),
            ("Equi nix/a", "invalid provider name"),
        ] {
            let refused = arg(bad).unwrap_err();
            assert!(refused.contains(why), "{bad}: {refused}");
        }
    }
}
