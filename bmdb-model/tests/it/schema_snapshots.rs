//! The statements of each schema version, recorded so that later migrations can be tested against them.
//!
//! The newest version's file follows the statements like any snapshot. It is frozen as soon as there is
//! a newer migration: from then on it says what the previous release sends.

pub(crate) mod record;
pub(crate) mod writer;

use bmdb_model::migration;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A statement with the names of its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) sql: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) sql_type: String,
}

/// Statements by purpose.
pub(crate) type Statements = BTreeMap<String, Statement>;

/// The beginning of the line with a statement's name and parameters.
const HEADING: &str = "--> ";

pub(crate) fn versions() -> Vec<String> {
    let known = migration::known().into_iter();
    known.map(|(version, _)| version).collect()
}

pub(crate) fn print(statements: &[(&str, Statement)]) -> String {
    let print = |(name, statement): &(&str, Statement)| {
        let parameters = statement.parameters.iter();
        let parameters: Vec<String> = parameters
            .map(|parameter| format!("{} {}", parameter.name, parameter.sql_type))
            .collect();
        let sql = statement.sql.trim_end();
        format!("{HEADING}{name}({})\n{sql}\n", parameters.join(", "))
    };
    statements.iter().map(print).collect()
}

/// The statements of the newest release whose newest version was this or an older one. Migrations that
/// were published together have one file, that of the last of them.
pub(crate) fn of(version: &str) -> Statements {
    let of_release = versions()
        .into_iter()
        .rev()
        .filter(|v| v.as_str() <= version);
    let text = of_release.map(file).find(|path| path.exists());
    let text = text.unwrap_or_else(|| panic!("no file for {version} or an older version"));
    parse(&std::fs::read_to_string(text).unwrap())
}

fn file(version: String) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/statements")
        .join(format!("{version}.snap"))
}

fn parse(text: &str) -> Statements {
    let sections = text.split(HEADING).skip(1);
    let section = |section: &str| {
        let (heading, sql) = section.split_once('\n').unwrap();
        let (name, parameters) = heading.trim_end_matches(')').split_once('(').unwrap();
        let parameters = parameters.split(", ").filter(|text| !text.is_empty());
        let parameters = parameters.map(|text| {
            let (name, sql_type) = text.split_once(' ').unwrap();
            Parameter {
                name: name.to_owned(),
                sql_type: sql_type.to_owned(),
            }
        });
        let statement = Statement {
            parameters: parameters.collect(),
            sql: sql.trim_end_matches('\n').to_owned(),
        };
        (name.to_owned(), statement)
    };
    sections.map(section).collect()
}
