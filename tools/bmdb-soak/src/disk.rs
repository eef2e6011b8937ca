//! A small volume for the server's data that a fault can fill: a tmpfs in a mount namespace, which
//! goes with this process however it ends.

use crate::failure::{Done, Failure};
use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The volume's folder, in the process that runs in the namespace.
const VARIABLE: &str = "BMDB_SOAK_DISK";

/// Mounts the volume in the namespace, runs the command that follows, and unmounts it. The script
/// ignores an interrupt, which is for that command.
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

#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

/// Whether there is a volume.
#[derive(Debug)]
pub(crate) enum Found {
    Here(Disk),
    Impossible(String),
    /// The process that this command starts will have one.
    Elsewhere(Box<Command>),
}

/// Whether this process runs in the namespace: the one outside has printed what will happen.
pub(crate) fn is_mounted() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Finds the volume, or a way to get one of this many bytes.
pub(crate) fn find(bytes: u64) -> Done<Found> {
    if let Some(folder) = env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        return Ok(Found::Here(Disk { folder }));
    }
    let folder = env::temp_dir().join(format!("bmdb-soak-{}", std::process::id()));
    fs::create_dir(&folder).map_err(|error| {
        Failure::step(format!(
            "{}: {error}; set TMPDIR to a folder that can be written",
            folder.display()
        ))
    })?;
    let mut trial = in_namespace(&folder, bytes);
    trial.arg("true").stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        // Best effort: it is empty.
        let _ = fs::remove_dir(&folder);
        return Ok(Found::Impossible(
            "neither `unshare --mount` nor a user namespace lets a tmpfs be mounted".to_owned(),
        ));
    }
    // The trial has removed it.
    fs::create_dir(&folder)?;
    let mut again = in_namespace(&folder, bytes);
    again
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(VARIABLE, &folder);
    Ok(Found::Elsewhere(Box::new(again)))
}

/// Root needs only a mount namespace. Another user becomes root of a user namespace, in order to mount,
/// and returns to the own id in a second one below it, because PostgreSQL does not run as root.
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

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) -> Done {
        let mut options = File::options();
        let mut file = options.append(true).create(true).open(self.ballast())?;
        // Small pieces fill what is left after the last large one.
        for piece in [1 << 20, 4 << 10] {
            fill_with(&mut file, piece)?;
        }
        Ok(())
    }

    /// Gives the space back.
    pub(crate) fn free(&self) -> Done {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn fill_with(file: &mut File, piece: usize) -> Done {
    use ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
    let piece = vec![0_u8; piece];
    loop {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), StorageFull | WriteZero | QuotaExceeded) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
