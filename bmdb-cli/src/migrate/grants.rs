//! `bmdb migrate grants`: the roles, and what each of them may do in this database.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use bmdb_model::grants;
use serde::Serialize;

/// Set up the roles bmdb_owner, bmdb_component and bmdb_viewer in this database.
///
/// As often as you like: a second time changes nothing. Tables and views become bmdb_owner's, and nobody
/// but members of the three roles may connect any more. Needs a superuser, or the owner of the database,
/// its schema and its tables with CREATEROLE. The logins are yours to make: `CREATE ROLE agent_starter
/// LOGIN IN ROLE bmdb_component`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate grants
  bmdb migrate grants --print | psql \"$ADMIN_URL\"    by whoever may")]
pub(crate) struct Grants {
    /// Print the SQL, for reading or for psql, and change nothing.
    #[arg(long)]
    print: bool,
}

#[derive(Serialize)]
struct Answer {
    /// Whether the statements ran.
    ran: bool,
    statements: Vec<String>,
}

impl Grants {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let connected = context.config().connect().await;
        let mut conn = connected.map_err(|error| context.explain(error))?;
        let statements = match self.print {
            true => grants::statements(&mut conn).await?,
            false => grants::apply(&mut conn).await?,
        };
        context.output.report(&Answer {
            ran: !self.print,
            statements,
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        if !self.ran {
            for statement in &self.statements {
                page.line(format_args!("{statement};"));
            }
            return;
        }
        page.line(format_args!(
            "{} statements ran; --print has them. Logins need a role now: GRANT {} TO …, \
             GRANT {} TO …",
            self.statements.len(),
            grants::COMPONENT,
            grants::VIEWER
        ));
    }
}
