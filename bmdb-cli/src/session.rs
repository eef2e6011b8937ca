//! `bmdb session`: who is connected, what they hold, and ending one.

mod end;
mod list;
mod show;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::Subcommand;

/// List sessions, look at one of them, end one.
///
/// A session is a component's lease: while it lives, nobody else gets what it holds.
#[derive(Subcommand)]
pub(crate) enum Session {
    List(list::ListArgs),
    Show(show::Show),
    End(end::End),
}

impl Session {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::End(end) => end.run(context).await,
        }
    }

    /// Whether it goes on until Ctrl-C.
    pub(crate) const fn is_watching(&self) -> bool {
        match self {
            Self::List(list) => list.watch.is_on(),
            Self::Show(_) | Self::End(_) => false,
        }
    }
}

fn no_session(id: bmdb_model::SessionId) -> Failure {
    let message = format!("there is no session {id}: it was closed, or has expired");
    Failure::new(Exit::NotFound, message).hint(format!(
        "`bmdb session list` has all there are; `bmdb history --session {id}` tells what it did"
    ))
}
