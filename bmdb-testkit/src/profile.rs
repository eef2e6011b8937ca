//! What a server is for: tests, where nothing has to survive, or measurements.

use nix::sys::statvfs::statvfs;
use std::env;
use std::path::{Path, PathBuf};

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// A database takes about 8 MiB: room for a hundred of them.
const ROOMY: u64 = 1 << 30;

/// PostgreSQL puts what its processes share there as well, and does not start without that.
const ENOUGH: u64 = 16 << 20;

/// A socket's whole path must fit into 104 bytes on macOS, 108 on Linux.
const LONGEST: usize = 70;

/// The options of every profile. English messages because a deadlock can be told only by its text.
const OPTIONS: &[&str] = &[
    "listen_addresses=",
    "max_connections=300",
    "lc_messages=C",
    "timezone=UTC",
    "log_timezone=UTC",
];

/// How much the server cares about its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Nothing survives a crash: no fsync, no autovacuum, in memory where there is room. For tests.
    #[default]
    Fast,
    /// PostgreSQL's defaults, on disk. For measurements, crashes and standbys.
    Durable,
}

impl Profile {
    /// What is set on the server's command line.
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
                // A test's data fits, and each clone of a template looks through all of it twice.
                "shared_buffers=32MB",
                // In all still more than a server for 100 connections has.
                "max_locks_per_transaction=32",
                // One process less.
                "max_logical_replication_workers=0",
                // Goes with the data when the server is killed; the usual kind is left in memory.
                "dynamic_shared_memory_type=mmap",
            ],
            // The seed's segments of WAL are small, so initdb has set these to a sixteenth of the
            // defaults, and there would be a checkpoint every second under load.
            Self::Durable => &["max_wal_size=1GB", "min_wal_size=80MB"],
        };
        let shared = match free(Path::new(MEMORY)) {
            Some(free) if free < ENOUGH => Some("dynamic_shared_memory_type=mmap"),
            _ => None,
        };
        OPTIONS.iter().chain(own).copied().chain(shared)
    }

    /// Where a server's data goes: `BMDB_TESTKIT_DATA`; else `/dev/shm` where that is roomy and
    /// nothing has to survive; else the folder for temporary files.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        self.folders().remove(0)
    }

    /// The folders to try in turn; at least one.
    pub(crate) fn folders(self) -> Vec<PathBuf> {
        if let Some(set) = env::var_os("BMDB_TESTKIT_DATA").filter(|set| !set.is_empty()) {
            return vec![PathBuf::from(set)];
        }
        let temporary = Some(env::temp_dir()).filter(|path| path.as_os_str().len() <= LONGEST);
        let disk = temporary.unwrap_or_else(|| PathBuf::from("/tmp"));
        let memory = Path::new(MEMORY);
        if self == Self::Fast && free(memory).is_some_and(|free| free >= ROOMY) {
            vec![memory.to_owned(), disk]
        } else {
            vec![disk]
        }
    }
}

/// The bytes that may still be written below this folder.
#[allow(
    clippy::useless_conversion,
    reason = "the width of these numbers differs between systems"
)]
fn free(folder: &Path) -> Option<u64> {
    let volume = statvfs(folder).ok()?;
    Some(u64::from(volume.blocks_available()) * u64::from(volume.fragment_size()))
}
