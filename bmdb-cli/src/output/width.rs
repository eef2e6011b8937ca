//! Column widths of a table on a terminal.
//!
//! comfy-table shares the width equally among the columns. This module decides by priority instead: which
//! columns take their short form, which are hidden, and which get the rest of the width.

/// The space between two columns.
pub(super) const GAP: u16 = 2;

/// The widths that a column needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// For its full content.
    pub(super) full: u16,
    /// For the short form of its content.
    pub(super) short: u16,
}

/// A column that may be cut to `least` characters and then be hidden.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flexible {
    pub(super) column: usize,
    pub(super) least: u16,
}

/// A column as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) column: usize,
    /// `None`: comfy-table decides.
    pub(super) width: Option<u16>,
    pub(super) is_short: bool,
}

/// Fits the columns into `total` characters: first columns take their short form, from the left; then
/// the `flexible` columns are cut, and hidden, in their order; the last one is never hidden.
pub(super) fn fit(columns: &[Column], flexible: &[Flexible], total: u16) -> Vec<Slot> {
    let slot = |shortened: usize, (column, needs): (usize, &Column)| {
        let is_short = column < shortened && needs.short < needs.full;
        Slot {
            column,
            width: Some(if is_short { needs.short } else { needs.full }),
            is_short,
        }
    };
    let slots = |shortened| -> Vec<Slot> {
        let columns = columns.iter().enumerate();
        columns.map(|column| slot(shortened, column)).collect()
    };
    let mut shortened = (0..=columns.len()).map(slots);
    if let Some(slots) = shortened.find(|slots| spare(slots, total).is_some()) {
        return slots;
    }
    let mut slots = slots(columns.len());
    for hidden in 0..flexible.len() {
        let (gone, cut) = flexible.split_at(hidden);
        slots.retain(|slot| gone.iter().all(|gone| gone.column != slot.column));
        if let Some(slots) = shrink(&slots, cut, total) {
            return slots;
        }
    }
    for slot in &mut slots {
        slot.width = None;
    }
    slots
}

/// Cuts the flexible columns to their least width, then gives the rest to them, the last one first.
/// `None` if even that is too wide.
fn shrink(slots: &[Slot], flexible: &[Flexible], total: u16) -> Option<Vec<Slot>> {
    let mut cut = slots.to_vec();
    for slot in &mut cut {
        let least = flexible
            .iter()
            .find(|flexible| flexible.column == slot.column);
        slot.width = slot
            .width
            .min(least.map(|flexible| flexible.least).or(slot.width));
    }
    let mut spare = spare(&cut, total)?;
    for flexible in flexible.iter().rev() {
        let index = slots.iter().position(|slot| slot.column == flexible.column);
        if let Some(index) = index
            && let (Some(width), Some(full)) = (&mut cut[index].width, slots[index].width)
        {
            let more = (full - *width).min(spare);
            *width += more;
            spare -= more;
        }
    }
    Some(cut)
}

/// How many characters are left; `None` if the columns are too wide.
fn spare(slots: &[Slot], total: u16) -> Option<u16> {
    let widths = slots.iter().map(|slot| slot.width.unwrap_or_default());
    let needed = widths.fold(0_u16, |sum, width| sum.saturating_add(width + GAP));
    total.checked_sub(needed.saturating_sub(GAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id that has a short form, a place, and a state.
    const COLUMNS: [Column; 3] = [
        Column { full: 36, short: 8 },
        Column {
            full: 20,
            short: 20,
        },
        Column {
            full: 30,
            short: 30,
        },
    ];

    const FLEXIBLE: [Flexible; 2] = [
        Flexible {
            column: 1,
            least: 8,
        },
        Flexible {
            column: 2,
            least: 22,
        },
    ];

    fn widths(flexible: &[Flexible], total: u16) -> Vec<(usize, Option<u16>)> {
        let slots = fit(&COLUMNS, flexible, total);
        slots.iter().map(|slot| (slot.column, slot.width)).collect()
    }

    #[test]
    fn columns_are_cut_in_their_order_and_no_more_than_needed() {
        for (total, expected) in [
            (90, &[(0, 36), (1, 20), (2, 30)][..]),
            (89, &[(0, 8), (1, 20), (2, 30)]),
            (60, &[(0, 8), (1, 18), (2, 30)]),
            (50, &[(0, 8), (1, 8), (2, 30)]),
            (42, &[(0, 8), (1, 8), (2, 22)]),
            (41, &[(0, 8), (2, 30)]),
            (32, &[(0, 8), (2, 22)]),
        ] {
            let expected = expected
                .iter()
                .map(|(column, width)| (*column, Some(*width)));
            assert_eq!(
                widths(&FLEXIBLE, total),
                expected.collect::<Vec<_>>(),
                "{total}"
            );
        }
    }

    #[test]
    fn on_an_even_narrower_terminal_comfy_table_decides() {
        assert_eq!(widths(&FLEXIBLE, 31), [(0, None), (2, None)]);
        assert_eq!(widths(&[], 50), [(0, None), (1, None), (2, None)]);
    }
}
