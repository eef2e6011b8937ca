//! A server that this process has booted: its folder, its supervisor, and the lease that keeps it.

mod boot;
mod stop;

pub(crate) use boot::Boot;
pub(crate) use stop::Shutdown;

use crate::TestkitError;
use crate::installation::Installation;
use crate::lease::Lease;
use crate::locale;
use crate::lock::lock;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::socket::PORT;
use crate::tcp::Endpoint;
use crate::url::of_folder;
use crate::wait::wait_for;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Dropping it stops the server and removes its folder, unless other processes may have joined it.
#[derive(Debug)]
pub(crate) struct RunningServer {
    folder: PathBuf,
    pub(crate) installation: Installation,
    pub(crate) user: OsUser,
    pub(crate) profile: Profile,
    /// How many seconds the server stays after the last holder of its lease is gone; 0 if no other
    /// process can join it.
    linger: u64,
    endpoint: Endpoint,
    lease: Option<Lease>,
    /// Whether the data stays even if the server ends by itself.
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

impl RunningServer {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn url(&self) -> String {
        let url = of_folder(&self.folder);
        match self.endpoint.port {
            PORT => url,
            port => format!("{url}&port={port}"),
        }
    }

    /// Its TCP port, if it listens on TCP.
    pub(crate) fn tcp_port(&self) -> Option<u16> {
        self.endpoint.is_tcp().then_some(self.endpoint.port)
    }

    /// Whether other processes may have joined it.
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

    /// Starts supervisor and server, and waits until the server is ready. `before` is the process id
    /// of the server that ran on this data before, whose file may still exist.
    fn spawn(&self, before: Option<i32>) -> Result<Child, TestkitError> {
        let log_path = self.folder.join("log");
        let open = || {
            let log = File::options().create(true).append(true).open(&log_path);
            log.map_err(TestkitError::files(&log_path))
        };
        let options = self.profile.options().map(str::to_owned);
        let options = options.chain(self.endpoint.options());
        let mut shell = self.user.command(Path::new("/bin/sh"));
        shell
            .args(["-c", include_str!("supervisor.sh"), "bmdb-testkit"])
            .arg(&self.folder)
            .arg(self.linger.to_string())
            .arg(self.installation.program("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder)
            .args(options.flat_map(|option| ["-c".to_owned(), option]))
            .stdin(Lease::reader(&self.folder)?)
            .stdout(open()?)
            .stderr(open()?)
            // A process group of its own: Ctrl-C at the terminal, or a runner that kills a test's
            // group, must not kill the supervisor before it has cleaned up.
            .process_group(0);
        if let Some(locales) = locale::folder(&self.user) {
            shell.env("LOCPATH", locales);
        }
        // Opened for reading now, because the folder is removed with a server that fails.
        let mut log = File::open(&log_path).map_err(TestkitError::files(&log_path))?;
        // If this fails, the error quotes the whole log.
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

    /// The file whose existence tells the supervisor to leave the data.
    fn keep(&self) -> PathBuf {
        self.folder.join("keep")
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let keeps_data = self.keeps_data.load(Ordering::Relaxed);
        if keeps_data {
            // Best effort: the folder is removed below as well.
            let _ = fs::remove_file(self.keep());
        }
        drop(self.lease.take());
        match &mut *lock(&self.state) {
            // A server that other processes may have joined stops after the last of them.
            State::Running { .. } if self.linger > 0 => {}
            // If the supervisor cannot be waited for, it is gone and the server with it. One that
            // hangs on its server is left to the next boot, because a drop cannot return an error.
            State::Running { supervisor } => {
                drop(wait_for("the server to end", || {
                    let status = supervisor.try_wait();
                    status.map_err(|error| TestkitError::boot("stopping the server", error))
                }));
                // A supervisor that ended before the `keep` file was removed has left the data.
                if keeps_data {
                    remove(&self.folder);
                }
            }
            State::Halted { .. } => remove(&self.folder),
        }
    }
}

/// Best effort: otherwise the next boot removes the folder.
fn remove(folder: &Path) {
    drop(wait_for("the server's folder to go", || {
        match fs::remove_dir_all(folder) {
            // The last processes of a killed server may still write.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
            _ => Ok(Some(())),
        }
    }));
}

/// Reads the line of `postmaster.pid` that contains the server's state.
fn is_ready(folder: &Path, before: Option<i32>) -> bool {
    let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let mut lines = state.lines();
    let pid = lines.next().and_then(|pid| pid.trim().parse().ok());
    let is_new = pid.is_some() && pid != before;
    is_new && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}
