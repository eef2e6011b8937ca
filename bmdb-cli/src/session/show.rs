//! `bmdb session show`: one session, its claimed work, and the operator actions on it.

use super::list::Listed;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::history::Action;
use crate::output::{Page, Report, Time, interval};
use crate::paging::show_items;
use crate::work::list::Claimed;
use bmdb_model::operator::{self, Scope};
use bmdb_model::work::{self, ClaimedFilter};
use bmdb_model::{SessionId, connection, session};
use serde::Serialize;

/// The most work items and operator actions that are shown.
const LIMIT: i64 = 1000;

/// Show a session and the work that it has claimed.
///
/// `bmdb history --session` shows the attempts that it ended.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// The session's id.
    #[arg(value_name = "SESSION")]
    session: SessionId,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    session: Listed,
    work: Vec<Claimed>,
    /// Whether it has claimed more than is listed.
    more_work: bool,
    actions: Vec<Action>,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.session;
        let filter = ClaimedFilter {
            session: Some(id),
            ..ClaimedFilter::default()
        };
        let reader = context.reader().await?;
        let read = reader.read(async |conn| {
            let at = connection::clock(conn).await?;
            let Some(found) = session::find(conn, id).await? else {
                return Ok(None);
            };
            let claimed = work::claimed(conn, &filter, None, LIMIT).await?;
            let actions = operator::page(conn, Scope::Session(id), None, LIMIT).await?;
            Ok(Some((at, found, claimed, actions)))
        });
        let (at, found, claimed, actions) = read.await?.ok_or_else(|| not_found(id))?;
        context.output.report(&Answer {
            at: Time(at),
            session: found.into(),
            more_work: claimed.next.is_some(),
            work: claimed.rows.into_iter().map(Claimed::from).collect(),
            actions: actions.rows.into_iter().map(Action::from).collect(),
        })
    }
}

fn overlong(id: &str, seconds: i64) -> String {
    format!(
        "The deadline is farther away than the heartbeat interval: the database's clock was set back. The next \
         heartbeat moves it. If none arrives within {seconds} s, a janitor that runs ends the lease; \
         `bmdb session end {id}` ends it now."
    )
}

fn not_found(id: SessionId) -> Failure {
    let message = format!("there is no session {id}: it was closed or has expired");
    Failure::new(Exit::NotFound, message).hint(format!(
        "`bmdb session list` lists the sessions; `bmdb history --session {id}` shows what this one did"
    ))
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let session = &self.session;
        let deadline = match session.is_live {
            true => "live until",
            false => "expired",
        };
        page.fields([
            ("session", session.session_id.to_string()),
            ("component", session.component.clone()),
            ("where", session.runtime_info.clone()),
            ("started", session.created_at.beside(self.at)),
            ("heartbeat interval", interval(session.interval_seconds)),
            (deadline, session.deadline.beside(self.at)),
            ("claimed", session.claimed()),
        ]);
        if session.is_overlong {
            page.note(overlong(
                &session.session_id.to_string(),
                session.interval_seconds,
            ));
        }
        page.heading("Work");
        show_items(page, &self.work, self.at);
        if self.more_work {
            page.note("There is more: list it with `bmdb work list --session`.");
        }
        if !self.actions.is_empty() {
            page.heading("Operator actions");
            for action in &self.actions {
                page.line(action.render(self.at));
            }
        }
    }
}
