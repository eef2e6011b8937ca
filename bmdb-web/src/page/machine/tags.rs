//! The machine's tags: one panel for each tag table that has a row for it.

use crate::app::TagTables;
use crate::component::{tag, time};
use crate::link::{Links, with_query};
use bmdb_model::custom_tags::{Tag, TagTable, Value};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

/// How many hexadecimal digits of a value are shown before it is folded.
const BYTES_SHOWN: usize = 128;
/// How many characters.
const TEXT_SHOWN: usize = 300;

pub(super) fn show(links: &Links, now: DateTime<Utc>, tables: &TagTables, tags: &[Tag]) -> Markup {
    let all = || tables.iter().zip(tags);
    let unset: Vec<&str> = all()
        .filter(|(_, tag)| **tag == Tag::Unset)
        .map(|(table, _)| tag::name(&table.name))
        .collect();
    html! {
        div.panels {
            @for (table, tag) in all() {
                @match tag {
                    Tag::Set(values) => { (set(links, now, table, values)) }
                    Tag::Unreadable(reason) => {
                        section.panel {
                            (heading(links, table))
                            p.muted { "Cannot be read: " (reason) }
                        }
                    }
                    Tag::Unset => {}
                }
            }
        }
        @if !unset.is_empty() { p.muted.unset { "Not set: " (unset.join(", ")) } }
    }
}

fn heading(links: &Links, table: &TagTable) -> Markup {
    let same = with_query(&links.machines(), &[("tag", &table.name)]);
    html! { h3 title=(table.name) { a href=(same) { (tag::name(&table.name)) } } }
}

fn set(links: &Links, now: DateTime<Utc>, table: &TagTable, values: &[Value]) -> Markup {
    html! {
        section.panel {
            (heading(links, table))
            @if table.columns.is_empty() { p.muted { "Set; the tag has no values." } }
            dl.facts {
                @for (column, value) in table.columns.iter().zip(values) {
                    dt title=(column.sql_type) { (name(table, &column.name)) }
                    dd { (show_value(now, value)) }
                }
            }
        }
    }
}

/// The column's name without the tag's name in front, which the heading shows.
fn name<'a>(table: &TagTable, column: &'a str) -> &'a str {
    let rest = column.strip_prefix(tag::name(&table.name));
    let rest = rest.and_then(|rest| rest.strip_prefix('_'));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(column)
}

fn show_value(now: DateTime<Utc>, value: &Value) -> Markup {
    html! {
        @match value {
            Value::Null => span.muted { "NULL" },
            Value::Time(at) => (time::relative(*at, now)),
            Value::Bytes { hex, length } => {
                (folded(hex, BYTES_SHOWN, |hex| html! { code.bytes { (hex) } }))
                " " span.muted {
                    (length) @if *length == 1 { " byte" } @else { " bytes" }
                    @if value.is_cut() { ", the first are shown" }
                }
            }
            Value::Text { text, .. } if text.contains('\n') => { pre { (text) } (cut(value)) }
            Value::Text { text, .. } if text.is_empty() => span.muted { "empty text" },
            Value::Text { text, .. } => {
                (folded(text, TEXT_SHOWN, |text| html! { span.cause { (text) } }))
                (cut(value))
            }
        }
    }
}

/// The value, folded after `shown` characters.
fn folded(text: &str, shown: usize, show: impl Fn(&str) -> Markup) -> Markup {
    match text.char_indices().nth(shown) {
        None => show(text),
        Some((end, _)) => html! {
            details { summary { (show(&text[..end])) "…" } (show(text)) }
        },
    }
}

fn cut(value: &Value) -> Markup {
    html! {
        @if let (true, Value::Text { length, .. }) = (value.is_cut(), value) {
            "… " span.muted { "truncated; the value has " (length) " characters" }
        }
    }
}
