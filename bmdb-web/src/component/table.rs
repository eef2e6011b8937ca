//! Tables, which the stylesheet lays out as cards on narrow screens.

use maud::{Markup, html};

/// A table with a row for each item. `row` makes the cells, one for each head; the first cell names the
/// row. Screen readers announce the caption.
pub(crate) fn table<T>(
    caption: &str,
    heads: &[&str],
    items: impl IntoIterator<Item = T>,
    row: impl Fn(T) -> Vec<Markup>,
) -> Markup {
    // The roles are repeated, because some browsers drop those of a table that is laid out as cards.
    html! {
        div.table role="region" aria-label=(caption) tabindex="0" {
            table role="table" {
                caption.unseen { (caption) }
                thead role="rowgroup" {
                    tr role="row" { @for head in heads { th scope="col" role="columnheader" { (head) } } }
                }
                tbody role="rowgroup" {
                    @for item in items { tr role="row" { (cells(heads, &row(item))) } }
                }
            }
        }
    }
}

fn cells(heads: &[&str], cells: &[Markup]) -> Markup {
    debug_assert_eq!(cells.len(), heads.len(), "{heads:?}");
    html! {
        @for (nth, (head, cell)) in heads.iter().zip(cells).enumerate() {
            @if nth == 0 {
                th scope="row" role="rowheader" data-label=(head) { (content(cell)) }
            } @else {
                td role="cell" data-label=(head) { (content(cell)) }
            }
        }
    }
}

/// One box beside the label of a card. An empty cell stays empty, so that the stylesheet finds it.
fn content(cell: &Markup) -> Markup {
    html! { @if !cell.0.is_empty() { div { (cell) } } }
}
