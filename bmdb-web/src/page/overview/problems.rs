//! Problems: machines that are stuck or poisoned.

use crate::component::badge::{Tone, badge};
use crate::component::{cause, id, number, table::table, time};
use crate::link::Links;
use crate::moment::Moment;
use bmdb_model::Page as Listed;
use bmdb_model::work::{ClaimedKey, ClaimedWork, PoisonedKey, PoisonedWork};
use maud::{Markup, html};

pub(super) fn stuck(
    links: &Links,
    moment: Moment,
    most: i64,
    stuck: &Listed<ClaimedWork, ClaimedKey>,
) -> Markup {
    let heads = ["Machine", "Process", "Claimed since", "By"];
    let (shown, is_more) = first(stuck, most);
    html! {
        @if shown.is_empty() {
            p.muted { "No machine has been claimed for more than an hour." }
        } @else {
            (table("Machines that are stuck", &heads, shown, |work| vec![
                id::machine(links, work.machine),
                html! { (work.process) },
                time::short(work.started_at, moment.at),
                html! { (id::session(links, work.session)) " " (work.component) },
            ]))
            @if is_more { p { a href=(links.work()) { "All claimed machines, the longest first" } } }
        }
    }
}

pub(super) fn poisoned(
    links: &Links,
    most: i64,
    poisoned: &Listed<PoisonedWork, PoisonedKey>,
) -> Markup {
    let heads = ["Machine", "Process", "Failed", "Expired", "Cause"];
    let (shown, is_more) = first(poisoned, most);
    html! {
        @if shown.is_empty() {
            p.muted {
                "No process has failed ten times in a row on a machine, and no attempt has expired there \
                 three times in a row."
            }
        } @else {
            (table("Poisoned machines", &heads, shown, |work| vec![
                id::machine(links, work.machine),
                html! { (work.process) @if work.session.is_some() { " " (badge(Tone::Busy, "claimed")) } },
                number::show(work.failures),
                number::show(work.losses),
                cause::optional(work.cause.as_deref()),
            ]))
            @if is_more { p.muted { "The first " (most) " in the order of their ids are shown." } }
        }
    }
}

/// The first rows, and whether there are more.
fn first<T, K>(list: &Listed<T, K>, most: i64) -> (&[T], bool) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let shown = &list.rows[..list.rows.len().min(most)];
    (shown, list.rows.len() > most || list.next.is_some())
}
