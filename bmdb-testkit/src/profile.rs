//! What a server is for: tests, where nothing has to survive, or measurements.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A database takes about 8 MiB: room for a hundred of them.
const ROOMY_KIB: u64 = 1024 * 1024;

/// How much the server cares about its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Nothing survives a crash: no fsync, no autovacuum, in memory where there is room. For tests.
    #[default]
    Fast,
    /// PostgreSQL's defaults, on disk. For measurements.
    Durable,
}

impl Profile {
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Fast => &[
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "checkpoint_timeout=1h",
                "jit=off",
            ],
            Self::Durable => &[],
        }
    }

    /// Where a server's data goes: `/dev/shm` where that is roomy and nothing has to survive, else
    /// the folder for temporary files.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        let memory = Path::new("/dev/shm");
        if self == Self::Fast && free_kib(memory).is_some_and(|free| free >= ROOMY_KIB) {
            return memory.to_owned();
        }
        // A socket's whole path must fit into 104 bytes on macOS, 108 on Linux.
        let temporary = env::temp_dir();
        if temporary.as_os_str().len() <= 70 {
            temporary
        } else {
            PathBuf::from("/tmp")
        }
    }
}

/// std has no `statvfs`; `df -P` is POSIX.
fn free_kib(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
