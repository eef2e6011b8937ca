//! A copy of a server's data while it runs, from which a standby starts.
//!
//! By SQL and file by file: not every installation has pg_basebackup.

use super::session::Session;
use super::{MAKING, name_of};
use crate::TestkitError;
use crate::os_user::OsUser;
use crate::running::Booted;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Folders whose contents are of no use to another server, or, as the log, come from the primary.
const LEFT_EMPTY: &[&str] = &[
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
];

/// Files that tell of the running server.
const LEFT_OUT: &[&str] = &["postmaster.pid", "postmaster.opts"];

/// Makes the data directory of a standby of this server at `data`, by this session on it.
pub(super) fn back_up(
    primary: &Booted,
    session: &Session,
    data: &Path,
) -> Result<(), TestkitError> {
    // Each DROP DATABASE is a checkpoint, after which the log of before is removed: also what a
    // standby that is about to start, or is restarted, has yet to read.
    session.set("wal_keep_size", "1GB")?;
    let (start, stop) = if primary.installation.version().0 < 15 {
        (
            "pg_start_backup('bmdb-testkit', true, false)",
            "pg_stop_backup(false, false)",
        )
    } else {
        (
            "pg_backup_start('bmdb-testkit', true)",
            "pg_backup_stop(false)",
        )
    };
    session.column(&format!("SELECT {start}"))?;
    copy(&primary.data(), data, &primary.account)?;
    let label = session.column(&format!("SELECT labelfile FROM {stop}"))?;
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(TestkitError::files(&path))?;
        primary.account.give(&path)
    };
    write("backup_label", &label.concat())?;
    write("standby.signal", "")?;
    // The last word on a setting counts. Whoever the primary waits for is not the standby's to wait
    // for.
    let name = name_of(data);
    let primary = primary.url();
    write(
        "postgresql.auto.conf",
        &format!(
            "primary_conninfo = '{primary}&application_name={name}'\n\
             synchronous_standby_names = ''\n"
        ),
    )
}

/// Copies the files of a running server. What goes or changes meanwhile is in the log as well.
fn copy(from: &Path, to: &Path, account: &OsUser) -> Result<(), TestkitError> {
    account.create_dir(to)?;
    let Some(entries) = unless_gone(from, fs::read_dir(from))? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.map_err(TestkitError::files(from))?;
        let (name, path) = (entry.file_name(), entry.path());
        let to = to.join(&name);
        let is_in = |names: &[&str]| names.iter().any(|one| name == *one);
        let Some(kind) = unless_gone(&path, entry.file_type())? else {
            continue;
        };
        if kind.is_dir() && is_in(LEFT_EMPTY) {
            account.create_dir(&to)?;
        } else if kind.is_dir() {
            copy(&path, &to, account)?;
        } else if !kind.is_file() {
            return Err(TestkitError::boot(
                MAKING,
                format!(
                    "{} lies outside of the server's folder; drop the tablespace",
                    path.display()
                ),
            ));
        } else if !is_in(LEFT_OUT) && unless_gone(&path, fs::copy(&path, &to))?.is_some() {
            account.give(&to)?;
        }
    }
    Ok(())
}

fn unless_gone<T>(path: &Path, result: io::Result<T>) -> Result<Option<T>, TestkitError> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some).map_err(TestkitError::files(path)),
    }
}
