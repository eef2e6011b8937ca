//! A server that was booted here: its folder, its supervisor, and the lease that keeps it.

mod stop;

pub(crate) use stop::Shutdown;

use crate::TestkitError;
use crate::copy;
use crate::id;
use crate::installation::Installation;
use crate::lease::Lease;
use crate::limit::wait_for;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::socket::PORT;
use crate::sweep::{self, NEW, PREFIX};
use crate::tcp::Listening;
use crate::url::of_folder;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server that this process has booted.
#[derive(Debug)]
pub(crate) struct Booted {
    folder: PathBuf,
    pub(crate) installation: Installation,
    pub(crate) account: OsUser,
    pub(crate) profile: Profile,
    /// How many seconds the server stays when nobody holds its lease; 0 where it is ours alone.
    linger: u64,
    listening: Listening,
    /// Gone once the server may go.
    lease: Option<Lease>,
    /// Whether the data stays also where the server ends by itself.
    keeps_data: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The supervisor is the server's parent, and removes the folder when the server has ended.
    Running { supervisor: Child },
    /// The data stays. The process id is that of the server that ran.
    Halted { pid: Option<i32> },
}

impl Booted {
    /// Boots a server from a copy of this data directory. With a `linger` above 0 others may join
    /// it, and it stays for that many seconds when the last of them is gone. Blocks.
    pub(crate) fn boot(
        installation: &Installation,
        profile: Profile,
        account: &OsUser,
        data: &Path,
        linger: u64,
        listening: &Listening,
    ) -> Result<Self, TestkitError> {
        let fill = |new: &Path| {
            account.create_dir(new)?;
            copy::tree(data, new, account, |_| true)?;
            listening.write(new, account)
        };
        Self::boot_on(installation, profile, account, &fill, linger, listening)
    }

    /// The same in this folder, and for this process alone.
    pub(crate) fn boot_below(
        parent: &Path,
        installation: &Installation,
        profile: Profile,
        account: &OsUser,
        data: &Path,
    ) -> Result<Self, TestkitError> {
        let fill = |new: &Path| {
            account.create_dir(new)?;
            copy::tree(data, new, account, |_| true)
        };
        let parents = vec![parent.to_owned()];
        let socket_only = Listening::default();
        Self::boot_in_first(
            parents,
            installation,
            profile,
            account,
            &fill,
            0,
            &socket_only,
        )
    }

    /// The same on a data directory that `fill` makes at the path that it is given.
    pub(crate) fn boot_on(
        installation: &Installation,
        profile: Profile,
        account: &OsUser,
        fill: &dyn Fn(&Path) -> Result<(), TestkitError>,
        linger: u64,
        listening: &Listening,
    ) -> Result<Self, TestkitError> {
        let parents = profile.folders();
        Self::boot_in_first(
            parents,
            installation,
            profile,
            account,
            fill,
            linger,
            listening,
        )
    }

    /// In the first of these folders that has room.
    fn boot_in_first(
        parents: Vec<PathBuf>,
        installation: &Installation,
        profile: Profile,
        account: &OsUser,
        fill: &dyn Fn(&Path) -> Result<(), TestkitError>,
        linger: u64,
        listening: &Listening,
    ) -> Result<Self, TestkitError> {
        let mut parents = parents.into_iter().peekable();
        let (folder, lease) = loop {
            let Some(parent) = parents.next() else {
                return Err(TestkitError::boot("booting", "there is no folder for it"));
            };
            sweep::dead_servers(&parent, account);
            match prepare(&parent, account, fill) {
                // Memory that looked roomy may fill up in the meantime; the disk will do.
                Err(_) if parents.peek().is_some() => {}
                prepared => break prepared?,
            }
        };
        let server = Self {
            folder,
            installation: installation.clone(),
            account: account.clone(),
            profile,
            linger,
            listening: listening.clone(),
            lease: Some(lease),
            keeps_data: AtomicBool::new(false),
            state: Mutex::new(State::Halted { pid: None }),
        };
        server.start(&mut server.lock())?;
        Ok(server)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn url(&self) -> String {
        let url = of_folder(&self.folder);
        match self.listening.port {
            PORT => url,
            port => format!("{url}&port={port}"),
        }
    }

    /// Its port, if it listens on more than a socket.
    pub(crate) fn tcp_port(&self) -> Option<u16> {
        self.listening.is_tcp().then_some(self.listening.port)
    }

    /// Whether others may have joined it.
    pub(crate) fn is_shared(&self) -> bool {
        self.linger > 0
    }

    pub(crate) fn psql(&self) -> PathBuf {
        self.installation.program("psql")
    }

    fn start(&self, state: &mut State) -> Result<(), TestkitError> {
        let State::Halted { pid } = *state else {
            return Ok(());
        };
        let supervisor = self.spawn(pid)?;
        *state = State::Running { supervisor };
        Ok(())
    }

    /// Starts supervisor and server, and waits until the server is ready. `before` is the process
    /// id of the server that ran on this data before, whose file may still be there.
    fn spawn(&self, before: Option<i32>) -> Result<Child, TestkitError> {
        let log_path = self.folder.join("log");
        let open = || {
            let log = File::options().create(true).append(true).open(&log_path);
            log.map_err(TestkitError::files(&log_path))
        };
        let mut shell = self.account.command(Path::new("/bin/sh"));
        shell
            .args(["-c", include_str!("supervisor.sh"), "bmdb-testkit"])
            .arg(&self.folder)
            .arg(self.linger.to_string())
            .arg(self.installation.program("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder)
            .args(self.profile.options().flat_map(|option| ["-c", option]))
            .args(
                self.listening
                    .options()
                    .iter()
                    .flat_map(|option| ["-c", option]),
            )
            .stdin(Lease::reader(&self.folder)?)
            .stdout(open()?)
            .stderr(open()?)
            // Its own group: Ctrl-C at the terminal, and a runner that kills a test's group, must
            // not take the supervisor away before it has cleaned up.
            .process_group(0);
        // The folder goes with a server that fails, so the log is opened for reading now.
        let mut log = File::open(&log_path).map_err(TestkitError::files(&log_path))?;
        // Not of interest where it fails: then all of the log is told.
        let _ = log.seek(SeekFrom::End(0));
        let mut supervisor = shell
            .spawn()
            .map_err(|error| TestkitError::boot("starting /bin/sh", error))?;
        let ready = wait_for(&format!("{} to boot", self.installation), || {
            if is_ready(&self.folder, before) {
                return Ok(Some(()));
            }
            match supervisor.try_wait() {
                Ok(Some(status)) => Err(TestkitError::boot(
                    format!("booting {}", self.installation),
                    format!("the server ended with {status}"),
                )),
                _ => Ok(None),
            }
        });
        ready.map(|()| supervisor).map_err(|error| {
            let mut text = String::new();
            // An unreadable log must not hide that the boot failed.
            let _ = log.read_to_string(&mut text);
            TestkitError::boot(error.to_string(), format!("its log:\n{}", text.trim()))
        })
    }

    fn keep(&self) -> PathBuf {
        self.folder.join("keep")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if self.keeps_data.load(Ordering::Relaxed) {
            // Best effort: the folder is removed below as well.
            let _ = fs::remove_file(self.keep());
        }
        drop(self.lease.take());
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        match state {
            // A server that others may have joined goes with the last of them.
            State::Running { .. } if self.linger > 0 => {}
            // A supervisor that cannot be waited for is gone, and the server with it. One that hangs
            // on its server is left to the next boot, since nobody here could tell of it.
            State::Running { supervisor } => {
                drop(wait_for("the server to end", || {
                    let status = supervisor.try_wait();
                    status.map_err(|error| TestkitError::boot("stopping the server", error))
                }));
                // A supervisor that ended before its server was to go has left the data.
                if self.keeps_data.load(Ordering::Relaxed) {
                    remove(&self.folder);
                }
            }
            State::Halted { .. } => remove(&self.folder),
        }
    }
}

/// Best effort: the next boot takes it away otherwise.
fn remove(folder: &Path) {
    drop(wait_for("the server's folder to go", || {
        match fs::remove_dir_all(folder) {
            // The last processes of a killed server may still write.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
            _ => Ok(Some(())),
        }
    }));
}

/// A new folder with data and a lease.
fn prepare(
    parent: &Path,
    account: &OsUser,
    fill: &dyn Fn(&Path) -> Result<(), TestkitError>,
) -> Result<(PathBuf, Lease), TestkitError> {
    let id = id::random();
    let folder = parent.join(format!("{PREFIX}{id}"));
    let new = parent.join(format!("{PREFIX}{id}{NEW}"));
    let prepared = (|| {
        account.create_dir(&new)?;
        let lease = Lease::create(&new, account)?;
        // From here on the lease tells whether the folder has an owner.
        fs::rename(&new, &folder).map_err(TestkitError::files(&folder))?;
        fill(&folder.join("data"))?;
        Ok(lease)
    })();
    if prepared.is_err() {
        // Best effort: the first error is the one worth reading.
        let _ = fs::remove_dir_all(&new);
        let _ = fs::remove_dir_all(&folder);
    }
    prepared.map(|lease| (folder, lease))
}

/// Reads the line of `postmaster.pid` in which the server tells its state.
fn is_ready(folder: &Path, before: Option<i32>) -> bool {
    let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let mut lines = state.lines();
    let pid = lines.next().and_then(|pid| pid.trim().parse().ok());
    let is_new = pid.is_some() && pid != before;
    is_new && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}
