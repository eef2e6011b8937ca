//! Tables, which become cards where the screen is narrow.

use maud::{Markup, html};

/// A table that is built row by row.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    caption: &'a str,
    heads: &'a [&'a str],
    rows: Vec<Vec<Markup>>,
}

impl<'a> Table<'a> {
    /// `caption` is read out to those who do not see the table; each head names a column.
    pub(crate) fn new(caption: &'a str, heads: &'a [&'a str]) -> Self {
        Self {
            caption,
            heads,
            rows: Vec::new(),
        }
    }

    /// Adds a row; its first cell names it. It has as many cells as there are heads.
    pub(crate) fn row(&mut self, cells: Vec<Markup>) {
        debug_assert_eq!(cells.len(), self.heads.len(), "{}", self.caption);
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The roles are said again, for a table that is laid out as cards is none to some browsers.
    pub(crate) fn render(&self) -> Markup {
        html! {
            div.table role="region" aria-label=(self.caption) tabindex="0" {
                table role="table" {
                    caption.unseen { (self.caption) }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for head in self.heads { th scope="col" role="columnheader" { (head) } }
                        }
                    }
                    tbody role="rowgroup" {
                        @for row in &self.rows {
                            tr role="row" {
                                @for (nth, (head, cell)) in self.heads.iter().zip(row).enumerate() {
                                    @if nth == 0 {
                                        th scope="row" role="rowheader" data-label=(head) { (cell) }
                                    } @else {
                                        td role="cell" data-label=(head) { (cell) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
