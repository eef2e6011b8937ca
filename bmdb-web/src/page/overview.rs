//! Overview page: attempts of the last hour, problems, claim latency, and recent operator actions.

mod attempts;
mod fleet;
pub(super) mod problems;

use super::{Page, Section, audit_log};
use crate::app::App;
use crate::component::{badge::Tone, card::card, id, table::table, time};
use crate::error::HttpError;
use crate::link::Links;
use crate::moment::Moment;
use crate::request::PageRequest;
use bmdb_model::Page as Listed;
use bmdb_model::attempt_counts::{self, Minute};
use bmdb_model::operator::{self, Action, Scope};
use bmdb_model::overview::{self, ClaimedSummary, OldestDue, SessionSummary};
use bmdb_model::plan::{self, PlanFailure};
use bmdb_model::work::{
    self, Causes, ClaimedFilter, ClaimedKey, ClaimedWork, PoisonedKey, PoisonedWork, RestingWork,
    STUCK_AFTER,
};
use maud::{Markup, html};

/// Minutes in the charts.
const MINUTES: u32 = 60;

/// Rows of each table.
const MOST: i64 = 10;

/// Causes of failures.
const CAUSES: usize = 10;

/// How many stuck and poisoned machines are counted. Beyond that the page shows `100+`.
const COUNTED: i64 = 100;

struct Facts {
    minutes: Vec<Minute>,
    claimed: ClaimedSummary,
    oldest: Vec<OldestDue>,
    stuck: Listed<ClaimedWork, ClaimedKey>,
    poisoned: Listed<PoisonedWork, PoisonedKey>,
    causes: Causes,
    resting: Vec<RestingWork>,
    plan_failures: Vec<PlanFailure>,
    sessions: SessionSummary,
    actions: Vec<Action>,
}

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    request.parameters(&[])?;
    let stuck = ClaimedFilter {
        claimed_for: Some(STUCK_AFTER),
        ..ClaimedFilter::default()
    };
    let read = app.read(async |conn| {
        Ok(Facts {
            minutes: attempt_counts::last_minutes(conn, MINUTES).await?,
            claimed: overview::claimed(conn).await?,
            oldest: overview::oldest_due(conn).await?,
            stuck: work::claimed(conn, &stuck, None, COUNTED).await?,
            poisoned: work::poisoned(conn, None, COUNTED).await?,
            causes: work::causes(conn, None, None, CAUSES).await?,
            resting: work::resting(conn, MOST + 1).await?,
            plan_failures: plan::failures(conn).await?,
            sessions: overview::sessions(conn).await?,
            actions: operator::page(conn, Scope::All, None, MOST).await?.rows,
        })
    });
    let (moment, facts) = read.await?;
    let links = &app.links;
    let panel = |title: &str, content: Markup| html! { section.panel { h3 { (title) } (content) } };
    let body = html! {
        (cards(links, &facts))
        section {
            h2 { "Attempts in the last hour" }
            (attempts::charts(moment, MINUTES, &facts.minutes))
        }
        section {
            h2 { "What needs a look" }
            (problems::stopped(links, moment, &app.pauses()))
            (problems::not_plannable(links, moment, &facts.plan_failures))
            div.panels.wide {
                (panel("Failing", problems::causes(links, moment, &facts.causes)))
                (panel("Resting", problems::resting(links, moment, MOST, &facts.resting)))
                (panel("Stuck", problems::stuck(links, moment, MOST, &facts.stuck)))
                (panel("Poisoned", problems::poisoned(links, MOST, &facts.poisoned)))
            }
            div.panels {
                (panel("Due the longest", oldest(links, moment, &facts.oldest)))
                (panel("Time from due to claimed", latency(&facts.claimed, &facts.minutes)))
            }
        }
        @if let Some(sampler) = &app.sampler { (fleet::show(links, &sampler.latest())) }
        section {
            h2 { "Operator actions" }
            @if facts.actions.is_empty() {
                p.muted {
                    "No operator actions yet. What operators change with " code { "bmdb" }
                    " is listed here, with who did it and why."
                }
            } @else {
                (audit_log::show(links, moment, "Operator actions, the latest first", &facts.actions))
            }
        }
    };
    Ok(Page::new("Overview", Section::Overview, body).read_at(moment))
}

fn cards(links: &Links, facts: &Facts) -> Markup {
    let SessionSummary { live, dead, .. } = facts.sessions;
    let expired = match dead {
        0 => "none has expired".to_owned(),
        dead => format!("{dead} expired and not removed yet"),
    };
    let claimed = at_least(facts.claimed.claimed, !facts.claimed.is_all);
    let stuck = at_least(facts.stuck.rows.len(), facts.stuck.next.is_some());
    let poisoned = at_least(facts.poisoned.rows.len(), facts.poisoned.next.is_some());
    let tone = |count: &str| if count == "0" { Tone::Quiet } else { Tone::Bad };
    html! {
        ul.cards {
            (card("Live sessions", live, Some(links.sessions()), Tone::Quiet, &expired))
            (card("Claimed now", &claimed, Some(links.work()), Tone::Quiet, "machines being worked on"))
            (card("Stuck", &stuck, None, tone(&stuck), "claimed for more than an hour"))
            (card("Poisoned", &poisoned, None, tone(&poisoned), "failed or expired again and again"))
        }
    }
}

/// A count, with a plus if there are more.
fn at_least(count: impl std::fmt::Display, is_more: bool) -> String {
    format!("{count}{}", if is_more { "+" } else { "" })
}

fn oldest(links: &Links, moment: Moment, oldest: &[OldestDue]) -> Markup {
    if oldest.is_empty() {
        return html! { p.muted { "No machine is due." } };
    }
    let heads = ["Process", "Machine", "Due since"];
    table(
        "Machines that have been due the longest",
        &heads,
        oldest,
        |due| {
            vec![
                html! { (due.process) },
                id::machine_of(links, due.machine, due.provider.as_ref()),
                html! {
                    (time::short(due.since, moment.at))
                    @if due.is_possibly_due {
                        " " span.muted title="Heartbeats may have moved its time; the next claim finds out." {
                            "at the earliest"
                        }
                    }
                },
            ]
        },
    )
}

fn latency(claimed: &ClaimedSummary, minutes: &[Minute]) -> Markup {
    let sum = |value: fn(&Minute) -> i64| {
        let values = minutes.iter().map(value);
        values.fold(0_i64, i64::saturating_add)
    };
    let (waits, waited) = (sum(|minute| minute.waits), sum(|minute| minute.waited_ms));
    html! {
        @match &claimed.latency {
            Some(latency) => dl.facts {
                dt { "Median" } dd { (time::milliseconds(latency.p50_ms)) }
                dt { "95th percentile" } dd { (time::milliseconds(latency.p95_ms)) }
                dt { "Longest" } dd { (time::milliseconds(latency.max_ms)) }
                dt { "Sample" } dd { (latency.of) " machines that are claimed now" }
            },
            None => p.muted { "No machine is claimed now that came from a queue." },
        }
        @if let Some(mean) = waited.checked_div(waits) {
            p.muted { "In the last hour " (time::milliseconds(mean)) " on average, over " (waits) " claims." }
        }
    }
}
