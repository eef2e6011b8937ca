//! Seeds: data directories that are made once and copied for every server.
//!
//! initdb takes about 300 ms and migrating a template about 100 ms; a copy of the result takes 20 ms. A
//! seed is made in an unfinished folder under a lock and renamed when it is complete, so that a process
//! that is killed leaves nothing that looks like a seed.

use crate::TestkitError;
use crate::cache::{make_cache, remove_old};
use crate::copy;
use crate::file_lock::lock_file;
use crate::hash::fnv;
use crate::installation::Installation;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::running::{Boot, RunningServer, Shutdown};
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

/// A version of how seeds are made; older seeds are not used.
const VERSION: &str = "2";

/// Every edit of a migration makes a new seed of about 40 MB.
const KEEP_UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);

/// A data directory to copy.
#[derive(Debug)]
struct Seed {
    path: PathBuf,
    /// The seed without migrations that it was made from.
    base: PathBuf,
    /// Whether this call made it, so that a part cannot have been deleted since.
    is_new: bool,
}

impl Seed {
    /// The seed of this installation and user that contains this template. Makes it if it does not
    /// exist.
    fn find_or_make(
        installation: &Installation,
        user: &OsUser,
        template: &Template,
    ) -> Result<Self, TestkitError> {
        let cache = make_cache(user)?;
        let name = base_name(installation, user);
        let base = cache.join(&name);
        let migrated = format!("{name}-{}", template.key());
        let path = cache.join(&migrated);
        if is_complete(&path) {
            touch(&path);
            touch(&base);
            return Ok(Self {
                path,
                base,
                is_new: false,
            });
        }
        find_or_make(&cache, &name, |unfinished| {
            user.create_dir(unfinished)?;
            let mut initdb = user.command(&installation.program("initdb"));
            initdb.args(INITDB).arg("--pgdata").arg(unfinished);
            user.run("initdb", initdb)
        })?;
        find_or_make(&cache, &migrated, |unfinished| {
            let server = Boot::new(installation, Profile::Fast, user).copy_of(&base)?;
            template.make_on(&server.url())?;
            server.halt(Shutdown::Clean)?;
            user.create_dir(unfinished)?;
            copy::tree(&server.data(), unfinished, user, is_needed)
        })?;
        Ok(Self {
            path,
            base,
            is_new: true,
        })
    }

    /// Removes a seed from which no server starts, for example because a cleaner of temporary files has
    /// deleted a part of it.
    fn discard(self) {
        // Best effort: if it cannot be removed, the next boot fails with the same error.
        let _ = fs::remove_dir_all(self.path);
        let _ = fs::remove_dir_all(self.base);
    }
}

/// Boots a server that has this template already, from a seed. If an old seed fails, it is made again.
pub(crate) fn boot_from_seed(
    boot: &Boot<'_>,
    template: &Template,
) -> Result<RunningServer, TestkitError> {
    let find_or_make = || Seed::find_or_make(boot.installation, boot.user, template);
    let seed = find_or_make()?;
    match boot.copy_of(&seed.path) {
        Err(_) if !seed.is_new => {
            seed.discard();
            boot.copy_of(&find_or_make()?.path)
        }
        booted => booted,
    }
}

/// Contains the programs, their version, the user and the options.
fn base_name(installation: &Installation, user: &OsUser) -> String {
    let (major, minor) = installation.version();
    // Several paths may lead to the same programs.
    let bin = fs::canonicalize(installation.bin()).unwrap_or_else(|_| installation.bin().into());
    let parts = [bin.as_os_str().as_encoded_bytes()];
    let options = INITDB
        .iter()
        .chain([&VERSION])
        .map(|option| option.as_bytes());
    let key = fnv(parts.into_iter().chain(options));
    format!("seed-{major}.{minor}-{}-{key:016x}", user.uid)
}

/// Leaves out the maps of free space and visibility, which are a quarter of the files in a seed and in
/// every database cloned from its templates. The server creates those that it needs.
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
    if is_complete(&seed) {
        return Ok(());
    }
    let _lock = lock_file(
        &cache.join(format!("{name}.lock")),
        "another process to make the data directory that servers start from",
    )?;
    // Another process may have made it while this one waited.
    if is_complete(&seed) {
        return Ok(());
    }
    let unfinished = cache.join(format!("unfinished-{}", uuid::Uuid::new_v4().simple()));
    let made = make(&unfinished).and_then(|()| {
        // An incomplete folder would block the rename.
        let _ = fs::remove_dir_all(&seed);
        fs::rename(&unfinished, &seed).map_err(TestkitError::files(&seed))
    });
    if made.is_err() {
        // Best effort: the first error is the useful one.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let is_seed = |name: &str| name.starts_with("seed-") && !name.ends_with(".lock");
    remove_old(cache, is_seed, KEEP_UNUSED);
    let is_unfinished = |name: &str| name.starts_with("unfinished-");
    remove_old(cache, is_unfinished, Duration::from_secs(3600));
    made
}

fn is_complete(seed: &Path) -> bool {
    seed.join("PG_VERSION").is_file()
}

/// Records that a seed is still in use.
fn touch(seed: &Path) {
    let now = TimeSpec::UTIME_NOW;
    // Best effort: the time only decides when the seed is removed.
    let _ = utimensat(
        nix::fcntl::AT_FDCWD,
        seed,
        &now,
        &now,
        UtimensatFlags::FollowSymlink,
    );
}
