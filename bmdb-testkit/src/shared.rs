//! The shared server: all test processes of a user use it, without any set-up. The first process boots
//! it, the others find it by a file in the cache, and it stops after the last of them.

mod protocol;

use crate::TestkitError;
use crate::cache::make_cache;
use crate::file_lock::lock_file;
use crate::hash::fnv;
use crate::lease::Lease;
use crate::lock::lock;
use crate::lookup::{Lookup, LookupResult, Places};
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::running::Boot;
use crate::seed::boot_from_seed;
use crate::server::{Kind, Server};
use crate::socket;
use crate::template::Template;
use crate::url::of_folder;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The server of all tests of this process. A static is never dropped: the end of the process ends its
/// lease.
static SHARED: Mutex<Option<Arc<Server>>> = Mutex::new(None);

/// A test runner starts the next test a moment after the last one has ended.
const LINGER: u64 = 1;

impl Server {
    /// The server that all tests of this user share, across processes: the one that the environment
    /// names, or the one that runs, or else one that is booted now.
    /// [`TestDb::new`](crate::TestDb::new) uses it too. It stops after the last process that uses it
    /// has ended. Blocks as [`Server::start`] does if it has to boot.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn shared() -> Result<Arc<Self>, TestkitError> {
        shared(&Template::new())
    }
}

/// The shared server. If this boots it, the server has this template already. Blocks.
///
/// A failed boot is not remembered: the next test tries again.
pub(crate) fn shared(template: &Template) -> Result<Arc<Server>, TestkitError> {
    let mut shared = lock(&SHARED);
    if let Some(server) = &*shared {
        // A server that was killed does not come back.
        let runs = |folder| server.manager.is_connected() || socket::listens(folder);
        if server.folder().is_none_or(runs) {
            return Ok(server.clone());
        }
    }
    let server = Arc::new(find_or_boot(template)?);
    *shared = Some(server.clone());
    Ok(server)
}

fn find_or_boot(template: &Template) -> Result<Server, TestkitError> {
    let places = Places::from_env();
    if let Some(url) = &places.database_url {
        return Server::running(url);
    }
    let user = OsUser::for_server()?;
    let cache = make_cache(&user)?;
    let name = name(&places, &user);
    let address = cache.join(&name);
    // Without a lock, and without asking a program for its version, because every test does this.
    if let Some(joined) = join(&address) {
        return Ok(joined);
    }
    let _lock = lock_file(
        &protocol::lock(&cache, &name),
        "another process to boot the server that all tests share",
    )?;
    if let Some(joined) = join(&address) {
        return Ok(joined);
    }
    let lookup = Lookup::search(&places);
    if let LookupResult::Running { url } = &lookup.result {
        return Server::running(url);
    }
    let installation = lookup.installation()?;
    let boot = Boot {
        linger: linger(),
        ..Boot::new(&installation, Profile::Fast, &user)
    };
    let booted = boot_from_seed(&boot, template)?;
    // Written and renamed, so that no process reads half of it.
    let new = protocol::new(&cache, &name);
    fs::write(&new, booted.folder().as_os_str().as_encoded_bytes())
        .and_then(|()| fs::rename(&new, &address))
        .map_err(TestkitError::files(&address))?;
    protocol::remove_dead(&cache, &user);
    Ok(Server::booted(booted))
}

/// Joins the server that this address file names, if it is alive.
fn join(address: &Path) -> Option<Server> {
    let folder = PathBuf::from(fs::read_to_string(address).ok()?);
    let lease = Lease::join(&folder)?;
    // If its supervisor was killed, the server is gone although other processes hold its lease.
    let stream = socket::connect(&folder).ok()?;
    let url = of_folder(&folder);
    let kind = Kind::Joined {
        folder,
        _lease: lease,
    };
    Some(Server::joined(url, kind, stream))
}

/// The name of the address file. It covers everything that decides which server is used.
fn name(places: &Places, user: &OsUser) -> String {
    let mut places = places.clone();
    // Test runners add folders of their own to the path, which do not matter.
    let matters = |folder: &PathBuf| {
        ["postgres", "pg_config"]
            .iter()
            .any(|program| folder.join(program).is_file())
    };
    places.path.retain(matters);
    // Two kits share a server only if both know that it speaks German.
    let locale = crate::locale::folder(user);
    let folders = Profile::Fast.folders();
    let decisive = format!("{places:?} {user:?} {folders:?} {locale:?}");
    let options: Vec<&str> = Profile::Fast.options().collect();
    let key = fnv([decisive.as_bytes(), options.join(" ").as_bytes()]);
    protocol::name(user, key)
}

/// How many seconds the server stays after the last test process: `BMDB_TESTKIT_LINGER`, else 1.
fn linger() -> u64 {
    env::var("BMDB_TESTKIT_LINGER")
        .ok()
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(LINGER, |seconds: u64| seconds.max(1))
}
