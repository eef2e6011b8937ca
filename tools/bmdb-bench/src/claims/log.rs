//! Log of a server with `log_statement = 'all'`: statements with their parameters.

/// A statement that the server has logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The server process of the connection.
    pub(super) pid: u32,
    pub(super) sql: String,
    /// The values of `$1`, `$2`, …; `None` is NULL.
    pub(super) parameters: Vec<Option<String>>,
}

/// The statements in a log that is written with the default `log_line_prefix`, `%m [%p] `.
pub(super) fn entries(log: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (pid, message) in messages(log) {
        if let Some(sql) = statement(&message) {
            entries.push(Entry {
                pid,
                sql: sql.to_owned(),
                parameters: Vec::new(),
            });
        } else if let Some(list) = message.strip_prefix("DETAIL:  parameters: ") {
            let of_connection = entries.iter_mut().rev().find(|entry| entry.pid == pid);
            if let Some(entry) = of_connection {
                entry.parameters = parameters(list);
            }
        }
    }
    entries
}

/// Each message with its process. Its further lines begin with a tab.
fn messages(log: &str) -> Vec<(u32, String)> {
    let mut messages: Vec<(u32, String)> = Vec::new();
    for line in log.lines() {
        if let Some(continued) = line.strip_prefix('\t') {
            if let Some((_, message)) = messages.last_mut() {
                message.push('\n');
                message.push_str(continued);
            }
        } else if let Some((prefix, message)) = line.split_once("] ") {
            let pid = prefix
                .rsplit_once('[')
                .and_then(|(_, pid)| pid.parse().ok());
            messages.extend(pid.map(|pid| (pid, message.to_owned())));
        }
    }
    messages
}

/// The text of a statement. A prepared one is logged with its name.
fn statement(message: &str) -> Option<&str> {
    let message = message.strip_prefix("LOG:  ")?;
    match message.strip_prefix("execute ") {
        Some(named) => Some(named.split_once(": ")?.1),
        None => message.strip_prefix("statement: "),
    }
}

/// Parses `$1 = 'it''s', $2 = NULL`.
fn parameters(list: &str) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = list;
    while let Some((_, value)) = rest.split_once(" = ") {
        rest = value;
        values.push(value.strip_prefix('\'').map(|value| {
            let (text, after) = quoted(value);
            rest = after;
            text
        }));
    }
    values
}

/// The text up to the quote that ends it, and what follows. A quote in the text is doubled.
fn quoted(value: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = value;
    loop {
        let (piece, after) = rest.split_once('\'').unwrap_or((rest, ""));
        text.push_str(piece);
        match after.strip_prefix('\'') {
            Some(more) => rest = more,
            None => return (text, after),
        }
        text.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, entries, parameters};

    #[test]
    fn statements_are_read_with_their_parameters() {
        let log = "2026-11-30 12:00:00.123 UTC [17] LOG:  execute s1: SELECT $1,\n\
                   \t  $2\n\
                   2026-11-30 12:00:00.123 UTC [17] DETAIL:  parameters: $1 = '{a,b}', $2 = NULL\n\
                   2026-11-30 12:00:00.124 UTC [18] LOG:  checkpoint starting: time\n\
                   2026-11-30 12:00:00.125 UTC [17] LOG:  statement: BEGIN; SET LOCAL jit TO DEFAULT\n";
        let entry = |sql: &str, parameters: &[Option<&str>]| Entry {
            pid: 17,
            sql: sql.to_owned(),
            parameters: parameters.iter().map(|p| p.map(str::to_owned)).collect(),
        };
        let expected = [
            entry("SELECT $1,\n  $2", &[Some("{a,b}"), None]),
            entry("BEGIN; SET LOCAL jit TO DEFAULT", &[]),
        ];
        assert_eq!(entries(log), expected);
    }

    #[test]
    fn quotes_and_commas_are_part_of_values() {
        let list = "$1 = 'it''s, $2 = ', $2 = '', $3 = NULL, $4 = '''', $5 = 'x'''";
        let expected = [Some("it's, $2 = "), Some(""), None, Some("'"), Some("x'")];
        let expected: Vec<Option<String>> = expected.map(|p| p.map(str::to_owned)).into();
        assert_eq!(parameters(list), expected);
    }
}
