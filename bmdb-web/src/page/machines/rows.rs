//! The table of machines: provider, tags, and the state of each process.

use crate::component::badge::{Tone, badge};
use crate::component::{id, state, table::table, tag, time};
use crate::link::{Links, with_query};
use bmdb_model::MachineId;
use bmdb_model::custom_tags::TagTable;
use bmdb_model::fleet::{FleetItem, FleetMachine, ItemState};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use std::collections::HashMap;

pub(super) fn show(
    links: &Links,
    now: DateTime<Utc>,
    machines: &[FleetMachine],
    tables: &[TagTable],
    tags: &[(MachineId, usize)],
) -> Markup {
    let mut tags_of: HashMap<MachineId, Vec<&str>> = HashMap::new();
    for (machine, table) in tags {
        let name = tables.get(*table).map_or("", |table| table.name.as_str());
        tags_of.entry(*machine).or_default().push(name);
    }
    tags_of.values_mut().for_each(|tags| tags.sort_unstable());
    let heads = [
        "Machine",
        "Provider",
        "Location",
        "Status",
        "Tags",
        "Processes",
    ];
    table("Machines", &heads, machines, |machine| {
        let provided = machine.provided.as_ref();
        vec![
            id::machine(links, machine.id),
            html! {
                @if let Some(provided) = provided {
                    a href=(of_provider(links, provided.provider.as_str())) { (provided.provider) }
                    "/" span.cause { (provided.provider_id) }
                }
            },
            html! { @if let Some(location) = provided.and_then(|p| p.location.as_ref()) { (location) } },
            html! { @if let Some(status) = provided.and_then(|p| p.status) { (state::provider(status)) } },
            html! {
                @if let Some(tags) = tags_of.get(&machine.id) {
                    span.badges { @for name in tags { (tag_link(links, name)) } }
                }
            },
            processes(links, now, machine),
        ]
    })
}

fn of_provider(links: &Links, provider: &str) -> String {
    with_query(&links.machines(), &[("provider", provider)])
}

fn tag_link(links: &Links, name: &str) -> Markup {
    let address = with_query(&links.machines(), &[("tag", name)]);
    html! { a.badge.tag href=(address) title=(name) { (tag::name(name)) } }
}

/// The hold first, then each process; those that are not eligible share the last line.
fn processes(links: &Links, now: DateTime<Utc>, machine: &FleetMachine) -> Markup {
    let is_idle = |item: &&FleetItem| item.state == ItemState::NotEligible;
    let (idle, active): (Vec<_>, Vec<_>) = machine.items.iter().partition(is_idle);
    let idle: Vec<&str> = idle.iter().map(|item| item.process.as_str()).collect();
    html! {
        @if let Some(hold) = &machine.hold {
            div.line {
                (badge(Tone::Bad, "on hold")) " " (time::short(hold.since, now)) " "
                span.cause { (hold.reason) }
            }
        }
        @for item in active { div.line { (process(links, now, item)) } }
        @if !idle.is_empty() { div.line.muted { "not eligible: " (idle.join(", ")) } }
    }
}

fn process(links: &Links, now: DateTime<Utc>, item: &FleetItem) -> Markup {
    html! {
        (item.process) " " (state::item(item.state)) " "
        @match item.state {
            ItemState::Claimed => {
                @if let Some(session) = item.session { "by " (id::session(links, session)) " " }
                @if let Some(since) = item.started_at { (time::short(since, now)) }
            }
            _ => @if let Some(at) = item.ready_at { (time::short(at, now)) }
        }
        @if item.failures > 0 { span.muted { " · " (item.failures) " failed in a row" } }
        @if item.losses > 0 { span.muted { " · " (item.losses) " expired in a row" } }
    }
}
