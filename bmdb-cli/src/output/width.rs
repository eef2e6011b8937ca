//! How a table gets into a terminal's width.

use std::cmp::Reverse;

/// How far columns are apart.
pub(super) const GAP: u16 = 2;

/// What a column takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// For all that is in it.
    pub(super) full: u16,
    /// For what says the same in less space.
    pub(super) short: u16,
    /// For its name.
    pub(super) name: u16,
}

/// A column that gives way, and how narrow it gets before it is left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yields {
    pub(super) column: usize,
    pub(super) least: u16,
}

/// A column as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) column: usize,
    pub(super) width: u16,
    pub(super) is_short: bool,
}

/// The columns that fit, by `order`: first what has a shorter form takes it, from the left; then those
/// columns are cut that give way, the first one first; then they are left out, but for the last. Where
/// even that is too wide, the last is cut to its name, and then whatever is widest.
pub(super) fn fit(columns: &[Column], order: &[Yields], total: u16) -> Vec<Slot> {
    let mut slots: Vec<Slot> = columns
        .iter()
        .enumerate()
        .map(|(column, takes)| Slot {
            column,
            width: takes.full,
            is_short: false,
        })
        .collect();
    for column in 0..slots.len() {
        if over(&slots, total) == 0 {
            return slots;
        }
        if let (Some(slot), Some(takes)) = (slots.get_mut(column), columns.get(column))
            && takes.short < slot.width
        {
            slot.width = takes.short;
            slot.is_short = true;
        }
    }
    let mut cut = slots.clone();
    for left_out in 0..order.len() {
        let (gone, there) = order.split_at(left_out);
        cut = slots.clone();
        cut.retain(|slot| gone.iter().all(|yields| yields.column != slot.column));
        for yields in there {
            shrink(&mut cut, yields.column, yields.least, total);
        }
        if over(&cut, total) == 0 {
            return cut;
        }
    }
    if let Some(last) = order.last() {
        let name = columns.get(last.column).map_or(1, |takes| takes.name);
        shrink(&mut cut, last.column, name, total);
    }
    while over(&cut, total) > 0 {
        // Of equals the last: what comes first names what the row is about.
        let widest = cut.iter_mut().rev().min_by_key(|slot| Reverse(slot.width));
        match widest {
            Some(slot) if slot.width > 1 => slot.width -= 1,
            _ => break,
        }
    }
    cut
}

/// Takes from a column what is too much, as far as it gives way.
fn shrink(slots: &mut [Slot], column: usize, least: u16, total: u16) {
    let over = over(slots, total);
    if let Some(slot) = slots.iter_mut().find(|slot| slot.column == column) {
        slot.width = slot.width.saturating_sub(over).max(least.min(slot.width));
    }
}

/// By how much they are too wide.
fn over(slots: &[Slot], total: u16) -> u16 {
    let needed = slots
        .iter()
        .fold(0_u16, |sum, slot| sum.saturating_add(slot.width + GAP));
    needed.saturating_sub(GAP).saturating_sub(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths of an id that has a short form, of a place, and of a state.
    const COLUMNS: [Column; 3] = [
        Column {
            full: 36,
            short: 8,
            name: 7,
        },
        Column {
            full: 20,
            short: 20,
            name: 8,
        },
        Column {
            full: 30,
            short: 30,
            name: 5,
        },
    ];

    const ORDER: [Yields; 2] = [
        Yields {
            column: 1,
            least: 8,
        },
        Yields {
            column: 2,
            least: 22,
        },
    ];

    fn widths(total: u16) -> Vec<(usize, u16)> {
        let slots = fit(&COLUMNS, &ORDER, total);
        slots.iter().map(|slot| (slot.column, slot.width)).collect()
    }

    #[test]
    fn columns_give_way_in_their_order_and_as_little_as_will_do() {
        for (total, expected) in [
            (90, &[(0, 36), (1, 20), (2, 30)][..]),
            (89, &[(0, 8), (1, 20), (2, 30)]),
            (60, &[(0, 8), (1, 18), (2, 30)]),
            (50, &[(0, 8), (1, 8), (2, 30)]),
            (42, &[(0, 8), (1, 8), (2, 22)]),
            (41, &[(0, 8), (2, 30)]),
            (32, &[(0, 8), (2, 22)]),
            (20, &[(0, 8), (2, 10)]),
            (9, &[(0, 4), (2, 3)]),
            (1, &[(0, 1), (2, 1)]),
        ] {
            assert_eq!(widths(total), expected, "{total}");
        }
    }

    #[test]
    fn a_table_in_which_nothing_gives_way_is_cut_where_it_is_widest() {
        let slots = fit(&COLUMNS, &[], 50);
        let widths: Vec<u16> = slots.iter().map(|slot| slot.width).collect();
        assert_eq!(widths, [8, 19, 19]);
    }
}
