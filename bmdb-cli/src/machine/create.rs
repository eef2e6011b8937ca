//! `bmdb machine create`: one new machine.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Page, Report, Text};
use bmdb_core::TxError;
use bmdb_model::{MachineId, Provided, Provider, ProviderStatus, machine, provided};
use serde::Serialize;
use std::net::IpAddr;

/// Create one machine, with what its provider knows of it.
///
/// Prints the machine's id. Without --provider it has no tags, and nothing happens to it until it gets
/// some.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine create --provider Equinix --provider-id 8d2b1f0c --ip 10.0.0.7
  id=$(bmdb machine create)")]
pub(crate) struct Create {
    /// The provider: the queue that control loops take it from.
    #[arg(long, value_name = "NAME", requires = "provider_id")]
    provider: Option<Provider>,
    /// The provider's id for it, unique with the provider.
    #[arg(long, value_name = "ID", requires = "provider")]
    provider_id: Option<String>,
    /// Where it is reached.
    #[arg(long, value_name = "ADDRESS", requires = "provider")]
    ip: Option<IpAddr>,
    /// Where it stands, in the provider's words.
    #[arg(long, value_name = "TEXT", requires = "provider")]
    location: Option<String>,
    /// The provider's reservation it was made from.
    #[arg(long, value_name = "ID", requires = "provider")]
    reservation_id: Option<String>,
    /// Its state as the provider has it: Running, Stopped, Provisioning, …
    #[arg(long, value_name = "STATE", requires = "provider")]
    status: Option<ProviderStatus>,
    /// Its id; without this a new one.
    #[arg(long, value_name = "UUID")]
    id: Option<MachineId>,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.id.unwrap_or_else(MachineId::random);
        let tag = self.tag();
        let session = context.session().await?;
        let created = session.transact(async |tx| {
            if machine::find(tx, id).await?.is_some() {
                return Err(bmdb_model::Error::MachineExists(id).into());
            }
            if let Some(tag) = &tag
                && let Some(other) = provided::find(tx, &tag.provider, &tag.provider_id).await?
            {
                return Err(TxError::abort(known(tag, other)));
            }
            tx.create_machine_as(id).await?;
            match &tag {
                Some(tag) => tx.set_provided(id, tag).await,
                None => Ok(()),
            }
        });
        created.await?;
        session.close().await?;
        context.output.report(&Answer {
            machine_id: Text(id),
        })
    }

    fn tag(&self) -> Option<Provided> {
        let (provider, id) = self.provider.clone().zip(self.provider_id.clone())?;
        Some(Provided {
            reservation_id: self.reservation_id.clone(),
            ip_address: self.ip.map(|address| address.to_string()),
            location: self.location.clone(),
            status: self.status,
            ..Provided::new(provider, id)
        })
    }
}

fn known(tag: &Provided, machine: MachineId) -> Failure {
    let Provided {
        provider,
        provider_id,
        ..
    } = tag;
    let message = format!("{provider_id:?} of {provider} is known already, as machine {machine}");
    Failure::new(Exit::Conflict, message)
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(self.machine_id);
    }
}
