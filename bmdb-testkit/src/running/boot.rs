//! Boots a server in a new folder.

use super::{RunningServer, State};
use crate::TestkitError;
use crate::copy;
use crate::dead_servers::{NEW, PREFIX, remove_dead_servers};
use crate::id;
use crate::installation::Installation;
use crate::lease::Lease;
use crate::lock::lock;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::tcp::Endpoint;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

type Fill<'a> = &'a dyn Fn(&Path) -> Result<(), TestkitError>;

/// How to boot a server.
#[derive(Debug, Clone)]
pub(crate) struct Boot<'a> {
    pub(crate) installation: &'a Installation,
    pub(crate) profile: Profile,
    pub(crate) user: &'a OsUser,
    /// The folders to try, in order: the server's folder is created in the first one with room.
    pub(crate) parents: Vec<PathBuf>,
    /// Above 0, other processes may join the server, and it stays for this many seconds after the last
    /// of them is gone.
    pub(crate) linger: u64,
    pub(crate) endpoint: Endpoint,
}

impl<'a> Boot<'a> {
    /// A server that only this process can use, on a unix socket, in the profile's folder.
    pub(crate) fn new(installation: &'a Installation, profile: Profile, user: &'a OsUser) -> Self {
        Self {
            installation,
            profile,
            user,
            parents: profile.folders(),
            linger: 0,
            endpoint: Endpoint::default(),
        }
    }

    /// Boots from a copy of this data directory. Blocks.
    pub(crate) fn copy_of(&self, data: &Path) -> Result<RunningServer, TestkitError> {
        self.filled_by(&|new| {
            self.user.create_dir(new)?;
            copy::tree(data, new, self.user, |_| true)?;
            self.endpoint.write(new, self.user)
        })
    }

    /// Boots on a data directory that `fill` creates at the given path. Blocks.
    pub(crate) fn filled_by(&self, fill: Fill<'_>) -> Result<RunningServer, TestkitError> {
        let mut parents = self.parents.iter().peekable();
        let (folder, lease) = loop {
            let Some(parent) = parents.next() else {
                return Err(TestkitError::boot("booting", "there is no folder for it"));
            };
            remove_dead_servers(parent, self.user);
            match prepare(parent, self.user, fill) {
                // Memory may fill up while the data is copied; the disk is next.
                Err(_) if parents.peek().is_some() => {}
                prepared => break prepared?,
            }
        };
        let server = RunningServer {
            folder,
            installation: self.installation.clone(),
            user: self.user.clone(),
            profile: self.profile,
            linger: self.linger,
            endpoint: self.endpoint.clone(),
            lease: Some(lease),
            keeps_data: AtomicBool::new(false),
            state: Mutex::new(State::Halted { pid: None }),
        };
        server.start(&mut lock(&server.state))?;
        Ok(server)
    }
}

/// Creates a folder with data and a lease.
fn prepare(parent: &Path, user: &OsUser, fill: Fill<'_>) -> Result<(PathBuf, Lease), TestkitError> {
    let id = id::random();
    let folder = parent.join(format!("{PREFIX}{id}"));
    let new = parent.join(format!("{PREFIX}{id}{NEW}"));
    let prepared = (|| {
        user.create_dir(&new)?;
        let lease = Lease::create(&new, user)?;
        // From here on the lease shows that the folder is in use.
        fs::rename(&new, &folder).map_err(TestkitError::files(&folder))?;
        fill(&folder.join("data"))?;
        Ok(lease)
    })();
    if prepared.is_err() {
        // Best effort: the first error is the useful one.
        let _ = fs::remove_dir_all(&new);
        let _ = fs::remove_dir_all(&folder);
    }
    prepared.map(|lease| (folder, lease))
}
