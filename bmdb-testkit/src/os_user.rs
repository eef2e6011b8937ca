//! The operating system user that a server runs as: PostgreSQL refuses to run as root.

use crate::TestkitError;
use crate::command::{NoExit, output_within};
use crate::timeout::timeout;
use nix::unistd::{Gid, Uid, User};
use std::env;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user that runs the server's processes and owns its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsUser {
    /// The user's name, if it is another user than this process's.
    pub name: Option<String>,
    /// The numeric user id.
    pub uid: u32,
    gid: u32,
}

impl OsUser {
    /// This process's own user, unless that is root: then `BMDB_TESTKIT_USER`, else `postgres`, else
    /// `nobody`.
    ///
    /// # Errors
    /// [`TestkitError::NoOsUser`].
    pub fn for_server() -> Result<Self, TestkitError> {
        let own = Self::own();
        if own.uid != 0 {
            return Ok(own);
        }
        let chosen = env::var("BMDB_TESTKIT_USER")
            .ok()
            .filter(|name| !name.is_empty());
        let candidates = match &chosen {
            Some(name) => vec![name.as_str()],
            None => vec!["postgres", "nobody"],
        };
        candidates
            .iter()
            .find_map(|name| Self::named(name))
            .ok_or_else(|| TestkitError::NoOsUser {
                reason: format!(
                    "PostgreSQL does not run as root, and there is no unprivileged user {}",
                    candidates.join(" or ")
                ),
            })
    }

    /// This process's user.
    pub(crate) fn own() -> Self {
        Self {
            name: None,
            uid: Uid::effective().as_raw(),
            gid: Gid::effective().as_raw(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        (!user.uid.is_root()).then(|| Self {
            name: Some(name.to_owned()),
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }

    /// Whether it is another user than this process's.
    pub(crate) fn is_other(&self) -> bool {
        self.name.is_some()
    }

    /// Makes the calling thread, and the threads that it starts from now on, access files as this
    /// user. Returns whether the kernel supports that.
    #[cfg(target_os = "linux")]
    pub(crate) fn become_in_this_thread(&self) -> bool {
        use nix::unistd::{setfsgid, setfsuid};
        if !self.is_other() {
            return true;
        }
        setfsgid(Gid::from_raw(self.gid));
        setfsuid(Uid::from_raw(self.uid));
        // These calls report no error but return the previous id. This one changes nothing.
        setfsuid(Uid::from_raw(u32::MAX)) == Uid::from_raw(self.uid)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn become_in_this_thread(&self) -> bool {
        !self.is_other()
    }

    /// A command that runs as this user, without root's supplementary groups (std clears them with
    /// the uid), in a folder that every user can enter.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C");
        for (name, _) in env::vars_os() {
            // PGDATA, PGOPTIONS and similar variables would change the server.
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if self.is_other() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Runs a command from [`OsUser::command`] to its end, within the kit's timeout.
    pub(crate) fn run(&self, step: &str, mut command: Command) -> Result<(), TestkitError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = output_within(timeout(), &mut command).map_err(|error| match error {
            NoExit::NotRun(error) => {
                let user = self.name.as_deref().unwrap_or("this user");
                let reason = format!("{program}: {error}; {user} must be able to run it");
                TestkitError::boot(step, reason)
            }
            NoExit::TimedOut => TestkitError::timed_out(format!("{program} ({step})")),
        })?;
        if output.status.success() {
            return Ok(());
        }
        let printed = String::from_utf8_lossy(&output.stderr);
        // Only a few lines: once a disk is full, cp repeats its error for every file.
        let printed = printed.trim().lines().take(5).collect::<Vec<_>>();
        let reason = format!(
            "{program} ended with {}: {}",
            output.status,
            printed.join("\n")
        );
        Err(TestkitError::boot(step, reason))
    }

    /// Creates a folder that only this user can enter.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), TestkitError> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(TestkitError::files(path))?;
        self.give(path)
    }

    /// Makes this user the owner of a file that this process has created.
    pub(crate) fn give(&self, path: &Path) -> Result<(), TestkitError> {
        if self.is_other() {
            chown(path, Some(self.uid), Some(self.gid)).map_err(TestkitError::files(path))?;
        }
        Ok(())
    }
}
