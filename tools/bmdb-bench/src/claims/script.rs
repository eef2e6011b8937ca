//! Scripts for pgbench: claims and ends with the library's statements.

use super::capture::{Captured, Claimed};
use super::log::Entry;
use bmdb_model::internal::connection::PLAN_ONCE;
use bmdb_model::internal::work::CLAIM;

/// What an end can need of a claim: the name of all values as an array, that of the first one, and its
/// expression.
const COLUMNS: [(&str, &str, &str); 4] = [
    ("machines", "machine", "c.machine_id"),
    ("fences", "fence", "c.fence"),
    ("starts", "start", "c.started_at"),
    (
        "keys",
        "key",
        "uuid_send(c.machine_id) || uuid_send(c.machine_id)",
    ),
];

/// A script and the variables that do not change while it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Script {
    pub(super) text: String,
    /// How many claims a machine takes in it; none in a script without bmdb's statements.
    pub(super) claims: f64,
    pub(super) variables: Vec<(String, String)>,
}

impl Script {
    /// Begins with the settings of a pooled connection, once for each connection. They are not given with
    /// the connection's options: a transaction that sets them back to their default would keep them.
    pub(super) fn new() -> Self {
        let settings = PLAN_ONCE.map(|(name, value)| format!("SET {name} = {value};\n"));
        Self {
            text: format!(
                "\\if :is_new\n{}\\set is_new 0\n\\endif\n",
                settings.concat()
            ),
            variables: [("is_new", "1"), ("ready_at", "-infinity")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            claims: 0.0,
        }
    }

    /// Adds a claim. Its rows become the arrays and values that the ends take, and the next claim begins in the
    /// queue where this one ended.
    pub(super) fn claim(mut self, batch: u32) -> Result<Self, String> {
        let (query, columns) = CLAIM
            .rsplit_once("\nSELECT ")
            .and_then(|(before, query)| Some((before, query.split_once("\nFROM ")?.1)))
            .ok_or("the claim does not end in a SELECT of its own")?;
        let of_claim = COLUMNS.map(|(all, first, value)| {
            format!("array_agg({value}) AS {all}, (array_agg({value}))[1] AS {first}, ")
        });
        let claim = format!(
            "{query}\nSELECT bool_or(s.lives) AS lives, {}max(c.ready_at) AS ready_at\nFROM {columns}",
            of_claim.concat()
        );
        let names = ["process", "provider", "ready_at", "session", "limit"];
        let names = names.map(|name| format!(":{name}"));
        let claim = with_values(&without_comments(&claim), &names);
        self.claims += 1.0;
        self.text.push_str(claim.trim_end());
        self.text.push_str(" \\gset\n");
        for (name, value) in [
            ("process", "ShepherdAgentStart".to_owned()),
            ("provider", "Equinix".to_owned()),
            ("limit", batch.to_string()),
        ] {
            self.define(name, value);
        }
        Ok(self)
    }

    /// Adds the statements of an end. They are sent without waiting for answers in between: what an end costs
    /// the server is the same, and what the library waits for in its round trips is its own.
    pub(super) fn end(mut self, captured: &Captured) -> Self {
        let name = format!("{:?}", captured.end).to_lowercase();
        let statements = captured.statements.iter();
        let statements: Vec<String> = statements
            .flat_map(|entry| self.statements_of(&name, entry, &captured.claimed))
            .collect();
        match statements.as_slice() {
            [alone] => self.text.push_str(alone),
            several => {
                let several = several.concat();
                let pipelined = format!("\\startpipeline\n{several}\\endpipeline\n");
                self.text.push_str(&pipelined);
            }
        }
        self
    }

    /// Usually one. A message without parameters may contain several, which pgbench prepares one by one.
    fn statements_of(&mut self, name: &str, entry: &Entry, claimed: &Claimed) -> Vec<String> {
        let sql = without_comments(&entry.sql);
        if entry.parameters.is_empty() {
            let statements = sql.split(';').map(str::trim);
            let statements = statements.filter(|statement| !statement.is_empty());
            return statements.map(|one| format!("{one};\n")).collect();
        }
        let parameters = entry.parameters.iter().enumerate();
        let values: Vec<String> = parameters
            .map(|(at, value)| {
                let value = self.value(name, value.as_deref(), claimed);
                format!("{value}{}", cast_of(&sql, at + 1))
            })
            .collect();
        let sql = with_values(&sql, &values);
        vec![format!("{};\n", sql.trim_end())]
    }

    /// What stands for a parameter: a variable of the claim, or one that never changes.
    fn value(&mut self, name: &str, value: Option<&str>, claimed: &Claimed) -> String {
        let Some(value) = value else {
            // A variable cannot be NULL.
            return "NULL".to_owned();
        };
        if value == claimed.session {
            return ":session".to_owned();
        }
        let mut elements = elements(value);
        elements.sort();
        for (all, first, _) in COLUMNS {
            let mut column = claimed.columns.get(all).cloned().unwrap_or_default();
            column.sort();
            if !column.is_empty() && column == elements {
                return format!(":{all}");
            }
            if let [one] = column.as_slice()
                && one == value
            {
                return format!(":{first}");
            }
        }
        let name = format!("{name}_{}", self.variables.len());
        self.define(&name, value.to_owned());
        format!(":{name}")
    }

    /// Adds another script for batches of the same size.
    pub(super) fn then(mut self, other: &Self) -> Self {
        self.text.push_str(&other.text);
        self.claims += other.claims;
        for (name, value) in &other.variables {
            self.define(name, value.clone());
        }
        self
    }

    fn define(&mut self, name: &str, value: String) {
        if !self.variables.iter().any(|(known, _)| known == name) {
            self.variables.push((name.to_owned(), value));
        }
    }
}

/// The cast of a parameter, wherever it is, or nothing: pgbench names no types, and an expression such as
/// `($1)[2]` needs one.
fn cast_of(sql: &str, number: usize) -> String {
    let Some((_, after)) = sql.split_once(&format!("${number}::")) else {
        return String::new();
    };
    let is_of_type = |c: char| c.is_ascii_alphanumeric() || "_[]".contains(c);
    let end = after.find(|c: char| !is_of_type(c)).unwrap_or(after.len());
    format!("::{}", &after[..end])
}

/// Comments are removed: pgbench would take variables in them for parameters without a type.
fn without_comments(sql: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("--");
    sql.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Replaces `$1`, `$2`, … by these values.
fn with_values(sql: &str, values: &[String]) -> String {
    let mut sql = sql.to_owned();
    // From the last to the first, so that $1 is not replaced within $10.
    for (at, value) in values.iter().enumerate().rev() {
        sql = sql.replace(&format!("${}", at + 1), value);
    }
    sql
}

/// The elements of an array as the server prints it, such as `{a,"b c"}`; nothing for another value.
fn elements(value: &str) -> Vec<String> {
    let Some(list) = value
        .strip_prefix('{')
        .and_then(|list| list.strip_suffix('}'))
    else {
        return Vec::new();
    };
    let mut elements = vec![String::new()];
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in list.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => {
                is_escaped = true;
                continue;
            }
            '"' => {
                is_quoted = !is_quoted;
                continue;
            }
            ',' if !is_quoted => {
                elements.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = elements.last_mut() {
            last.push(character);
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::{Script, cast_of, elements, with_values};
    use crate::claims::capture::{Captured, Claimed, End};
    use crate::claims::log::Entry;

    #[test]
    fn longer_numbers_of_parameters_are_not_mistaken() {
        let values = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(str::to_owned);
        assert_eq!(with_values("$1 $10 $2::x $1", &values), "a j b::x a");
    }

    #[test]
    fn a_parameter_has_the_type_that_is_written_anywhere() {
        let sql = "SELECT ($1)[2], $10::bigint FROM x WHERE ($1::text[]) IS NULL";
        assert_eq!(cast_of(sql, 1), "::text[]");
        assert_eq!(cast_of(sql, 10), "::bigint");
        assert_eq!(cast_of(sql, 2), "");
    }

    #[test]
    fn a_claim_has_no_parameter_left() {
        let script = Script::new().claim(1).unwrap();
        assert!(!script.text.contains('$'), "{}", script.text);
        assert_eq!(script.text.matches("\\gset").count(), 1, "{}", script.text);
    }

    #[test]
    fn arrays_are_read_as_the_server_prints_them() {
        assert_eq!(elements(r#"{a,"b c","\\x00"}"#), ["a", "b c", r"\x00"]);
        assert_eq!(elements("{}"), [""]);
        assert!(elements("a").is_empty());
    }

    #[test]
    fn values_of_the_claim_become_variables_and_all_others_stay() {
        let entry = |sql: &str, parameters: &[Option<&str>]| Entry {
            pid: 1,
            sql: sql.to_owned(),
            parameters: parameters.iter().map(|p| p.map(str::to_owned)).collect(),
        };
        let columns = [("machines", vec!["m2".to_owned(), "m1".to_owned()])];
        let captured = Captured {
            end: End::Tags,
            statements: vec![
                entry("BEGIN; SET LOCAL jit TO DEFAULT", &[]),
                entry(
                    "-- $1\nSELECT $1::uuid[], $2::text, $3, $4",
                    &[Some("{m1,m2}"), None, Some("s"), Some("7")],
                ),
            ],
            claimed: Claimed {
                session: "s".to_owned(),
                columns: columns.into(),
            },
        };
        let script = Script::default().end(&captured);
        let expected = "\\startpipeline\nBEGIN;\nSET LOCAL jit TO DEFAULT;\n\
                        SELECT :machines::uuid[]::uuid[], NULL::text::text, :session, :tags_0;\n\\endpipeline\n";
        assert_eq!(script.text, expected);
        let constants = [("tags_0".to_owned(), "7".to_owned())];
        assert_eq!(script.variables, constants);
    }
}
