//! A session: what it holds, what it did, and what was done to it by hand.

use super::sessions::{holds, state};
use super::{Page, Section, acts, work as held};
use crate::app::{App, Moment};
use crate::asked::Asked;
use crate::component::{id, time};
use crate::link::Links;
use crate::problem::Problem;
use bmdb_model::history::{self, PastAttempt};
use bmdb_model::operator::{self, Action, Scope};
use bmdb_model::session::{self, ListedSession};
use bmdb_model::work::{self, LongestFilter};
use bmdb_model::{Page as Listed, SessionId};
use maud::{Markup, html};

/// How many held items, past attempts and acts are shown.
const MOST: i64 = 50;

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    asked.parameters(&[])?;
    let id = asked.session()?;
    let filter = LongestFilter {
        session: Some(id),
        ..LongestFilter::default()
    };
    let read = app.read(async |conn| {
        let found = session::find(conn, id).await?;
        let held = work::longest_held(conn, &filter, None, MOST).await?;
        let did = history::of_session_on_held(conn, id, MOST).await?;
        let acts = operator::page(conn, Scope::Session(id), None, MOST).await?;
        Ok((found, held.page, did, acts))
    });
    let (moment, (found, held, did, acts)) = read.await?;
    let links = app.links();
    let title = format!("Session {}", short(id));
    let body = match found {
        None => ended(links, moment, id, &acts),
        Some(session) => html! {
            (facts(moment, &session))
            section {
                h2 { "Holds now" }
                @if held.rows.is_empty() {
                    p.muted { "Nothing: it waits for machines that are due." }
                } @else {
                    (held::table(links, moment, "What the session holds, the longest first", &held.rows))
                    @if held.next.is_some() { p.muted { "And more: the longest " (MOST) " are shown." } }
                }
            }
            section {
                h2 { "Did before" }
                (past(links, moment, &did))
            }
            section {
                h2 { "Done to it by hand" }
                (by_hand(links, moment, &acts))
            }
        },
    };
    let page = Page::new(title, Section::Sessions, body).of(moment);
    Ok(page.below("Sessions", links.sessions()))
}

fn short(id: SessionId) -> String {
    id.to_string().chars().take(8).collect()
}

fn facts(moment: Moment, session: &ListedSession) -> Markup {
    let row = &session.row;
    html! {
        dl.facts {
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
            dt { "Holds" } dd { (holds(session.holds)) }
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
fn ended(
    links: &Links,
    moment: Moment,
    id: SessionId,
    acts: &Listed<Action, operator::ActionKey>,
) -> Markup {
    html! {
        div.notice {
            p.lead { "This session has ended." }
            p {
                "A session is removed when its program closes it, or when its deadline has passed and \
                 its work is freed. No session ever gets the id of another, so "
                (id::whole(id)) " will not come back."
            }
            p {
                "What it did is in the histories of its machines, which are kept by machine: "
                a href=(links.machines()) { "look at a machine" } ", or "
                a href=(links.sessions()) { "at the sessions that live" } "."
            }
        }
        section {
            h2 { "Done to it by hand" }
            (by_hand(links, moment, acts))
        }
    }
}

fn by_hand(links: &Links, moment: Moment, acts: &Listed<Action, operator::ActionKey>) -> Markup {
    html! {
        @if acts.rows.is_empty() {
            p.muted { "Nothing was." }
        } @else {
            (acts::table(links, moment, "What was done to the session by hand", &acts.rows))
            @if acts.next.is_some() { p.muted { "And more: the last " (MOST) " are shown." } }
        }
    }
}

fn past(links: &Links, moment: Moment, did: &[PastAttempt]) -> Markup {
    html! {
        @if did.is_empty() {
            p.muted {
                "Nothing on the machines that it holds now. History is kept by machine: what it did on \
                 others is on their pages."
            }
        } @else {
            (acts::attempts(links, moment, "Attempts of the session that have ended", did))
            p.muted {
                "On the machines that it holds now: the last " (MOST) ". What it did on others is on \
                 their pages."
            }
        }
    }
}
