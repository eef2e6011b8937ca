//! Who the server runs as: PostgreSQL refuses to run as root.

use crate::TestkitError;
use crate::command;
use nix::unistd::{Gid, Uid, User};
use std::env;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The account that the server's processes run as and that owns its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsUser {
    /// The account's name, where one had to be chosen.
    pub name: Option<String>,
    /// The numeric user id.
    pub uid: u32,
    gid: u32,
}

impl OsUser {
    /// This process's own account, unless that is root: then `BMDB_TESTKIT_USER`, else `postgres`,
    /// else `nobody`.
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
                    "PostgreSQL does not run as root, and there is no account {} but root's",
                    candidates.join(" or ")
                ),
            })
    }

    /// The account of this process.
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

    /// Whether it is another account than this process's.
    pub(crate) fn is_other(&self) -> bool {
        self.name.is_some()
    }

    /// Lets the calling thread handle files as this account until its end, and the threads that it
    /// starts from then on. Returns whether it can: not every kernel has that.
    #[cfg(target_os = "linux")]
    pub(crate) fn become_in_this_thread(&self) -> bool {
        use nix::unistd::{setfsgid, setfsuid};
        if !self.is_other() {
            return true;
        }
        setfsgid(Gid::from_raw(self.gid));
        setfsuid(Uid::from_raw(self.uid));
        // These calls do not fail; they tell what was before. This one changes nothing.
        setfsuid(Uid::from_raw(u32::MAX)) == Uid::from_raw(self.uid)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn become_in_this_thread(&self) -> bool {
        !self.is_other()
    }

    /// A command that runs as this account, without root's supplementary groups (std clears them
    /// with the uid), from a folder that every account can reach.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C");
        for (name, _) in env::vars_os() {
            // PGDATA, PGOPTIONS and their like would change what the server is.
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if self.is_other() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Runs a command of [`OsUser::command`] to its end.
    pub(crate) fn run(&self, step: &str, command: Command) -> Result<(), TestkitError> {
        let who = self.name.as_deref().unwrap_or("this account");
        command::run(step, who, command)
    }

    /// Makes a new folder that only this account can enter.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), TestkitError> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(TestkitError::files(path))?;
        self.give(path)
    }

    /// Gives a file that this process has made to the account.
    pub(crate) fn give(&self, path: &Path) -> Result<(), TestkitError> {
        if self.is_other() {
            chown(path, Some(self.uid), Some(self.gid)).map_err(TestkitError::files(path))?;
        }
        Ok(())
    }
}
