//! `cargo xtask schema`: compares the tables of a migrated database with `schema.rs`.

mod catalog;
mod compare;
mod declared;
mod relation;

use bmdb_dev::block_on;
use bmdb_dev::server::{self, Network};
use bmdb_shell::{Done, Failure, root};
use bmdb_testkit::{Lookup, TestDb};
use relation::Relation;
use std::fs;

const SCHEMA: &str = "bmdb-model/src/schema.rs";

/// Print the tables of a migrated database, or compare them with bmdb-model/src/schema.rs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only the differences, each with its fix; exit with 1 if there are any.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    network: Network,
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

/// Fails if `schema.rs` and the migrations differ.
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
