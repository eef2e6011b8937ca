//! `bmdb session show`: one session, what it holds, and what was done to it by hand.

use super::list::Listed;
use super::no_session;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report, Time, interval};
use crate::work::list::{Held, show_held};
use bmdb_model::operator::{self, Scope};
use bmdb_model::work::{self, ClaimedFilter};
use bmdb_model::{SessionId, connection, session};
use serde::Serialize;

/// How much of what it holds is shown.
const MOST: i64 = 1000;

/// Show a session and what it holds.
///
/// What it did: `bmdb history --session`.
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
    work: Vec<Held>,
    /// Whether more is held than is listed.
    more_work: bool,
    actions: Vec<crate::history::Action>,
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
            let held = work::claimed(conn, &filter, None, MOST).await?;
            let actions = operator::page(conn, Scope::Session(id), None, MOST).await?;
            Ok(Some((at, found, held, actions)))
        });
        let (at, found, held, actions) = read.await?.ok_or_else(|| no_session(id))?;
        context.output.report(&Answer {
            at: Time(at),
            session: found.into(),
            more_work: held.next.is_some(),
            work: held.rows.into_iter().map(Held::from).collect(),
            actions: actions.rows.into_iter().map(Into::into).collect(),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let session = &self.session;
        let ends = if session.is_live {
            "live until"
        } else {
            "expired"
        };
        page.fields([
            ("session", session.session_id.to_string()),
            ("component", session.component.clone()),
            ("where", session.runtime_info.clone()),
            ("started", session.created_at.beside(self.at)),
            ("heartbeat interval", interval(session.interval_seconds)),
            (ends, session.deadline.beside(self.at)),
            ("holds", session.held()),
        ]);
        page.heading("Work");
        show_held(page, &self.work, self.at);
        if self.more_work {
            page.note("There is more: `bmdb work list --session` goes through all of it.");
        }
        if !self.actions.is_empty() {
            page.heading("Done by hand");
            for action in &self.actions {
                page.line(action.told(self.at));
            }
        }
    }
}
