//! The lease and the supervisor, with a server that does nothing.
#![cfg(target_os = "linux")]

use super::{Lease, is_supervised};
use crate::dead_servers::server_pid;
use crate::os_user::OsUser;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Writes its process id where PostgreSQL does. A shell starts background processes with SIGQUIT
/// ignored; PostgreSQL enables it again by itself.
const SERVER: &str = r#"
    mkdir -p "$0/data"
    echo $$ >"$0/data/postmaster.pid"
    exec env --default-signal=QUIT sleep 60
"#;

struct Supervised {
    folder: PathBuf,
    supervisor: Child,
}

impl Supervised {
    /// Starts a supervisor, and returns the first holder's lease.
    fn start(linger: &str) -> (Self, Lease) {
        let folder = std::env::temp_dir().join(format!("lease-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        // This process's own user, even if that is root.
        let user = OsUser::own();
        let lease = Lease::create(&folder, &user).unwrap();
        let supervisor = Command::new("/bin/sh")
            .args(["-c", include_str!("../supervisor.sh"), "test"])
            .arg(&folder)
            .args([linger, "/bin/sh", "-c", SERVER])
            .arg(&folder)
            .stdin(Lease::reader(&folder).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { folder, supervisor };
        within("the server runs", Duration::from_secs(5), || {
            runs(&this.folder)
        });
        (this, lease)
    }

    fn is_gone(&mut self) -> bool {
        self.supervisor.try_wait().unwrap().is_some() && !self.folder.exists()
    }
}

fn runs(folder: &Path) -> bool {
    server_pid(folder).is_some_and(|pid| kill(Pid::from_raw(pid), None).is_ok())
}

fn within(what: &str, limit: Duration, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_unshared_server_stops_as_soon_as_its_lease_is_dropped() {
    let (mut server, lease) = Supervised::start("0");
    assert!(is_supervised(&server.folder));
    drop(lease);
    within("gone", Duration::from_secs(5), || server.is_gone());
}

#[test]
fn a_server_stays_while_a_process_holds_its_lease() {
    let (mut server, first) = Supervised::start("0.01");
    let second = Lease::join(&server.folder).unwrap();
    drop(first);
    let third = Lease::join(&server.folder).unwrap();
    drop(second);
    // Ten times the linger time.
    thread::sleep(Duration::from_millis(100));
    assert!(runs(&server.folder));
    drop(third);
    within("gone", Duration::from_secs(5), || server.is_gone());
    assert!(Lease::join(&server.folder).is_none());
}

/// Holders join and leave just when the supervisor decides whether to stop the server.
#[test]
fn a_server_runs_as_long_as_a_process_that_joined_it_holds_the_lease() {
    let joined = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    for round in 0..20_u64 {
        let (mut server, lease) = Supervised::start("0.001");
        let folder = server.folder.clone();
        thread::scope(|scope| {
            for process in 0..4_u64 {
                let (folder, joined, refused) = (&folder, &joined, &refused);
                scope.spawn(move || {
                    for join in 0..20_u64 {
                        thread::sleep(Duration::from_micros((join * 379 + process * 211) % 4000));
                        let Some(lease) = Lease::join(folder) else {
                            refused.fetch_add(1, Ordering::Relaxed);
                            continue;
                        };
                        joined.fetch_add(1, Ordering::Relaxed);
                        for _ in 0..3 {
                            assert!(runs(folder), "a server with a holder was stopped");
                            thread::sleep(Duration::from_micros(300));
                        }
                        drop(lease);
                    }
                });
            }
            thread::sleep(Duration::from_millis(round % 5));
            drop(lease);
        });
        within("gone", Duration::from_secs(5), || server.is_gone());
    }
    // Otherwise the test has missed the moments it is about.
    assert!(joined.into_inner() > 20, "no process joined");
    assert!(refused.into_inner() > 20, "no process came too late");
}
