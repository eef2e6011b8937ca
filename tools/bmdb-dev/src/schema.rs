//! `cargo xtask schema`: the tables as a migrated database has them, against `schema.rs`.

mod catalog;
mod compare;
mod declared;

use bmdb_dev::block_on;
use bmdb_dev::server::{self, Network};
use bmdb_shell::{Done, Failure, root};
use bmdb_testkit::{Lookup, TestDb};
use std::fmt;
use std::fs;

const SCHEMA: &str = "bmdb-model/src/schema.rs";

/// Print the tables of a migrated database, or compare them with bmdb-model/src/schema.rs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only the differences, each with its fix, and fail if there are any.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    network: Network,
}

/// A table or view, declared or found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Relation {
    name: String,
    kind: Kind,
    primary_key: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    /// Of a view the database knows neither a key nor whether a column can be null.
    View,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    sql_type: String,
    nullable: bool,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sql_type, .. } = self;
        if self.nullable {
            write!(f, "{name} -> Nullable<{sql_type}>,")
        } else {
            write!(f, "{name} -> {sql_type},")
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::View {
            writeln!(f, "// A view: choose the key, and what can be null.")?;
        }
        writeln!(f, "diesel::table! {{")?;
        writeln!(f, "    {} ({}) {{", self.name, self.primary_key.join(", "))?;
        for column in &self.columns {
            writeln!(f, "        {column}")?;
        }
        writeln!(f, "    }}\n}}")
    }
}

pub(crate) fn run(args: &Args) -> Done {
    if args.check {
        return check(args.network);
    }
    server::provide(&Lookup::from_env(), args.network)?;
    block_on(async {
        for relation in found().await? {
            println!("{relation}");
        }
        Ok(())
    })
}

/// Fails when `schema.rs` and the migrations disagree.
pub(crate) fn check(network: Network) -> Done {
    let path = root().join(SCHEMA);
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::check(format!("{}: {error}", path.display())))?;
    let declared =
        declared::relations(&text).map_err(|e| Failure::check(format!("{SCHEMA}: {e}")))?;
    server::provide(&Lookup::from_env(), network)?;
    block_on(async {
        let differences = compare::compare(&declared, &found().await?);
        for difference in &differences {
            println!("{SCHEMA}: {difference}");
        }
        match differences.len() {
            0 => {
                println!(
                    "{SCHEMA} agrees with the migrations: {} tables and views",
                    declared.len()
                );
                Ok(())
            }
            n => Err(Failure::check(format!(
                "{SCHEMA} and the migrations differ in {n} places; `cargo xtask schema` prints \
                 the tables as they are"
            ))),
        }
    })
}

async fn found() -> Result<Vec<Relation>, Failure> {
    let db = TestDb::new().await.map_err(Failure::check)?;
    catalog::relations(&db).await.map_err(Failure::check)
}
