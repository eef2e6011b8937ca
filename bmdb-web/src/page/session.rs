//! Session page: the session, the machines it has claimed, its past attempts, and operator actions on it.

use super::sessions::{claimed, state};
use super::{Page, Section, audit_log, work as claimed_work};
use crate::app::App;
use crate::component::{cause, empty, id, pager::pager, state as states, table::table, time};
use crate::error::HttpError;
use crate::link::{Links, with_query};
use crate::moment::Moment;
use crate::request::PageRequest;
use bmdb_model::history::{self, PastAttempt, SessionPastKey};
use bmdb_model::operator::{self, Action, ActionKey, Scope};
use bmdb_model::session::{self, ListedSession};
use bmdb_model::work::{self, ClaimedFilter, ClaimedWork, LongestClaimedKey};
use bmdb_model::{Page as Listed, SessionId};
use maud::{Markup, html};

/// Rows of each table.
const MOST: i64 = 50;

struct Facts {
    /// Only read for the first page of attempts.
    present: Option<Present>,
    attempts: Listed<PastAttempt, SessionPastKey>,
}

struct Present {
    /// `None` if the session has ended.
    session: Option<ListedSession>,
    claimed: Listed<ClaimedWork, LongestClaimedKey>,
    actions: Listed<Action, ActionKey>,
}

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    let after: Option<SessionPastKey> = request.parameters(&["after"])?.get("after")?;
    let id: SessionId = request.id()?;
    let filter = ClaimedFilter {
        session: Some(id),
        ..ClaimedFilter::default()
    };
    let read = app.read(async |conn| {
        let present = match after {
            None => Some(Present {
                session: session::find(conn, id).await?,
                claimed: work::longest_claimed(conn, &filter, None, MOST).await?.page,
                actions: operator::page(conn, Scope::Session(id), None, MOST).await?,
            }),
            Some(_) => None,
        };
        let attempts = history::of_session(conn, id, after.as_ref(), MOST).await?;
        Ok(Facts { present, attempts })
    });
    let (moment, facts) = read.await?;
    let links = &app.links;
    let body = html! {
        // Later pages of attempts only show attempts.
        @match &facts.present {
            Some(Present { session: Some(session), claimed, .. }) => {
                (details(moment, session))
                (claimed_now(links, moment, claimed))
            }
            Some(_) => (ended(id, !facts.attempts.rows.is_empty())),
            None => p { a href=(links.session(id)) { "Back to the session" } },
        }
        section {
            h2 { "Past attempts" }
            (past(links, moment, id, after.is_none(), &facts.attempts))
        }
        @if let Some(present) = &facts.present {
            section {
                h2 { "Operator actions" }
                (operator_actions(links, moment, &present.actions))
            }
        }
    };
    let title = format!("Session {}", id::short(id));
    let page = Page::new(title, Section::Sessions, body).read_at(moment);
    Ok(page.below("Sessions", links.sessions()))
}

fn claimed_now(
    links: &Links,
    moment: Moment,
    claimed: &Listed<ClaimedWork, LongestClaimedKey>,
) -> Markup {
    let caption = "Machines that the session has claimed, the longest first";
    html! {
        section {
            h2 { "Claimed machines" }
            @if claimed.rows.is_empty() {
                p.muted { "None: the session waits for due machines." }
            } @else {
                (claimed_work::rows(links, moment, caption, claimed_work::Sessions::Hidden, &claimed.rows))
                (more(claimed.next.is_some(), "longest"))
            }
        }
    }
}

fn more(is_more: bool, shown: &str) -> Markup {
    html! { @if is_more { p.muted { "There are more; the " (MOST) " " (shown) " are shown." } } }
}

fn details(moment: Moment, session: &ListedSession) -> Markup {
    let row = &session.row;
    html! {
        dl.facts.panel {
            dt { "Id" } dd { (id::whole(row.id)) }
            dt { "Component" } dd { (row.component_name) }
            dt { "State" } dd { (state(session)) }
            dt { "Runs as" } dd {
                @if row.runtime_info.is_empty() { span.muted { "unknown" } } @else { (row.runtime_info) }
            }
            dt { "Started" } dd { (time::relative(row.created_at, moment.at)) }
            dt { "Deadline" } dd {
                (time::relative(row.deadline, moment.at))
                "; each heartbeat moves it " (time::length(row.interval_seconds.unsigned_abs())) " ahead"
            }
            dt { "Claimed" } dd { (claimed(session.claimed)) }
        }
        @if session.is_overlong {
            div.notice {
                p.lead { "The deadline is farther away than it can be: the database's clock was set back." }
                p {
                    "The next heartbeat moves it. If none arrives within "
                    (time::length(row.interval_seconds.unsigned_abs()))
                    ", a janitor that runs ends the lease. To end it now: "
                    code { "bmdb session end " (row.id) }
                }
            }
        }
        @if !session.is_live {
            div.notice.bad {
                p.lead { "This session has expired: its heartbeats have stopped." }
                p {
                    "The janitor of any component frees its machines and removes it. If it stays here, no \
                     component runs a janitor; to run one by hand: " code { "bmdb janitor" }
                }
            }
        }
    }
}

/// The session has been removed, or there never was one with this id.
fn ended(id: SessionId, has_attempts: bool) -> Markup {
    html! {
        div.notice {
            p.lead { "This session has ended." }
            p {
                "A session is removed when its program closes it, or when it has expired and its machines \
                 are freed. Session ids are never reused, so " (id::whole(id)) " will not come back."
            }
            @if !has_attempts {
                p {
                    "No attempts of it are on record: it ended none, its history has been trimmed, or \
                     there never was a session with this id."
                }
            }
        }
    }
}

fn operator_actions(links: &Links, moment: Moment, actions: &Listed<Action, ActionKey>) -> Markup {
    html! {
        @if actions.rows.is_empty() {
            p.muted { "No operator actions on this session." }
        } @else {
            (audit_log::show(links, moment, "Operator actions on the session", &actions.rows))
            (more(actions.next.is_some(), "latest"))
        }
    }
}

fn past(
    links: &Links,
    moment: Moment,
    id: SessionId,
    is_first: bool,
    past: &Listed<PastAttempt, SessionPastKey>,
) -> Markup {
    html! {
        @if !past.rows.is_empty() {
            (attempts(links, moment, &past.rows))
            p.muted {
                "Failures in a row with the same cause and interval are one row, in the session that \
                 failed last."
            }
        } @else if is_first {
            p.muted { "No attempt of this session has ended yet." }
        } @else {
            (empty::end_of_list())
        }
        (pager(is_first, past.next.as_ref(), "Earlier attempts", |after| {
            with_query(&links.session(id), &[("after", after)])
        }))
    }
}

fn attempts(links: &Links, moment: Moment, attempts: &[PastAttempt]) -> Markup {
    let heads = ["Machine", "Process", "Outcome", "Ended", "Took", "Cause"];
    let caption = "Attempts that the session ended, the last claimed first";
    table(caption, &heads, attempts, |attempt| {
        let took = attempt.ended_at - attempt.started_at;
        vec![
            id::machine(links, attempt.machine),
            html! { (attempt.process) },
            html! {
                (states::outcome(attempt.outcome))
                @if attempt.repeats > 0 {
                    " " span.muted { (attempt.repeats.saturating_add(1)) " times in a row" }
                }
            },
            time::short(attempt.ended_at, moment.at),
            html! { @if attempt.repeats == 0 { (time::milliseconds(took.num_milliseconds())) } },
            cause::optional(attempt.cause.as_deref()),
        ]
    })
}
