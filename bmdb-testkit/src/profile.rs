//! Profiles: the settings of a server for tests, or for measurements and crashes.

use nix::sys::statvfs::statvfs;
use std::env;
use std::path::{Path, PathBuf};

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// Room for a hundred databases of about 8 MiB.
const ROOMY: u64 = 1 << 30;

/// PostgreSQL does not start without this much room for the memory that its processes share.
const ENOUGH: u64 = 16 << 20;

/// A socket's whole path must fit into 104 bytes on macOS and 108 on Linux.
const MAX_PATH: usize = 70;

/// The options of every profile. Messages are English, so that tests can quote them; see
/// [`TestDb::speak_german`](crate::TestDb::speak_german).
const OPTIONS: &[&str] = &[
    "listen_addresses=",
    "max_connections=300",
    "lc_messages=C",
    "timezone=UTC",
    "log_timezone=UTC",
];

/// How durable a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Profile {
    /// For tests. Nothing survives a crash: no fsync, no autovacuum, data in memory if there is room.
    #[default]
    Fast,
    /// For measurements, crashes and standbys: PostgreSQL's defaults, data on disk.
    Durable,
}

impl Profile {
    /// The options for the server's command line.
    pub(crate) fn options(self) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match self {
            Self::Fast => &[
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "checkpoint_timeout=1h",
                "jit=off",
                // Enough for a test's data; each clone of a template scans all buffers twice.
                "shared_buffers=32MB",
                // In total still more than the default for 100 connections.
                "max_locks_per_transaction=32",
                // Saves one process.
                "max_logical_replication_workers=0",
                // Removed with the data when the server is killed; the default kind stays in memory.
                "dynamic_shared_memory_type=mmap",
            ],
            // The seed has small WAL segments, so initdb has set these to a sixteenth of the
            // defaults, which would cause a checkpoint every second under load.
            Self::Durable => &["max_wal_size=1GB", "min_wal_size=80MB"],
        };
        let shared = match free(Path::new(MEMORY)) {
            Some(free) if free < ENOUGH => Some("dynamic_shared_memory_type=mmap"),
            _ => None,
        };
        OPTIONS.iter().chain(own).copied().chain(shared)
    }

    /// Where a server's data is stored: `BMDB_TESTKIT_DATA`; else, for [`Profile::Fast`], `/dev/shm`
    /// if that has room; else the folder for temporary files.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        self.folders().remove(0)
    }

    /// The folders to try, in order; at least one.
    pub(crate) fn folders(self) -> Vec<PathBuf> {
        if let Some(set) = env::var_os("BMDB_TESTKIT_DATA").filter(|set| !set.is_empty()) {
            return vec![PathBuf::from(set)];
        }
        let temporary = Some(env::temp_dir()).filter(|path| path.as_os_str().len() <= MAX_PATH);
        let disk = temporary.unwrap_or_else(|| PathBuf::from("/tmp"));
        let memory = Path::new(MEMORY);
        if self == Self::Fast && free(memory).is_some_and(|free| free >= ROOMY) {
            vec![memory.to_owned(), disk]
        } else {
            vec![disk]
        }
    }
}

/// The free bytes on the volume of this folder.
#[allow(
    clippy::useless_conversion,
    reason = "the width of these numbers differs between systems"
)]
fn free(folder: &Path) -> Option<u64> {
    let volume = statvfs(folder).ok()?;
    Some(u64::from(volume.blocks_available()) * u64::from(volume.fragment_size()))
}
