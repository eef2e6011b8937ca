//! A server that was booted here: its folder, its supervisor, and the lease that keeps it.

use crate::TestkitError;
use crate::account::Account;
use crate::installation::Installation;
use crate::lease::Lease;
use crate::limit::wait_for;
use crate::profile::Profile;
use crate::seed::copy;
use crate::sweep::{self, ID_LENGTH, NEW, PREFIX};
use crate::url::of_folder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server that this process has booted.
#[derive(Debug)]
pub(crate) struct Booted {
    folder: PathBuf,
    installation: Installation,
    account: Account,
    options: Vec<String>,
    /// How many seconds the server stays when nobody holds its lease; 0 where it is ours alone.
    linger: u64,
    /// Gone once the server may go.
    lease: Option<Lease>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The supervisor is the server's parent, and removes the folder when the server has ended.
    Running { supervisor: Child },
    /// The data stays. The process id is that of the server that ran.
    Halted { pid: Option<i32> },
}

/// How a server ends that leaves its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// With everything written, so that its data can be copied.
    Clean,
    /// In the middle of whatever it does.
    Kill,
}

impl Booted {
    /// Boots a server from a copy of this data directory. With a `linger` above 0 others may join
    /// it, and it stays for that many seconds when the last of them is gone. Blocks.
    pub(crate) fn boot(
        installation: &Installation,
        profile: Profile,
        account: &Account,
        data: &Path,
        linger: u64,
    ) -> Result<Self, TestkitError> {
        let mut parents = profile.folders().into_iter().peekable();
        let (folder, lease) = loop {
            let Some(parent) = parents.next() else {
                return Err(TestkitError::boot("booting", "there is no folder for it"));
            };
            sweep::dead_servers(&parent, account);
            match prepare(&parent, account, data) {
                // Memory that looked roomy may fill up in the meantime; the disk will do.
                Err(_) if parents.peek().is_some() => {}
                prepared => break prepared?,
            }
        };
        let server = Self {
            folder,
            installation: installation.clone(),
            account: account.clone(),
            options: profile.options().map(str::to_owned).collect(),
            linger,
            lease: Some(lease),
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
        of_folder(&self.folder)
    }

    /// Whether others may have joined it.
    pub(crate) fn is_shared(&self) -> bool {
        self.linger > 0
    }

    pub(crate) fn psql(&self) -> PathBuf {
        self.installation.program("psql")
    }

    /// Ends the server and leaves its data. Blocks until its processes are gone, but for those of a
    /// killed server, which take a moment to notice.
    pub(crate) fn halt(&self, how: Shutdown) -> Result<(), TestkitError> {
        let mut state = self.lock();
        let State::Running { supervisor } = &mut *state else {
            return Err(TestkitError::boot("halting the server", "it does not run"));
        };
        let keep = self.keep();
        File::create(&keep).map_err(TestkitError::files(&keep))?;
        let pid = sweep::pid(&self.folder);
        let signal = match how {
            Shutdown::Clean => Signal::SIGINT,
            Shutdown::Kill => Signal::SIGKILL,
        };
        if let Some(pid) = pid {
            kill(Pid::from_raw(pid), signal)
                .map_err(|error| TestkitError::boot("halting the server", error))?;
        }
        wait_for("the server to end", || {
            let status = supervisor.try_wait();
            status.map_err(|error| TestkitError::boot("halting the server", error))
        })?;
        *state = State::Halted { pid };
        Ok(())
    }

    /// Starts the server again after [`Booted::halt`], on the same data and socket.
    pub(crate) fn restart(&self) -> Result<(), TestkitError> {
        let mut state = self.lock();
        if matches!(*state, State::Running { .. }) {
            return Err(TestkitError::boot("restarting the server", "it runs"));
        }
        wait_for("the processes of the killed server to end", || {
            match self.start(&mut state) {
                Ok(()) => Ok(Some(())),
                // They may outlive their parent for a moment, and until then it does not start.
                Err(error) if error.to_string().contains("still in use") => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        // Until here a failed start would have taken the data away.
        let keep = self.keep();
        fs::remove_file(&keep).map_err(TestkitError::files(&keep))
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
            .args(self.options.iter().flat_map(|option| ["-c", option]))
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
        drop(self.lease.take());
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        match state {
            // A server that others may have joined goes with the last of them.
            State::Running { .. } if self.linger > 0 => {}
            // A supervisor that cannot be waited for is gone, and the server with it. One that hangs
            // on its server is left to the next boot, since nobody here could tell of it.
            State::Running { supervisor } => drop(wait_for("the server to end", || {
                let status = supervisor.try_wait();
                status.map_err(|error| TestkitError::boot("stopping the server", error))
            })),
            // Best effort: the next boot takes it away otherwise.
            State::Halted { .. } => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}

/// A new folder with a copy of the data and a lease.
fn prepare(
    parent: &Path,
    account: &Account,
    data: &Path,
) -> Result<(PathBuf, Lease), TestkitError> {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(ID_LENGTH);
    let folder = parent.join(format!("{PREFIX}{id}"));
    let new = parent.join(format!("{PREFIX}{id}{NEW}"));
    let prepared = (|| {
        account.create_dir(&new)?;
        let lease = Lease::create(&new, account)?;
        // From here on the lease tells whether the folder has an owner.
        fs::rename(&new, &folder).map_err(TestkitError::files(&folder))?;
        copy(data, &folder.join("data"), account)?;
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
