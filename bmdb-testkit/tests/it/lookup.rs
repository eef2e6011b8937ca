//! Lookup: the order of the places, and the reason for each.

use crate::Result;
use crate::folder::Folder;
use bmdb_testkit::{Lookup, LookupResult, Places, TestkitError};
use std::path::PathBuf;

/// A folder with programs that only print a version.
fn installation(folder: &Folder, name: &str, version: &str) -> Result<PathBuf> {
    for program in ["postgres", "initdb"] {
        let script = format!("#!/bin/sh\necho 'x (PostgreSQL) {version}'\n");
        folder.program(&format!("{name}/{program}"), &script)?;
    }
    Ok(folder.path().join(name))
}

fn used(lookup: &Lookup) -> (&str, &str) {
    let last = lookup.tried.last();
    last.map_or(("", ""), |last| (&last.place, &last.reason))
}

#[test]
fn places_are_tried_in_order() -> Result {
    let folder = Folder::new()?;
    let at = |name: &str| folder.path().join(name);
    let configured = installation(&folder, "configured", "16.1")?;
    let answer = format!("#!/bin/sh\necho {}\n", configured.display());
    folder.program("config/pg_config", &answer)?;
    let mut places = Places {
        database_url: Some("postgres://localhost/x".to_owned()),
        pg_bin: Some(installation(&folder, "set", "14.1")?),
        path: vec![
            at("missing"),
            installation(&folder, "path", "15.1")?,
            at("config"),
        ],
        folders: vec![format!("{}/*/bin", at("lib").display())],
        fetched: vec![format!("{}/*/bin", at("cache").display())],
    };
    installation(&folder, "lib/9.6/bin", "9.6.1")?;
    installation(&folder, "lib/16/bin", "16.4")?;
    installation(&folder, "lib/17/bin", "17.2")?;
    installation(&folder, "cache/14.23-npm/bin", "14.23")?;
    installation(&folder, "cache/18.6-pip/bin", "18.6")?;

    let lookup = Lookup::search(&places);
    assert_eq!(used(&lookup), ("BMDB_TEST_DATABASE_URL", "is set"));
    places.database_url = None;
    let lookup = Lookup::search(&places);
    assert_eq!(used(&lookup), ("BMDB_PG_BIN", "PostgreSQL 14.1"));
    places.pg_bin = None;
    let lookup = Lookup::search(&places);
    assert_eq!(used(&lookup), ("PATH", "PostgreSQL 15.1"));
    places.path.remove(1);
    let lookup = Lookup::search(&places);
    assert_eq!(used(&lookup), ("pg_config --bindir", "PostgreSQL 16.1"));
    places.path.clear();
    let lookup = Lookup::search(&places);
    let newest = format!("PostgreSQL 17.2, {}", at("lib/17/bin").display());
    assert_eq!(used(&lookup).1, newest);
    for reason in [
        "is PostgreSQL 9, older",
        "16.4, not newer than the one used",
    ] {
        assert!(lookup.to_string().contains(reason), "{reason} in {lookup}");
    }
    assert_eq!(lookup.installation()?.version(), (17, 2));
    places.folders.clear();
    let lookup = Lookup::search(&places);
    let newest = format!("PostgreSQL 18.6, {}", at("cache/18.6-pip/bin").display());
    assert_eq!(used(&lookup), ("the newest in the cache", newest.as_str()));
    Ok(())
}

#[test]
fn a_wrong_bmdb_pg_bin_is_an_error_even_if_another_server_is_installed() -> Result {
    let folder = Folder::new()?;
    let good = installation(&folder, "path", "15.1")?;
    let old = installation(&folder, "old", "13.9")?;
    for (bin, reason) in [
        (&folder.path().join("no-such"), "postgres does not exist"),
        (&old, "is PostgreSQL 13, older than 14"),
    ] {
        let lookup = Lookup::search(&Places {
            pg_bin: Some(bin.clone()),
            path: vec![good.clone()],
            ..Places::default()
        });
        assert!(matches!(lookup.result, LookupResult::WrongPgBin { .. }));
        let error = lookup.installation().unwrap_err().to_string();
        assert!(
            error.contains(reason) && error.contains("or unset it"),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn without_a_server_the_error_lists_every_place_and_how_to_install_one() -> Result {
    let folder = Folder::new()?;
    let old = installation(&folder, "path", "13.9")?;
    let lookup = Lookup::search(&Places {
        path: vec![old],
        folders: vec!["/no/such/*/bin".to_owned()],
        ..Places::default()
    });
    let error = lookup.installation().unwrap_err();
    assert!(matches!(error, TestkitError::NoPostgres(_)));
    let text = error.to_string();
    for expected in [
        "BMDB_TEST_DATABASE_URL: is not set",
        "BMDB_PG_BIN: is not set",
        "is PostgreSQL 13, older than 14",
        "pg_config --bindir: there is no `pg_config` in PATH",
        "/no/such/*/bin: does not exist",
        "apt-get install postgresql",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    Ok(())
}
