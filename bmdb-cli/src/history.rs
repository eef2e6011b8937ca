//! `bmdb history`: what happened on a machine, what a session did, and what people did anywhere.

mod render;

pub(crate) use render::Action;

use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Page, Report, Text, Time};
use crate::paging::{List, Paging, key};
use bmdb_core::Reader;
use bmdb_model::operator::Scope;
use bmdb_model::{MachineId, Process, SessionId, connection, history, operator};
use render::{About, Told};
use serde::Serialize;

/// Show what happened on a machine, newest first: attempts, and acts of people.
///
/// Equal failures in a row are one entry. The history of a deleted machine is there under its whole id.
/// Without a machine: what people did to all of them, who and why.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb history Equinix/8d2b1f0c
  bmdb history 67e5 --process ShepherdRecovery --limit 5
  bmdb history --session 4e0f9c51-6a2b-4c1d-9c3e-0a7d5b2f8e61
  bmdb history
  bmdb history 67e5 --all --json | jq '.items[] | select(.kind == \"action\")'")]
pub(crate) struct History {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: Option<MachineArg>,
    /// Only this process, and what was done to the machine as a whole.
    #[arg(long, value_name = "PROCESS", requires = "machine")]
    process: Option<Process>,
    /// Show what this session did, the attempt that was claimed last first; it need not live any more.
    #[arg(long, value_name = "SESSION", conflicts_with = "machine")]
    session: Option<SessionId>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    /// Of which machine it is, if it is of one.
    machine_id: Option<Text<MachineId>>,
    /// Of which session.
    session_id: Option<Text<SessionId>>,
    #[serde(flatten)]
    list: List<Told>,
}

/// Whose history it is.
enum Whose<'a> {
    Machine(MachineId, Option<&'a Process>),
    Session(SessionId),
    /// What people did to all machines.
    People,
}

impl Whose<'_> {
    async fn page(
        &self,
        reader: &Reader,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<Told>, Failure> {
        let (after, limit) = (after.as_deref(), i64::from(limit));
        Ok(match *self {
            Self::Machine(machine, process) => {
                let after = key(after)?;
                let read = reader.read(async |conn| {
                    Ok(history::page(conn, machine, process, after.as_ref(), limit).await?)
                });
                List::of(read.await?)
            }
            Self::Session(session) => {
                let after = key(after)?;
                let read = reader.read(async |conn| {
                    Ok(history::of_session(conn, session, after.as_ref(), limit).await?)
                });
                List::of(read.await?)
            }
            Self::People => {
                let after = key(after)?;
                let read = reader.read(async |conn| {
                    Ok(operator::page(conn, Scope::All, after.as_ref(), limit).await?)
                });
                List::of(read.await?)
            }
        })
    }
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let whose = match (&self.machine, self.session) {
            (Some(machine), _) => {
                let machine = machine.resolve_also_deleted(context).await?;
                Whose::Machine(machine, self.process.as_ref())
            }
            (None, Some(session)) => Whose::Session(session),
            (None, None) => Whose::People,
        };
        let reader = &context.reader().await?;
        let at = reader
            .read(async |conn| Ok(connection::clock(conn).await?))
            .await?;
        let list = self
            .paging
            .list(async |after, limit| whose.page(reader, after, limit).await);
        let (machine, session) = match whose {
            Whose::Machine(machine, _) => (Some(machine), None),
            Whose::Session(session) => (None, Some(session)),
            Whose::People => (None, None),
        };
        context.output.report(&Answer {
            at: Time(at),
            machine_id: machine.map(Text),
            session_id: session.map(Text),
            list: list.await?,
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let about = match (&self.machine_id, &self.session_id) {
            (Some(machine), _) => About::Machine(machine.0),
            (None, Some(session)) => About::Session(session.0),
            (None, None) => About::Everything,
        };
        if self.list.items.is_empty() && self.list.next.is_some() {
            page.note("Nothing so far, and not all has been looked at.");
        } else if self.list.items.is_empty() {
            page.note(about.nothing());
        }
        for told in &self.list.items {
            let line = told.line(&about, page, self.at);
            page.line(line);
        }
        self.list.show_rest(page);
    }
}
