//! A small volume for the server's data that a fault can fill: a tmpfs in a mount namespace of this
//! process's own, which goes with it, whatever it dies of.

use crate::shell::{Failure, succeeds};
use std::convert::Infallible;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the volume is, in a process that has entered its namespace.
const VARIABLE: &str = "BMDB_SOAK_DISK";

/// Mounts the volume in the namespace, runs the rest of its words, and takes all of it away again. It
/// outlives an interrupt, which is for the command that it runs.
const IN_NAMESPACE: &str = r#"
    folder=$1 size=$2
    shift 2
    trap : INT TERM
    mount -t tmpfs -o "size=$size,mode=755" bmdb-soak "$folder" || exit 125
    "$@"
    code=$?
    umount --lazy "$folder"
    rmdir "$folder"
    exit "$code"
"#;

/// The volume.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

/// Whether there is a volume.
#[derive(Debug)]
pub(crate) enum Found {
    Here(Disk),
    /// There can be none, for this reason.
    Impossible(String),
    /// There can be one in another process, which is to be started by this command.
    Elsewhere(Box<Command>),
}

/// Finds the volume, or says how to get one of this many bytes.
pub(crate) fn find(bytes: u64) -> Result<Found, Failure> {
    if let Some(folder) = env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        return Ok(Found::Here(Disk { folder }));
    }
    let folder = env::temp_dir().join(format!("bmdb-soak-{}", std::process::id()));
    fs::create_dir(&folder).map_err(|error| {
        Failure::check(format!(
            "{}: {error}; set TMPDIR to a folder that can be written",
            folder.display()
        ))
    })?;
    let works = succeeds(in_namespace(&folder, bytes).arg("true"));
    if !works {
        // Best effort: it is empty.
        let _ = fs::remove_dir(&folder);
        return Ok(Found::Impossible(
            "neither `unshare --mount` nor a user namespace lets a tmpfs be mounted".to_owned(),
        ));
    }
    // The trial has taken it away.
    fs::create_dir(&folder).map_err(Failure::check)?;
    let mut again = in_namespace(&folder, bytes);
    again
        .arg(env::current_exe().map_err(Failure::check)?)
        .args(env::args_os().skip(1))
        .env(VARIABLE, &folder);
    Ok(Found::Elsewhere(Box::new(again)))
}

/// Becomes that command; returns only if it cannot.
pub(crate) fn become_command(mut command: Command) -> Result<Infallible, Failure> {
    Err(Failure::check(command.exec()))
}

/// As root a mount namespace is enough. Another user becomes root of a user namespace, to mount, and
/// himself again in one below it, for PostgreSQL does not run as root.
fn in_namespace(folder: &Path, bytes: u64) -> Command {
    let mut command = Command::new("unshare");
    let user = nix::unistd::geteuid();
    if user.is_root() {
        command.arg("--mount");
    } else {
        command.args(["--user", "--map-root-user", "--mount"]);
    }
    command.args(["sh", "-c", IN_NAMESPACE, "sh"]).arg(folder);
    command.arg(bytes.to_string());
    if !user.is_root() {
        let group = nix::unistd::getegid();
        command.args(["unshare", "--user"]);
        command.arg(format!("--map-user={user}"));
        command.arg(format!("--map-group={group}"));
    }
    command
}

impl Disk {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(self.ballast())
            .map_err(Failure::check)?;
        // The last rest too, which is less than a large piece.
        for piece in [1 << 20, 4 << 10] {
            fill_with(&mut file, piece)?;
        }
        Ok(())
    }

    /// Gives it back.
    pub(crate) fn free(&self) -> Result<(), Failure> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::check(error)),
            _ => Ok(()),
        }
    }
}

fn fill_with(file: &mut File, piece: usize) -> Result<(), Failure> {
    let piece = vec![0_u8; piece];
    loop {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::WriteZero | ErrorKind::QuotaExceeded
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(Failure::check(error)),
        }
    }
}
