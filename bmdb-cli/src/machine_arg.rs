//! A machine as an argument: its id, the first digits of its id, or its provider and provider id.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::ellipsis;
use bmdb_model::{IdPrefix, MachineId, Provider, machine, provided};
use std::str::FromStr;

/// Fewer digits are likely to match several machines, or another machine tomorrow.
const MIN_DIGITS: usize = 4;

/// How many machines an error lists if the prefix matches several.
const CANDIDATES: usize = 5;

/// Its help text is [`MachineArg::HELP`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineArg {
    Id(MachineId),
    Prefix(IdPrefix),
    Provided(Provider, String),
}

impl MachineArg {
    pub(crate) const HELP: &'static str =
        "The machine: its id, at least the first 4 digits of it, or Provider/provider_id";

    /// Finds the machine.
    ///
    /// # Errors
    /// `NotFound`; `Usage` if a prefix matches several machines.
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

    /// Finds the machine, or accepts a complete id as it is: the machine may have been deleted.
    pub(crate) async fn resolve_or_deleted(&self, context: &Context) -> Result<MachineId, Failure> {
        let found = self.look_up(context).await?;
        found.ok_or_else(|| {
            self.not_found()
                .hint("name a deleted machine by its complete id")
        })
    }

    /// The machine of a prefix or a provider id; a complete id is not looked up.
    async fn look_up(&self, context: &Context) -> Result<Option<MachineId>, Failure> {
        let prefix = match self {
            Self::Id(id) => return Ok(Some(*id)),
            Self::Provided(provider, id) => {
                let reader = context.reader().await?;
                let found = reader.read(async |conn| Ok(provided::find(conn, provider, id).await?));
                return Ok(found.await?);
            }
            Self::Prefix(prefix) => prefix,
        };
        let limit = i64::try_from(CANDIDATES + 1).unwrap_or(i64::MAX);
        let reader = context.reader().await?;
        let found = reader.read(async |conn| Ok(machine::with_prefix(conn, prefix, limit).await?));
        match found.await?.as_slice() {
            [] => Ok(None),
            [machine] => Ok(Some(*machine)),
            several => Err(ambiguous(prefix, several)),
        }
    }

    fn not_found(&self) -> Failure {
        let message = match self {
            Self::Id(id) => format!("there is no machine {id}"),
            Self::Prefix(prefix) => format!("no machine's id begins with {prefix}"),
            Self::Provided(provider, id) => format!("{provider} has no machine {id:?}"),
        };
        Failure::new(Exit::NotFound, message).hint("`bmdb machine list` lists the machines")
    }
}

fn ambiguous(prefix: &IdPrefix, several: &[MachineId]) -> Failure {
    let shown = several.iter().take(CANDIDATES);
    let mut list: String = shown.map(|id| format!("\n  {id}")).collect();
    if several.len() > CANDIDATES {
        list += &format!("\n  {}", ellipsis());
    }
    let message = format!("the ids of several machines begin with {prefix}:{list}");
    Failure::usage(message).hint("add digits")
}

impl FromStr for MachineArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((provider, id)) = text.split_once('/') {
            let provider = provider.parse().map_err(|error| format!("{error}"))?;
            return match id.is_empty() {
                true => Err("the provider id behind the slash is missing".to_owned()),
                false => Ok(Self::Provided(provider, id.to_owned())),
            };
        }
        let prefix: IdPrefix = text.parse().map_err(|_| {
            "expected an id, the first hex digits of an id, or Provider/provider_id".to_owned()
        })?;
        match prefix.digits() {
            ..MIN_DIGITS => Err(format!("expected at least {MIN_DIGITS} digits")),
            _ if prefix.first_id() == prefix.last_id() => Ok(Self::Id(prefix.first_id())),
            _ => Ok(Self::Prefix(prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_three_kinds_of_names() {
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let arg = |text: &str| text.parse::<MachineArg>();
        assert_eq!(arg(id), Ok(MachineArg::Id(id.parse().unwrap())));
        assert_eq!(
            arg(&id.replace('-', "")),
            Ok(MachineArg::Id(id.parse().unwrap()))
        );
        assert_eq!(arg("67e5"), Ok(MachineArg::Prefix("67e5".parse().unwrap())));
        let fra1 = "fra1".parse().unwrap();
        let provided = MachineArg::Provided(fra1, "rack-a/7".to_owned());
        assert_eq!(arg("fra1/rack-a/7"), Ok(provided));
        for (bad, why) in [
            ("67e", "at least 4 digits"),
            ("rack-7", "expected an id"),
            ("fra1/", "is missing"),
            ("fra 1/a", "invalid provider name"),
        ] {
            let refused = arg(bad).unwrap_err();
            assert!(refused.contains(why), "{bad}: {refused}");
        }
    }
}
