//! `cargo xtask migrate`: creates, applies, reverts, lists and checks migrations.

mod check;
mod redo;
mod target;

use bmdb_model::migration;
use bmdb_shell::{Done, Failure, root};
use clap::{Args, Subcommand};
use std::fs;
use std::path::Path;
use std::process::Command;
use target::{Target, apply, connect, on, show};

/// Write a new migration, or apply, revert, list or check migrations.
///
/// Without --database-url it uses an empty temporary database, which shows that the migrations run
/// and changes nothing else. Exit codes: 0 success, 1 failure or a problem found by the check, 2
/// invalid request.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create the folder of a new migration, with a version after all others.
    New {
        /// What the migration does, in a few words: `machine_power`.
        name: String,
        /// The date in its version. Default: today, or the newest migration's date if that is later.
        #[arg(long, value_name = "YYYY-MM-DD")]
        date: Option<String>,
    },
    /// Apply all pending migrations.
    Up(Target),
    /// Revert the newest migrations. The contents of their tables are lost.
    Down {
        /// Number of migrations.
        #[arg(default_value_t = 1)]
        count: usize,
        /// Confirm that the contents of the database given by --database-url may be lost.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Revert the newest migrations and apply them again. The contents of their tables are lost.
    Redo(redo::Redo),
    /// List the migrations, and which of them are applied.
    Status(Target),
    /// Check the migrations on a temporary database; or check that the given database has the schema
    /// of its version.
    Check(Target),
}

pub(crate) fn run(migrate: &Migrate) -> Done {
    match &migrate.action {
        Action::New { name, date } => new(name, date.as_deref()),
        Action::Up(target) => on(target, async |url| {
            apply(url).await?;
            show(url).await
        }),
        Action::Down { yes, target, .. } if target.database_url.is_some() && !yes => Err(
            Failure::usage("reverting drops tables and their contents: add --yes to confirm"),
        ),
        Action::Down { count, target, .. } => on(target, async |url| {
            if target.database_url.is_none() {
                apply(url).await?;
            }
            let reverted = migration::revert_last(connect(url).await?, *count).await;
            for version in reverted.map_err(Failure::check)? {
                println!("reverted {version}");
            }
            show(url).await
        }),
        Action::Redo(action) => redo::run(action),
        Action::Status(target) => on(target, show),
        Action::Check(target) => check::run(target),
    }
}

fn new(name: &str, date: Option<&str>) -> Done {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Failure::usage(format!(
            "invalid migration name {name:?}: use lower-case letters, digits and underscores"
        )));
    }
    let folder = root().join("bmdb-model/migrations");
    let newest = newest(&folder)?;
    let version = next_version(&newest, date, &today()).map_err(Failure::usage)?;
    let migration = folder.join(format!("{version}_{name}"));
    fs::create_dir(&migration).map_err(Failure::check)?;
    for (file, comment) in [
        (
            "up.sql",
            "-- Why this change, and how components of the previous version live with it.\n",
        ),
        ("down.sql", "-- Undoes up.sql in the reverse order.\n"),
    ] {
        let path = migration.join(file);
        fs::write(&path, comment).map_err(Failure::check)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The newest migration's version as in its folder's name: `2026-11-22-000400`.
fn newest(folder: &Path) -> Result<String, Failure> {
    let entries = fs::read_dir(folder).map_err(Failure::check)?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let versions = names.filter_map(|name| {
        let (version, _) = name.to_str()?.split_once('_')?;
        Some(version.to_owned())
    });
    versions
        .max()
        .ok_or_else(|| Failure::check(format!("{} contains no migrations", folder.display())))
}

/// A version after `newest`. Numbers grow by 100, which leaves room for one in between.
fn next_version(newest: &str, date: Option<&str>, today: &str) -> Result<String, String> {
    let Some((newest_date, number)) = newest.rsplit_once('-') else {
        return Err(format!(
            "the newest migration's version {newest:?} has no number"
        ));
    };
    let date = date.unwrap_or_else(|| today.max(newest_date));
    let digits = |range: std::ops::Range<usize>| {
        date.get(range)
            .is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    let dashes = date.get(4..5) == Some("-") && date.get(7..8) == Some("-");
    if date.len() != 10 || !dashes || !digits(0..4) || !digits(5..7) || !digits(8..10) {
        return Err(format!(
            "invalid date {date:?}: expected a date such as 2026-11-22"
        ));
    }
    if date < newest_date {
        return Err(format!(
            "{date} is before the newest migration, {newest}: databases that have it would get the \
             new one out of order; use {newest_date} or later"
        ));
    }
    let number: u32 = match date == newest_date {
        true => number
            .parse()
            .map_err(|_| format!("{newest:?} has no number"))?,
        false => 0,
    };
    Ok(format!("{date}-{:06}", number / 100 * 100 + 100))
}

/// The operating system's date. It is part of a name only.
fn today() -> String {
    let date = Command::new("date").arg("+%Y-%m-%d").output();
    date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::next_version;

    #[test]
    fn a_new_version_sorts_after_the_newest() {
        for (newest, date, today, expected) in [
            ("2026-11-22-000400", None, "2026-11-22", "2026-11-22-000500"),
            ("2026-11-22-000450", None, "2026-11-22", "2026-11-22-000500"),
            ("2026-11-22-000400", None, "2026-12-01", "2026-12-01-000100"),
            ("2026-11-22-000400", None, "1970-01-01", "2026-11-22-000500"),
            (
                "2026-11-22-000400",
                Some("2027-01-31"),
                "",
                "2027-01-31-000100",
            ),
        ] {
            let version = next_version(newest, date, today);
            assert_eq!(version.as_deref(), Ok(expected));
            assert!(expected > newest);
        }
    }

    #[test]
    fn an_invalid_or_too_early_date_is_rejected() {
        for (date, why) in [
            ("2026-11-21", "use 2026-11-22 or later"),
            ("tomorrow", "invalid date"),
            ("2026-1-022", "invalid date"),
        ] {
            let error = next_version("2026-11-22-000400", Some(date), "").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
