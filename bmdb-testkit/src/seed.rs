//! Seeds: data directories that are made once and copied for every server.
//!
//! initdb takes some 300 ms and migrating a template some 100 ms more; a copy of the result takes
//! 20 ms. A seed is made in a folder of its own under a lock, and renamed into place when it is
//! whole, so that a maker that is killed leaves nothing that looks like a seed.

use crate::TestkitError;
use crate::cache::{make_cache, remove_old};
use crate::copy;
use crate::hash::fnv;
use crate::installation::Installation;
use crate::limit::lock;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::running::{Booted, Shutdown};
use crate::tcp::Listening;
use crate::template::Template;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const INITDB: &[&str] = &[
    "--no-sync",
    "--auth=trust",
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--wal-segsize=1",
];

/// Counts the changes to how seeds are made; old ones are not used then.
const MAKING: &str = "2";

/// Every edit of a migration makes a new seed of some 40 MB.
const KEEP_UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);

/// A data directory to copy.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) path: PathBuf,
    /// The one it was made from.
    base: PathBuf,
    /// Whether it was made just now, so that no fault in it can be of old age.
    pub(crate) is_new: bool,
}

impl Seed {
    /// The seed of this installation and account that contains this template; made first where it
    /// is not there yet.
    pub(crate) fn find_or_make(
        installation: &Installation,
        account: &OsUser,
        template: &Template,
    ) -> Result<Self, TestkitError> {
        let cache = make_cache(account)?;
        let name = base_name(installation, account);
        let base = cache.join(&name);
        let migrated = format!("{name}-{}", template.key());
        let path = cache.join(&migrated);
        if is_whole(&path) {
            touch(&path);
            touch(&base);
            return Ok(Self {
                path,
                base,
                is_new: false,
            });
        }
        find_or_make(&cache, &name, |unfinished| {
            account.create_dir(unfinished)?;
            let mut initdb = account.command(&installation.program("initdb"));
            initdb.args(INITDB).arg("--pgdata").arg(unfinished);
            account.run("initdb", initdb)
        })?;
        find_or_make(&cache, &migrated, |unfinished| {
            let server = Booted::boot(
                installation,
                Profile::Fast,
                account,
                &base,
                0,
                &Listening::default(),
            )?;
            template.make_on(&server.url())?;
            server.halt(Shutdown::Clean)?;
            account.create_dir(unfinished)?;
            copy::tree(&server.data(), unfinished, account, is_needed)
        })?;
        Ok(Self {
            path,
            base,
            is_new: true,
        })
    }

    /// Removes a seed that no server starts from, as after a cleaner of temporary files ate a part
    /// of it.
    pub(crate) fn discard(self) {
        // Best effort: what cannot be removed fails the next boot as well, with the same words.
        let _ = fs::remove_dir_all(self.path);
        let _ = fs::remove_dir_all(self.base);
    }
}

/// Contains the programs, their version, the account and the options.
fn base_name(installation: &Installation, account: &OsUser) -> String {
    let (major, minor) = installation.version();
    // The same programs are reached by several paths.
    let bin = fs::canonicalize(installation.bin()).unwrap_or_else(|_| installation.bin().into());
    let parts = [bin.as_os_str().as_encoded_bytes()];
    let options = INITDB
        .iter()
        .chain([&MAKING])
        .map(|option| option.as_bytes());
    let key = fnv(parts.into_iter().chain(options));
    format!("seed-{major}.{minor}-{}-{key:016x}", account.uid)
}

/// Maps of free space and of visibility are a quarter of the files, in a seed and in every database
/// that is cloned from its templates. The server does without them, and makes those it needs.
fn is_needed(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.ends_with(b"_fsm") && !name.ends_with(b"_vm")
}

fn find_or_make(
    cache: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), TestkitError>,
) -> Result<(), TestkitError> {
    let seed = cache.join(name);
    if is_whole(&seed) {
        return Ok(());
    }
    let _lock = lock(
        &cache.join(format!("{name}.lock")),
        "another process to make the data directory that servers start from",
    )?;
    // It may have been made while this process waited.
    if is_whole(&seed) {
        return Ok(());
    }
    let unfinished = cache.join(format!("unfinished-{}", uuid::Uuid::new_v4().simple()));
    let made = make(&unfinished).and_then(|()| {
        // What is there without being whole is in the way.
        let _ = fs::remove_dir_all(&seed);
        fs::rename(&unfinished, &seed).map_err(TestkitError::files(&seed))
    });
    if made.is_err() {
        // Best effort: the first error is the one worth reading.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let unused = |name: &str| name.starts_with("seed-") && !name.ends_with(".lock");
    remove_old(cache, unused, KEEP_UNUSED);
    let killed = |name: &str| name.starts_with("unfinished-");
    remove_old(cache, killed, Duration::from_secs(3600));
    made
}

fn is_whole(seed: &Path) -> bool {
    seed.join("PG_VERSION").is_file()
}

/// Tells that a seed is in use still.
fn touch(seed: &Path) {
    let now = TimeSpec::UTIME_NOW;
    // Best effort: it decides only when the seed is made anew.
    let _ = utimensat(
        nix::fcntl::AT_FDCWD,
        seed,
        &now,
        &now,
        UtimensatFlags::FollowSymlink,
    );
}
