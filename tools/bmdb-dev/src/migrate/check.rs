//! `cargo xtask migrate check`: finds what older components could not work with, and compares a
//! database with the schema of its version.

mod step;

use super::target::{Target, connect};
use crate::schema;
use bmdb_dev::block_on;
use bmdb_dev::server;
use bmdb_model::migration::{self, MigrationStatus, revert_last, run_up_to};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Lookup, TestDb, catalog};

pub(super) fn run(target: &Target) -> Done {
    server::provide(&Lookup::from_env(), target.network)?;
    if let Some(url) = &target.database_url {
        return block_on(database(url));
    }
    block_on(migrations())?;
    schema::check(target.network)
}

/// Runs every migration up, down and up again, and reports what it does to tables in use.
async fn migrations() -> Done {
    let db = TestDb::empty().await.map_err(Failure::check)?;
    let mut problems = Vec::new();
    for (version, name) in migration::known() {
        let before = step::look(db.url()).await?;
        up(&db, &version).await?;
        let after = step::look(db.url()).await?;
        println!("{name}");
        for note in step::notes(&before, &after) {
            println!("  {note}");
        }
        let found = step::problems(&before, &after);
        problems.extend(
            found
                .into_iter()
                .map(|problem| format!("{name}: {problem}")),
        );

        let made = catalog(db.url()).await.map_err(Failure::check)?;
        for again in ["", " a second time"] {
            let conn = db.connect().await.map_err(Failure::check)?;
            revert_last(conn, 1).await.map_err(Failure::check)?;
            if step::look(db.url()).await?.columns() != before.columns() {
                problems.push(format!(
                    "{name}: down.sql does not restore the previous schema{again}"
                ));
            }
            up(&db, &version).await?;
            if catalog(db.url()).await.map_err(Failure::check)? != made {
                problems.push(format!("{name}: up.sql makes a different schema{again}"));
            }
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        n => Err(Failure::check(format!(
            "{n} problems; see \"Changing the schema\" in CONTRIBUTING.md"
        ))),
    }
}

async fn up(db: &TestDb, version: &str) -> Done {
    let conn = db.connect().await.map_err(Failure::check)?;
    let applied = run_up_to(conn, version).await;
    applied.map(drop).map_err(Failure::check)
}

/// Checks that a database is up to date and has the schema that its migrations make.
async fn database(url: &str) -> Done {
    let mut conn = connect(url).await?;
    let not_too_old = migration::check_not_too_old(&mut conn).await;
    not_too_old.map_err(Failure::check)?;
    let status = migration::status(&mut conn).await.map_err(Failure::check)?;
    let versions = |which: fn(&&MigrationStatus) -> bool| -> Vec<&str> {
        status.iter().filter(which).map(|m| &*m.version).collect()
    };
    let pending = versions(|m| m.known && !m.applied);
    let unknown = versions(|m| !m.known);
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        println!("from a newer release or another program: {unknown}");
    }
    let applied = versions(|m| m.known && m.applied);
    let Some(newest) = applied.last() else {
        return Err(Failure::check(
            "the database is not migrated: run `cargo xtask migrate up`",
        ));
    };
    let straight = TestDb::at_version(newest).await.map_err(Failure::check)?;
    let expected = catalog(straight.url()).await.map_err(Failure::check)?;
    let found = catalog(url).await.map_err(Failure::check)?;
    let missing: Vec<&String> = expected
        .iter()
        .filter(|line| !found.contains(line))
        .collect();
    for line in &missing {
        println!("missing: {line}");
    }
    // Only in bmdb's tables: other programs may have tables of their own.
    for line in found.iter().filter(|line| !expected.contains(line)) {
        if step::tables(&expected).any(|table| step::is_of(line, table)) {
            println!("additional: {line}");
        }
    }
    if !missing.is_empty() {
        let missing = missing.len();
        return Err(Failure::check(format!(
            "{missing} things that version {newest} has are missing: the database was changed by hand"
        )));
    }
    if !pending.is_empty() {
        let pending = pending.join(", ");
        return Err(Failure::check(format!(
            "it is as {newest} should be, and not up to date: {pending} pending; \
             `cargo xtask migrate up`"
        )));
    }
    println!("the database is up to date and has the schema of {newest}");
    Ok(())
}
