//! Lookup: searches the places where a PostgreSQL may be, in order.

mod result;

pub use result::{Lookup, LookupResult, TriedPlace};

use crate::TestkitError;
use crate::cache::cache_dir;
use crate::command::ask;
use crate::fetch;
use crate::installation::Installation;
use crate::os_user::OsUser;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where distributions, package managers and installers put the server; `*` stands for a version.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/run/current-system/sw/bin",
];

/// The places to search, read from the environment once.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `BMDB_TEST_DATABASE_URL`: a running server on which databases may be created.
    pub database_url: Option<String>,
    /// `BMDB_PG_BIN`: the folder of the server's programs.
    pub pg_bin: Option<PathBuf>,
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// Folders with at most one `*`, for a version. The newest server in any of them is used.
    pub folders: Vec<String>,
    /// The same for the servers that [`fetch`](crate::fetch()) has downloaded.
    pub fetched: Vec<String>,
}

impl Places {
    /// The places of this process's environment.
    #[must_use]
    pub fn from_env() -> Self {
        let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
        Self {
            database_url: set("BMDB_TEST_DATABASE_URL")
                .map(|url| url.to_string_lossy().into_owned()),
            pg_bin: set("BMDB_PG_BIN").map(PathBuf::from),
            path: set("PATH").map_or_else(Vec::new, |path| env::split_paths(&path).collect()),
            folders: FOLDERS.iter().map(ToString::to_string).collect(),
            fetched: OsUser::for_server()
                .map(|user| fetch::pattern(&cache_dir(&user)))
                .into_iter()
                .collect(),
        }
    }
}

impl Lookup {
    /// Searches the places of this process's environment. Runs a few programs, boots nothing.
    #[must_use]
    pub fn from_env() -> Self {
        Self::search(&Places::from_env())
    }

    /// Searches these places: URL, `BMDB_PG_BIN`, `PATH`, `pg_config --bindir`, known folders, the
    /// cache of fetched servers.
    #[must_use]
    pub fn search(places: &Places) -> Self {
        let mut tried = Vec::new();
        let result = search(places, &mut tried);
        Self { tried, result }
    }

    /// The programs to boot a server from.
    ///
    /// # Errors
    /// [`TestkitError::NoPostgres`], [`TestkitError::WrongPgBin`]; and [`TestkitError::WrongUrl`] if
    /// the environment names a running server, which has no programs.
    pub fn installation(self) -> Result<Installation, TestkitError> {
        match self.result {
            LookupResult::Installed(installation) => Ok(installation),
            LookupResult::WrongPgBin { path, reason } => {
                Err(TestkitError::WrongPgBin { path, reason })
            }
            LookupResult::Running { .. } => Err(TestkitError::WrongUrl {
                reason: "this step boots a server of its own".to_owned(),
            }),
            LookupResult::NotFound => Err(TestkitError::NoPostgres(self)),
        }
    }
}

fn search(places: &Places, tried: &mut Vec<TriedPlace>) -> LookupResult {
    let mut note = |place: &str, reason: String| {
        let place = place.to_owned();
        tried.push(TriedPlace { place, reason });
    };

    if let Some(url) = &places.database_url {
        note("BMDB_TEST_DATABASE_URL", "is set".to_owned());
        return LookupResult::Running { url: url.clone() };
    }
    note("BMDB_TEST_DATABASE_URL", "is not set".to_owned());

    if let Some(bin) = &places.pg_bin {
        return match Installation::at(bin) {
            Ok(found) => {
                note("BMDB_PG_BIN", found.to_string());
                LookupResult::Installed(found)
            }
            Err(reason) => {
                note("BMDB_PG_BIN", reason.clone());
                let path = bin.clone();
                LookupResult::WrongPgBin { path, reason }
            }
        };
    }
    note("BMDB_PG_BIN", "is not set".to_owned());

    for (place, found) in [
        ("PATH", in_path(&places.path)),
        ("pg_config --bindir", by_pg_config(&places.path)),
    ] {
        match found {
            Ok(found) => {
                note(place, found.to_string());
                return LookupResult::Installed(found);
            }
            Err(reason) => note(place, reason),
        }
    }

    for (name, patterns) in [
        ("the known folders", &places.folders),
        ("the cache", &places.fetched),
    ] {
        if let Some(newest) = newest_in(patterns, &mut note) {
            let found = format!("{newest}, {}", newest.bin().display());
            note(&format!("the newest in {name}"), found);
            return LookupResult::Installed(newest);
        }
    }
    LookupResult::NotFound
}

fn newest_in(patterns: &[String], note: &mut impl FnMut(&str, String)) -> Option<Installation> {
    let mut usable = Vec::new();
    for pattern in patterns {
        let folders = expand(pattern);
        if folders.is_empty() {
            note(pattern, "does not exist".to_owned());
        }
        for folder in folders {
            match Installation::at(&folder) {
                Ok(found) => usable.push(found),
                Err(reason) => note(&folder.display().to_string(), reason),
            }
        }
    }
    let newest = usable.iter().max_by_key(|found| found.version())?.clone();
    for older in usable.iter().filter(|found| found.bin() != newest.bin()) {
        let place = older.bin().display().to_string();
        note(&place, format!("{older}, not newer than the one used"));
    }
    Some(newest)
}

pub(crate) fn in_path(path: &[PathBuf]) -> Result<Installation, String> {
    let folder = path
        .iter()
        .find(|folder| folder.join("postgres").is_file())
        .ok_or("does not contain `postgres`")?;
    Installation::at(folder)
}

fn by_pg_config(path: &[PathBuf]) -> Result<Installation, String> {
    let program = path
        .iter()
        .map(|folder| folder.join("pg_config"))
        .find(|program| program.is_file())
        .ok_or("there is no `pg_config` in PATH")?;
    Installation::at(Path::new(&ask(Command::new(&program).arg("--bindir"))?))
}

/// The existing folders that match a pattern with at most one `*`.
pub(crate) fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        let folder = Some(PathBuf::from(pattern)).filter(|folder| folder.is_dir());
        return folder.into_iter().collect();
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or((".", before));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .filter(|folder| folder.is_dir())
        .collect();
    folders.sort();
    folders
}
