//! `bmdb machine create`: one new machine.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text};
use bmdb_model::{Error, MachineId, Provided, Provider, ProviderStatus, machine, provided};
use serde::Serialize;
use std::net::IpAddr;

/// Create one machine with the data of its provider.
///
/// Prints the machine's id. Without --provider the machine has no tags, and no process starts on it until
/// tags are set.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine create --provider fra1 --provider-id rack-a-07 --ip 10.0.0.7
  id=$(bmdb machine create)")]
pub(crate) struct Create {
    /// The provider or site. Control loops claim machines by provider.
    #[arg(long, value_name = "NAME", requires = "provider_id")]
    provider: Option<Provider>,
    /// The provider's id of the machine, unique for the provider.
    #[arg(long, value_name = "ID", requires = "provider")]
    provider_id: Option<String>,
    /// The machine's IP address.
    #[arg(long, value_name = "ADDRESS", requires = "provider")]
    ip: Option<IpAddr>,
    /// Where the machine stands, such as a rack.
    #[arg(long, value_name = "TEXT", requires = "provider")]
    location: Option<String>,
    /// The provider's reservation that the machine was created from.
    #[arg(long, value_name = "ID", requires = "provider")]
    reservation_id: Option<String>,
    /// The machine's state at the provider: Running, Stopped, Provisioning, …
    #[arg(long, value_name = "STATE", requires = "provider")]
    status: Option<ProviderStatus>,
    /// The machine's id; default: a new random id.
    #[arg(long, value_name = "UUID")]
    id: Option<MachineId>,
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let tag = self.tag();
        self.refuse_known(context, tag.as_ref()).await?;
        let operator = self.by.operator();
        let created = context.with_session(async |session| {
            operator
                .create_machine(session, self.id, tag.as_ref())
                .await
        });
        let machine_id = Text(created.await?);
        context.output.report(&Answer { machine_id })
    }

    /// Names the machine that has this id or provider id, which the database's error does not. The database
    /// still refuses a machine that is created after this check.
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
            ((_, Some(machine)), Some(tag)) => Err(exists(tag, machine)),
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

fn exists(tag: &Provided, machine: MachineId) -> Failure {
    let (provider, id) = (&tag.provider, &tag.provider_id);
    let message = format!("{id:?} of {provider} exists already as machine {machine}");
    Failure::new(Exit::Conflict, message)
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(self.machine_id);
    }
}
