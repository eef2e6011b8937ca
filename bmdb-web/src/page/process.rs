//! Process page: what limits or stops a process, why it fails, and what operators did to it.

mod breakers;
mod limits;

use super::{Page, Section, audit_log, stops};
use crate::app::App;
use crate::component::{id, number, time};
use crate::error::HttpError;
use crate::link::{Links, with_query};
use crate::moment::Moment;
use crate::page::overview::problems;
use crate::request::PageRequest;
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::operator::{self, Action, Scope};
use bmdb_model::overview::{self, OldestDue};
use bmdb_model::plan::{self, PlanFailure};
use bmdb_model::process_control::{self, ProcessControl};
use bmdb_model::work::{self, Causes};
use bmdb_model::{Process, process};
use maud::{Markup, html};

/// Rows of each table.
const MOST: usize = 20;

struct Facts {
    is_known: bool,
    control: ProcessControl,
    oldest: Vec<OldestDue>,
    causes: Causes,
    plan_failures: Vec<PlanFailure>,
    actions: Vec<Action>,
}

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    request.parameters(&[])?;
    let name: Process = request.id()?;
    let read = app.read(async |conn| {
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        Ok(Facts {
            is_known: process::is_known(conn, &name).await?,
            control: process_control::of(conn, &name).await?,
            oldest: overview::oldest_due(conn).await?,
            causes: work::causes(conn, Some(&name), None, MOST).await?,
            plan_failures: failures(conn, &name).await?,
            actions: operator::page(conn, Scope::Process(&name), None, most)
                .await?
                .rows,
        })
    });
    let (moment, facts) = read.await?;
    if !facts.is_known && !facts.control.is_controlled() {
        let reason = format!("There is no process {name}.");
        return Err(HttpError::not_found(reason, "See the list of processes."));
    }
    let (links, control) = (&app.links, &facts.control);
    let oldest = facts.oldest.iter().find(|due| due.process == name);
    let body = html! {
        @for pause in &control.pauses { (stops::pause(moment.at, pause)) }
        (problems::not_plannable(links, moment, &facts.plan_failures))
        (details(&app, moment, control, oldest))
        section {
            h2 #limits { "Limits" }
            (limits::show(moment.at, control))
        }
        section {
            h2 #breakers { "Breakers" }
            (breakers::show(moment.at, control))
        }
        section {
            h2 #causes { "Why it fails now" }
            (problems::causes(links, moment, &facts.causes))
        }
        section {
            h2 #actions { "Operator actions" }
            @if facts.actions.is_empty() {
                p.muted { "Nobody has changed its limits, or paused or resumed it." }
            } @else {
                (audit_log::show(links, moment, "Actions on the process, the latest first", &facts.actions))
            }
        }
    };
    let page = Page::new(name.as_str(), Section::Processes, body).read_at(moment);
    Ok(page.below("Processes", links.processes()))
}

async fn failures(
    conn: &mut AsyncPgConnection,
    process: &Process,
) -> Result<Vec<PlanFailure>, TxError> {
    let mut failures = plan::failures(conn).await?;
    failures.retain(|failure| failure.broken.process == *process);
    Ok(failures)
}

fn details(
    app: &App,
    moment: Moment,
    control: &ProcessControl,
    oldest: Option<&OldestDue>,
) -> Markup {
    let links = &app.links;
    let process = control.process.as_str();
    let claimed = with_query(&links.work(), &[("process", process)]);
    html! {
        dl.facts.panel {
            dt { "State" } dd { (stops::state(control)) }
            dt { "Lane" } dd { (control.lane) }
            dt { "Workflow" }
            dd {
                @match (&control.workflow, &control.off_workflow) {
                    (Some(view), _) => code { (view) },
                    (None, Some(view)) => { "switched off; otherwise " code { (view) } }
                    (None, None) => "none: only explicit retrievals claim machines",
                }
            }
            dt { "Claimed" } dd { a href=(claimed) { (number::grouped(control.claimed)) " machines" } }
            dt { "Due the longest" }
            dd {
                @match oldest {
                    Some(due) => {
                        (id::machine_of(links, due.machine, due.provider.as_ref()))
                        ", since " (time::relative(due.since, moment.at))
                    }
                    None => "no machine is due",
                }
            }
            (counted(app, links, control))
        }
    }
}

/// The counts of the latest sample.
fn counted(app: &App, links: &Links, control: &ProcessControl) -> Markup {
    let latest = app.sampler.as_ref().map(|sampler| sampler.latest());
    let sample = latest.as_ref().and_then(|latest| latest.sample.as_deref());
    let counts = sample.and_then(|sample| {
        let mut all = sample.processes.iter();
        Some((
            sample,
            all.find(|counts| counts.process == control.process)?,
        ))
    });
    let listed = |state: &str, count: i64| {
        let parameters = [("process", control.process.as_str()), ("state", state)];
        let address = with_query(&links.machines(), &parameters);
        html! { a href=(address) { (number::grouped(count)) " machines" } }
    };
    html! {
        @if let Some((sample, counts)) = counts {
            @for (label, state, count) in [
                ("Due", "due", sample.due(counts)),
                ("Limited", "limited", sample.limited(counts)),
                ("Paused", "paused", sample.paused(counts)),
            ] {
                @if let Some(count) = count { dt { (label) } dd { (listed(state, count)) } }
            }
            dt { "Failing" } dd { (number::grouped(counts.failing)) " machines" }
            dt { "Resting" } dd { (number::grouped(counts.resting)) " machines" }
            dt { "Counted" } dd { (time::length(sample.age().as_secs())) " ago" }
        }
    }
}
