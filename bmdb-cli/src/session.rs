//! `bmdb session`: connected components, the work they have claimed, and ending a session.

mod end;
mod list;
mod show;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// List, show or end sessions.
///
/// A session is a component's lease: while it is live, no other session can claim its work.
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
}
