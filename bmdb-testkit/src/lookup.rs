//! Finding a PostgreSQL: the places, in order, and why each was taken or not.

use crate::TestkitError;
use crate::cache::cache_dir;
use crate::command::ask;
use crate::fetch;
use crate::installation::Installation;
use crate::os_user::OsUser;
use std::env;
use std::ffi::OsString;
use std::fmt;
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

/// The places to look in, read from the environment once.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `BMDB_TEST_DATABASE_URL`: a running server on which databases may be created.
    pub database_url: Option<String>,
    /// `BMDB_PG_BIN`: the folder of the server's programs.
    pub pg_bin: Option<PathBuf>,
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// Folders with at most one `*`, for a version; the newest server in any of them is taken.
    pub folders: Vec<String>,
    /// The same for the servers that [`fetch`](crate::fetch()) has brought.
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
                .map(|account| fetch::pattern(&cache_dir(&account)))
                .into_iter()
                .collect(),
        }
    }
}

/// One place and why it was taken or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriedPlace {
    /// The place, as a person would name it.
    pub place: String,
    /// Why it was taken or not.
    pub reason: String,
}

/// What the search came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LookupResult {
    /// A running server is to be used.
    Running {
        /// Its URL.
        url: String,
    },
    /// A server is to be booted from these programs.
    Installed(Installation),
    /// `BMDB_PG_BIN` is set, but wrong. Falling through to another server would test with one that
    /// nobody asked for.
    WrongPgBin {
        /// The variable's value.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none.
    NotFound,
}

/// A finished search for a PostgreSQL. Its `Display` is the list of places tried.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The places tried, in order; the last one is the one taken, if any was.
    pub tried: Vec<TriedPlace>,
    /// What it came to.
    pub result: LookupResult,
}

impl Lookup {
    /// Searches the places of this process's environment. Runs a few programs; does not boot.
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
    /// [`TestkitError::NoPostgres`], [`TestkitError::WrongPgBin`]; and [`TestkitError::WrongUrl`]
    /// where a running server was named instead, which has no programs.
    pub fn installation(self) -> Result<Installation, TestkitError> {
        match self.result {
            LookupResult::Installed(installation) => Ok(installation),
            LookupResult::WrongPgBin { path, reason } => {
                Err(TestkitError::WrongPgBin { path, reason })
            }
            LookupResult::Running { .. } => Err(TestkitError::WrongUrl {
                reason: "a server of its own is to be booted here".to_owned(),
            }),
            LookupResult::NotFound => Err(TestkitError::NoPostgres(self)),
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.result, LookupResult::NotFound) {
            writeln!(f, "no PostgreSQL 14 or newer was found; tried:")?;
        }
        for TriedPlace { place, reason } in &self.tried {
            writeln!(f, "  {place}: {reason}")?;
        }
        if matches!(self.result, LookupResult::NotFound) {
            write!(f, "{INSTALL}")?;
        }
        Ok(())
    }
}

const INSTALL: &str = "Install one; nothing has to be started or configured:
  Debian, Ubuntu   apt-get install postgresql
  Fedora, RHEL     dnf install postgresql-server
  Alpine           apk add postgresql
  Arch             pacman -S postgresql
  macOS            brew install postgresql@17
  Windows          is not supported: use WSL
or set BMDB_PG_BIN to the folder of its programs, or BMDB_TEST_DATABASE_URL to the URL of a
running server on which databases may be created.";

fn search(places: &Places, tried: &mut Vec<TriedPlace>) -> LookupResult {
    let mut note = |place: &str, reason: String| {
        tried.push(TriedPlace {
            place: place.to_owned(),
            reason,
        });
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
                LookupResult::WrongPgBin {
                    path: bin.clone(),
                    reason,
                }
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
        note(&place, format!("{older}, no newer than the one taken"));
    }
    Some(newest)
}

pub(crate) fn in_path(path: &[PathBuf]) -> Result<Installation, String> {
    let folder = path
        .iter()
        .find(|folder| folder.join("postgres").is_file())
        .ok_or("holds no `postgres`")?;
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

/// The existing folders that a pattern with at most one `*` stands for.
pub(crate) fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Some(PathBuf::from(pattern))
            .filter(|p| p.is_dir())
            .into_iter()
            .collect();
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
