//! Terminal: how wide it is, and whether it can move its cursor.

/// The width of a terminal that does not know its own, such as a serial console.
const DEFAULT_WIDTH: u16 = 80;

/// The width of the terminal: COLUMNS, or what the terminal reports.
pub(super) fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.trim().parse().ok());
    let columns = columns.filter(|columns| *columns > 0);
    let reported = || comfy_table::Table::new().width().filter(|width| *width > 0);
    columns.or_else(reported).unwrap_or(DEFAULT_WIDTH)
}

/// Whether the terminal only prints: it has neither colours nor a cursor that moves.
pub(super) fn is_dumb() -> bool {
    let terminal = std::env::var_os("TERM");
    terminal.is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}
