//! `bmdb migrate grants`: the roles and their privileges in this database.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use bmdb_model::grants;
use serde::Serialize;

/// Set up the roles bmdb_owner, bmdb_component and bmdb_viewer in this database.
///
/// Running it again changes nothing. bmdb_owner becomes the owner of all tables and views, and only members
/// of the three roles can connect from then on. The login must be a superuser, or have CREATEROLE and own the
/// database, its schema and its tables. Create the logins of your components yourself: `CREATE ROLE
/// agent_starter LOGIN IN ROLE bmdb_component`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate grants
  bmdb migrate grants --print | psql \"$ADMIN_URL\"    run the SQL as another login")]
pub(crate) struct Grants {
    /// Print the SQL, to read or for psql, and change nothing.
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
            "ran {} statements (--print shows them). Now grant your logins a role: GRANT {} TO …, \
             GRANT {} TO …",
            self.statements.len(),
            grants::COMPONENT,
            grants::VIEWER
        ));
    }
}
