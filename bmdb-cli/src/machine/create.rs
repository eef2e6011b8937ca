//! `bmdb machine create`: one new machine.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text};
use bmdb_model::{Error, MachineId, Provided, Provider, ProviderStatus, machine, provided};
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
    #[command(flatten)]
    operator: Operator,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let tag = self.tag();
        self.refuse_known(context, tag.as_ref()).await?;
        let session = context.session().await?;
        let operator = self.operator.acts();
        let created = operator.create_machine(&session, self.id, tag.as_ref());
        let machine_id = Text(created.await?);
        context.close_session(session).await;
        context.output.report(&Answer { machine_id })
    }

    /// Says under which id a machine is known already, or that its id is taken: the database says neither.
    /// Should somebody create it meanwhile, the database refuses it all the same.
    async fn refuse_known(&self, context: &Context, tag: Option<&Provided>) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let found = reader.read(async |conn| {
            let of_id = match self.id {
                Some(id) => machine::find(conn, id).await?,
                None => None,
            };
            let of_provider = match tag {
                Some(tag) => provided::find(conn, &tag.provider, &tag.provider_id).await?,
                None => None,
            };
            Ok((of_id, of_provider))
        });
        match (found.await?, tag) {
            ((Some(machine), _), _) => Err(Error::MachineExists(machine.id).into()),
            ((_, Some(machine)), Some(tag)) => Err(known(tag, machine)),
            _ => Ok(()),
        }
    }

    fn tag(&self) -> Option<Provided> {
        let (provider, id) = self.provider.clone().zip(self.provider_id.clone())?;
        let mut tag = Provided::new(provider, id);
        tag.reservation_id = self.reservation_id.clone();
        tag.ip_address = self.ip.map(|address| address.to_string());
        tag.location = self.location.clone();
        tag.status = self.status;
        Some(tag)
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
