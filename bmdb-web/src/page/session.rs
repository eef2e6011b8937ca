//! A session: what it holds, what it did, and what was done to it by hand.

use super::sessions::{holds, state};
use super::{Page, Section, audit_log, work as held};
use crate::app::{App, Moment};
use crate::component::{id, pager, time};
use crate::error::Problem;
use crate::link::{Links, with_query};
use crate::request::Asked;
use bmdb_model::history::{self, PastAttempt, SessionPastKey};
use bmdb_model::operator::{self, Action, Scope};
use bmdb_model::session::{self, ListedSession};
use bmdb_model::work::{self, ClaimedFilter, ClaimedWork, LongestClaimedKey};
use bmdb_model::{Page as Listed, SessionId};
use maud::{Markup, html};

/// How many held items, past attempts and audit_log are shown.
const MOST: i64 = 50;

/// What is shown of a session.
struct Facts {
    /// Only read for the first page.
    present: Option<Present>,
    did: Listed<PastAttempt, SessionPastKey>,
}

/// What it is now; it need not be there any more.
struct Present {
    session: Option<ListedSession>,
    held: Listed<ClaimedWork, LongestClaimedKey>,
    audit_log: Listed<Action, operator::ActionKey>,
}

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let after: Option<SessionPastKey> = asked.parameters(&["after"])?.get("after")?;
    let id = asked.session()?;
    let filter = ClaimedFilter {
        session: Some(id),
        ..ClaimedFilter::default()
    };
    let read = app.read(async |conn| {
        let present = match after {
            None => Some(Present {
                session: session::find(conn, id).await?,
                held: work::longest_claimed(conn, &filter, None, MOST).await?.page,
                audit_log: operator::page(conn, Scope::Session(id), None, MOST).await?,
            }),
            Some(_) => None,
        };
        let did = history::of_session(conn, id, after.as_ref(), MOST).await?;
        Ok(Facts { present, did })
    });
    let (moment, facts) = read.await?;
    let links = app.links();
    let body = html! {
        // Whoever turns the pages of what it did wants to see what it did.
        @if let Some(known) = &facts.present {
            (present(links, moment, id, known, &facts.did))
        } @else {
            p { a href=(links.session(id)) { "What the session is now" } }
        }
        section {
            h2 { "Did before" }
            (past(links, moment, id, after.is_some(), &facts.did))
        }
        @if let Some(known) = &facts.present {
            section {
                h2 { "Done to it by hand" }
                (by_hand(links, moment, &known.audit_log))
            }
        }
    };
    let title = format!("Session {}", short(id));
    let page = Page::new(title, Section::Sessions, body).of(moment);
    Ok(page.below("Sessions", links.sessions()))
}

/// What it is, and what it holds.
fn present(
    links: &Links,
    moment: Moment,
    id: SessionId,
    known: &Present,
    did: &Listed<PastAttempt, SessionPastKey>,
) -> Markup {
    let Some(session) = &known.session else {
        return ended(id, !did.rows.is_empty());
    };
    html! {
        (facts(moment, session))
        section {
            h2 { "Holds now" }
            @if known.held.rows.is_empty() {
                p.muted { "Nothing: it waits for machines that are due." }
            } @else {
                (held::table(links, moment, "What the session holds, the longest first", held::Holders::Known, &known.held.rows))
                @if known.held.next.is_some() {
                    p.muted { "And more: the longest " (MOST) " are shown." }
                }
            }
        }
    }
}

fn short(id: SessionId) -> String {
    id.to_string().chars().take(8).collect()
}

fn facts(moment: Moment, session: &ListedSession) -> Markup {
    let row = &session.row;
    html! {
        dl.facts.panel {
            dt { "Id" } dd { (id::whole(row.id)) }
            dt { "Component" } dd { (row.component_name) }
            dt { "State" } dd { (state(session.is_live)) }
            dt { "Runs as" } dd {
                @if row.runtime_info.is_empty() { span.muted { "not said" } } @else { (row.runtime_info) }
            }
            dt { "Started" } dd { (time::relative(row.created_at, moment.at)) }
            dt { "Deadline" } dd {
                (time::relative(row.deadline, moment.at))
                ", moved " (time::length(row.interval_seconds.unsigned_abs())) " ahead by every heartbeat"
            }
            dt { "Holds" } dd { (holds(session.claimed)) }
        }
        @if !session.is_live {
            div.notice.bad {
                p.lead { "Its heartbeats have stopped." }
                p {
                    "The next turn of any component's janitor frees what it holds and removes it. If it \
                     stays here, no component runs a janitor: "
                    code { "bmdb janitor" } " takes a turn."
                }
            }
        }
    }
}

/// There is no such session any more, or there never was.
fn ended(id: SessionId, is_known: bool) -> Markup {
    html! {
        div.notice {
            p.lead { "This session has ended." }
            p {
                "A session is removed when its program closes it, or when its deadline has passed and \
                 its work is freed. No session ever gets the id of another, so "
                (id::whole(id)) " will not come back."
            }
            @if !is_known {
                p {
                    "Nothing is known of what it did: it ended no attempt, or so long ago that the \
                     history of it is deleted, or there never was such a session."
                }
            }
        }
    }
}

fn by_hand(
    links: &Links,
    moment: Moment,
    audit_log: &Listed<Action, operator::ActionKey>,
) -> Markup {
    html! {
        @if audit_log.rows.is_empty() {
            p.muted { "Nothing was." }
        } @else {
            (audit_log::table(links, moment, "What was done to the session by hand", &audit_log.rows))
            @if audit_log.next.is_some() { p.muted { "And more: the last " (MOST) " are shown." } }
        }
    }
}

fn past(
    links: &Links,
    moment: Moment,
    id: SessionId,
    is_later: bool,
    did: &Listed<PastAttempt, SessionPastKey>,
) -> Markup {
    let first = links.session(id);
    let next = did.next.as_ref().map(|key| {
        let after = key.to_string();
        with_query(&first, &[("after", &after)])
    });
    html! {
        @if !did.rows.is_empty() {
            (audit_log::attempts(links, moment, "Attempts that the session ended, the last claimed first", &did.rows))
            p.muted {
                "Failures in a row with the same cause and interval are one line, of the session that \
                 failed last."
            }
        } @else if is_later {
            p { "This was the last page." }
        } @else {
            p.muted { "No attempt of it has ended yet." }
        }
        (pager::pager(
            is_later.then_some(first.as_str()),
            next.as_deref().map(|next| (next, "Earlier attempts")),
        ))
    }
}
