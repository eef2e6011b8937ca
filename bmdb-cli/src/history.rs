//! `bmdb history`: attempts and operator actions, the newest first.

mod causes;
mod entry;
mod subject;

pub(crate) use entry::Action;

use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Page, Report, Text, Time};
use crate::paging::{List, Paging};
use bmdb_core::Reader;
use bmdb_model::operator::Scope;
use bmdb_model::{MachineId, Process, Provider, SessionId, connection, history, operator};
use causes::Causes;
use entry::Entry;
use serde::Serialize;
use subject::Subject;

/// Show the history of a machine or a session, or all operator actions.
///
/// The newest entry comes first. The history of a machine has its attempts and the operator actions on it.
/// Equal failures in a row are one entry. A deleted machine keeps its history under its complete id. Without
/// a machine or a session, all operator actions are shown, with who acted and why.
///
/// --causes shows instead why processes fail now: the machines whose last attempt failed and that still need
/// the process, counted by process, provider and text of the failure. Machines on hold do not count.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb history fra1/rack-a-07
  bmdb history 67e5 --process ShepherdRecovery --limit 5
  bmdb history --session 4e0f9c51-6a2b-4c1d-9c3e-0a7d5b2f8e61
  bmdb history
  bmdb history --causes --process ShepherdRecovery
  bmdb history 67e5 --all --json | jq '.items[] | select(.kind == \"action\")'")]
pub(crate) struct History {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: Option<MachineArg>,
    /// Only this process, and operator actions on the machine as a whole; or only the causes of this process.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
    /// Show the attempts of this session, the last claim first. The session may have ended.
    #[arg(long, value_name = "SESSION", conflicts_with = "machine")]
    session: Option<SessionId>,
    /// Show why processes fail now, the causes of the most machines first.
    #[arg(long, conflicts_with_all = ["machine", "session", "after", "all"])]
    causes: bool,
    /// With --causes: only machines of this provider.
    #[arg(long, value_name = "NAME", requires = "causes")]
    provider: Option<Provider>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    machine_id: Option<Text<MachineId>>,
    session_id: Option<Text<SessionId>>,
    #[serde(flatten)]
    list: List<Entry>,
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.causes {
            let reader = context.reader().await?;
            let (process, provider) = (self.process.as_ref(), self.provider.as_ref());
            let causes = Causes::read(reader, process, provider, self.paging.limit()).await?;
            return context.output.report(&causes);
        }
        if self.process.is_some() && self.machine.is_none() {
            let needs = "--process needs a machine, or --causes";
            return Err(Failure::usage(needs.to_owned()));
        }
        let machine = match &self.machine {
            Some(machine) => Some(machine.resolve_or_deleted(context).await?),
            None => None,
        };
        let reader = context.reader().await?;
        let at = reader.read(async |conn| Ok(connection::clock(conn).await?));
        let answer = Answer {
            at: Time(at.await?),
            machine_id: machine.map(Text),
            session_id: self.session.map(Text),
            list: self
                .list(reader, Subject::of(machine, self.session))
                .await?,
        };
        context.output.report(&answer)
    }

    async fn list(&self, reader: &Reader, subject: Subject) -> Result<List<Entry>, Failure> {
        let (paging, process) = (&self.paging, self.process.as_ref());
        match subject {
            Subject::Machine(machine) => {
                let page = async |after: Option<_>, limit| {
                    let read = reader.read(async |conn| {
                        Ok(history::page(conn, machine, process, after.as_ref(), limit).await?)
                    });
                    Ok(List::of(read.await?))
                };
                paging.list(page).await
            }
            Subject::Session(session) => {
                let page = async |after: Option<_>, limit| {
                    let read = reader.read(async |conn| {
                        Ok(history::of_session(conn, session, after.as_ref(), limit).await?)
                    });
                    Ok(List::of(read.await?))
                };
                paging.list(page).await
            }
            Subject::Operators => {
                let page = async |after: Option<_>, limit| {
                    let read = reader.read(async |conn| {
                        Ok(operator::page(conn, Scope::All, after.as_ref(), limit).await?)
                    });
                    Ok(List::of(read.await?))
                };
                paging.list(page).await
            }
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let ids = (
            self.machine_id.map(|id| id.0),
            self.session_id.map(|id| id.0),
        );
        let subject = Subject::of(ids.0, ids.1);
        if self.list.items.is_empty() && self.list.next.is_some() {
            page.note("Nothing found so far.");
        } else if self.list.items.is_empty() {
            page.note(subject.empty());
        }
        for entry in &self.list.items {
            let line = entry.render(subject, self.at);
            page.styled_line(&line);
        }
        self.list.show_next(page);
    }
}
