//! A copy of a server's data while it runs, from which a standby starts.
//!
//! It uses SQL and copies file by file, because not every installation has pg_basebackup.

use super::client::BlockingClient;
use crate::TestkitError;
use crate::os_user::OsUser;
use crate::running::RunningServer;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

pub(super) const MAKING: &str = "making a standby";

/// Folders whose contents another server cannot use, or, as for the log, gets from the primary.
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

/// Files about the running server.
const LEFT_OUT: &[&str] = &["postmaster.pid", "postmaster.opts"];

/// Creates the data directory of a standby at `data`, with this connection to the primary.
pub(super) fn back_up(
    primary: &RunningServer,
    client: &BlockingClient,
    data: &Path,
) -> Result<(), TestkitError> {
    // Each DROP DATABASE is a checkpoint, which removes the log before it: also the part that a standby
    // that starts or restarts has yet to read.
    client.set("wal_keep_size", "1GB")?;
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
    client.column(&format!("SELECT {start}"))?;
    copy(&primary.data(), data, &primary.user)?;
    let label = client.column(&format!("SELECT labelfile FROM {stop}"))?;
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(TestkitError::files(&path))?;
        primary.user.give(&path)
    };
    write("backup_label", &label.concat())?;
    write("standby.signal", "")?;
    // The last line of a setting counts. The standby must not wait for the primary's standbys.
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

/// Copies the files of a running server. What is removed or changed meanwhile is in the log as well.
fn copy(from: &Path, to: &Path, user: &OsUser) -> Result<(), TestkitError> {
    user.create_dir(to)?;
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
            user.create_dir(&to)?;
        } else if kind.is_dir() {
            copy(&path, &to, user)?;
        } else if !kind.is_file() {
            return Err(TestkitError::boot(
                MAKING,
                format!(
                    "{} is outside of the server's folder; drop the tablespace",
                    path.display()
                ),
            ));
        } else if !is_in(LEFT_OUT) && unless_gone(&path, fs::copy(&path, &to))?.is_some() {
            user.give(&to)?;
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

/// The name by which a standby's primary knows it: that of its folder.
pub(super) fn name_of(data: &Path) -> String {
    let name = data.parent().and_then(Path::file_name);
    name.unwrap_or_default().to_string_lossy().into_owned()
}
