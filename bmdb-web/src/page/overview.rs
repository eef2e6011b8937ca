//! The overview: is work being done, what waits, and what needs somebody.

mod attempts;

use super::work::milliseconds;
use super::{Page, Section, audit_log};
use crate::app::{App, Moment};
use crate::component::badge::{Tone, badge};
use crate::component::{cause, id, table::Table, time};
use crate::error::Problem;
use crate::link::{Links, with_query};
use crate::request::Asked;
use crate::sample::Latest;
use bmdb_model::attempt_counts::{self, Minute};
use bmdb_model::operator::{self, Action, Scope};
use bmdb_model::overview::{self, ClaimedSummary, OldestDue, SessionSummary};
use bmdb_model::work::{self, ClaimedFilter, ClaimedWork, PoisonedWork, STUCK_AFTER};
use bmdb_model::{Page as Listed, work::ClaimedKey, work::PoisonedKey};
use maud::{Markup, html};

/// How many minutes are drawn.
const MINUTES: u32 = 60;

/// How many machines of each kind are listed.
const MOST: i64 = 10;

/// What is looked at to say how many there are.
const COUNTED: i64 = 100;

/// Everything that the page shows.
struct Facts {
    minutes: Vec<Minute>,
    held: ClaimedSummary,
    oldest: Vec<OldestDue>,
    stuck: Listed<ClaimedWork, ClaimedKey>,
    poisoned: Listed<PoisonedWork, PoisonedKey>,
    sessions: SessionSummary,
    actions: Vec<Action>,
}

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    asked.parameters(&[])?;
    let stuck = ClaimedFilter {
        claimed_for: Some(STUCK_AFTER),
        ..ClaimedFilter::default()
    };
    let read = app.read(async |conn| {
        Ok(Facts {
            minutes: attempt_counts::last_minutes(conn, MINUTES).await?,
            held: overview::claimed(conn).await?,
            oldest: overview::oldest_due(conn).await?,
            stuck: work::claimed(conn, &stuck, None, COUNTED).await?,
            poisoned: work::poisoned(conn, None, COUNTED).await?,
            sessions: overview::sessions(conn).await?,
            actions: operator::page(conn, Scope::All, None, MOST).await?.rows,
        })
    });
    let (moment, facts) = read.await?;
    let links = app.links();
    let body = html! {
        (cards(links, &facts))
        section {
            h2 { "Attempts in the last hour" }
            (attempts::charts(moment, MINUTES, &facts.minutes))
        }
        section {
            h2 { "What needs a look" }
            div.panels.wide {
                section.panel {
                    h3 { "Stuck" }
                    (stuck_work(links, moment, &facts.stuck))
                }
                section.panel {
                    h3 { "Poisoned" }
                    (poisoned(links, &facts.poisoned))
                }
            }
            div.panels {
                section.panel {
                    h3 { "Due for longest" }
                    (oldest(links, moment, &facts.oldest))
                }
                section.panel {
                    h3 { "From due to claimed" }
                    (latency(&facts.held, &facts.minutes))
                }
            }
        }
        @if let Some(latest) = app.counted() { (fleet(links, &latest)) }
        section {
            h2 { "Done by hand" }
            @if facts.actions.is_empty() {
                p.muted { "Nobody has done anything by hand yet. What people do with " code { "bmdb" } " is listed here, with who and why." }
            } @else {
                (audit_log::table(links, moment, "What was done by hand, the last first", &facts.actions))
            }
        }
    };
    Ok(Page::new("Overview", Section::Overview, body).of(moment))
}

fn cards(links: &Links, facts: &Facts) -> Markup {
    let SessionSummary { live, dead, .. } = facts.sessions;
    let more = if facts.held.is_all { "" } else { "+" };
    let stuck = counted(facts.stuck.rows.len(), facts.stuck.next.is_some());
    let poisoned = counted(facts.poisoned.rows.len(), facts.poisoned.next.is_some());
    html! {
        ul.cards {
            (card("Live sessions", &live.to_string(), Some(links.sessions()), Tone::Quiet, &match dead {
                0 => "none has expired".to_owned(),
                dead => format!("{dead} expired and not removed yet"),
            }))
            (card("Held now", &format!("{}{more}", facts.held.claimed), Some(links.work()), Tone::Quiet, "work that somebody does"))
            (card("Stuck", &stuck, None, tone(&stuck), "held for more than an hour"))
            (card("Poisoned", &poisoned, None, tone(&poisoned), "failed or lost again and again"))
        }
    }
}

fn card(label: &str, value: &str, address: Option<String>, tone: Tone, note: &str) -> Markup {
    html! {
        li.card.(tone.class()) {
            span.label { @if let Some(address) = address { a href=(address) { (label) } } @else { (label) } }
            span.value { (value) }
            span.note { (note) }
        }
    }
}

fn tone(counted: &str) -> Tone {
    if counted == "0" {
        Tone::Quiet
    } else {
        Tone::Bad
    }
}

/// So many, or so many at least.
fn counted(rows: usize, is_more: bool) -> String {
    format!("{rows}{}", if is_more { "+" } else { "" })
}

/// What only counting the whole fleet can tell, as of the last sample.
fn fleet(links: &Links, latest: &Latest) -> Markup {
    html! {
        @if let Some(sample) = &latest.sample {
            section {
                h2 { "The fleet" }
                @let fleet = &sample.fleet;
                ul.cards {
                    (card("Machines", &fleet.machines.to_string(), Some(links.machines()), Tone::Quiet, &format!("{} of a provider", fleet.provided)))
                    (card("Agents started", &fleet.agent_started.to_string(), None, Tone::Quiet, &format!("{} send heartbeats", fleet.heartbeating)))
                    (card("Installed", &fleet.installed.to_string(), None, Tone::Quiet, &format!("{} installations pending", fleet.installation_pending)))
                    (card("On hold", &fleet.on_hold.to_string(), None, Tone::Quiet, "nothing new starts there"))
                }
                (processes(links, sample))
                p.muted { "Counted " (time::length(sample.age().as_secs())) " ago." }
            }
        }
        @if let Some(error) = &latest.error {
            div.notice.bad { p.lead { "The fleet could not be counted." } p { (error) } }
        }
    }
}

fn processes(links: &Links, sample: &crate::sample::Sample) -> Markup {
    let heads = ["Process", "Due now", "Held", "Backing off", "Need it"];
    let mut table = Table::new("Processes", &heads);
    for counts in &sample.processes {
        let process = counts.process.as_str();
        let of_process = |path: String| with_query(&path, &[("process", process)]);
        table.row(vec![
            html! { (process) },
            html! { @if let Some(due) = sample.due(counts) { span.number { (due) } } },
            html! { a href=(of_process(links.work())) { span.number { (counts.claimed) } } },
            html! { a href=(of_process(links.backoffs())) { span.number { (counts.backing_off) } } },
            html! { span.number { (counts.eligible) } },
        ]);
    }
    html! { @if !table.is_empty() { (table.render()) } }
}

fn oldest(links: &Links, moment: Moment, oldest: &[OldestDue]) -> Markup {
    let mut table = Table::new(
        "What has been due for longest",
        &["Process", "Machine", "Due since"],
    );
    for due in oldest {
        table.row(vec![
            html! { (due.process) },
            html! {
                (id::machine(links, due.machine))
                @if let Some(provider) = &due.provider { " " span.muted { (provider) } }
            },
            html! {
                (time::short(due.since, moment.at))
                @if due.is_possibly_due {
                    " " span.muted title="Heartbeats may have moved its deadline; the next claim finds out." { "at the earliest" }
                }
            },
        ]);
    }
    html! {
        @if table.is_empty() {
            p.muted { "Nothing waits: every machine that needs a process is held, or rests." }
        } @else { (table.render()) }
    }
}

fn latency(held: &ClaimedSummary, minutes: &[Minute]) -> Markup {
    let (waits, waited) = minutes
        .iter()
        .fold((0_i64, 0_i64), |(waits, waited), minute| {
            (
                waits.saturating_add(minute.waits),
                waited.saturating_add(minute.waited_ms),
            )
        });
    html! {
        @match &held.latency {
            Some(latency) => dl.facts {
                dt { "Median" } dd { (milliseconds(latency.p50_ms)) }
                dt { "95 of 100" } dd { (milliseconds(latency.p95_ms)) }
                dt { "Longest" } dd { (milliseconds(latency.max_ms)) }
                dt { "Of" } dd { (latency.of) " items that are held now" }
            },
            None => p.muted { "Nothing is held now that was claimed from a queue." },
        }
        @if let Some(mean) = waited.checked_div(waits) {
            p.muted { "In the last hour " (milliseconds(mean)) " on average, of " (waits) " claims." }
        }
    }
}

fn stuck_work(links: &Links, moment: Moment, stuck: &Listed<ClaimedWork, ClaimedKey>) -> Markup {
    let mut table = Table::new(
        "Work that is stuck",
        &["Machine", "Process", "Held since", "By"],
    );
    for work in stuck.rows.iter().take(shown()) {
        table.row(vec![
            id::machine(links, work.machine),
            html! { (work.process) },
            time::short(work.started_at, moment.at),
            html! { (id::session(links, work.session)) " " (work.component) },
        ]);
    }
    html! {
        @if table.is_empty() {
            p.muted { "Nothing has been held for more than an hour." }
        } @else {
            (table.render())
            @if stuck.rows.len() > shown() || stuck.next.is_some() {
                p { a href=(links.work()) { "All work, the longest first" } }
            }
        }
    }
}

fn poisoned(links: &Links, poisoned: &Listed<PoisonedWork, PoisonedKey>) -> Markup {
    let mut table = Table::new(
        "Poisoned machines",
        &["Machine", "Process", "Failed", "Lost", "Cause"],
    );
    for work in poisoned.rows.iter().take(shown()) {
        table.row(vec![
            id::machine(links, work.machine),
            html! { (work.process) @if work.session.is_some() { " " (badge(Tone::Busy, "claimed")) } },
            html! { span.number { (work.failures) } },
            html! { span.number { (work.losses) } },
            html! { @if let Some(cause) = &work.cause { (cause::cause(cause)) } },
        ]);
    }
    html! {
        @if table.is_empty() {
            p.muted { "No process has failed ten times in a row on a machine, or was lost there three times in a row." }
        } @else {
            (table.render())
            @if poisoned.rows.len() > shown() || poisoned.next.is_some() {
                p.muted { "The first " (MOST) " in the order of their machines are shown." }
            }
        }
    }
}

fn shown() -> usize {
    usize::try_from(MOST).unwrap_or(usize::MAX)
}
