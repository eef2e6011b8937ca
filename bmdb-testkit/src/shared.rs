//! The server that all test processes of a user share, without any set-up: the first comer boots
//! it, the others find it by a file in the cache, and it goes with the last of them.

mod protocol;

use crate::TestkitError;
use crate::cache::make_cache;
use crate::hash::fnv;
use crate::lease::Lease;
use crate::limit::lock;
use crate::lookup::{Lookup, LookupResult, Places};
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::server::{Kind, Server, boot};
use crate::socket;
use crate::tcp::Listening;
use crate::template::Template;
use crate::url::of_folder;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The server of all tests of this process. A static is never dropped: the end of the process ends
/// its lease.
static SHARED: Mutex<Option<Arc<Server>>> = Mutex::new(None);

/// A runner starts the next test a moment after the last one has ended.
const LINGER: u64 = 1;

/// A server that another process has booted.
#[derive(Debug)]
pub(crate) struct Joined {
    folder: PathBuf,
    _lease: Lease,
}

impl Joined {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The server that this process's tests share, with each other and with other processes. Blocks.
///
/// A failed boot is not remembered: the next test tries again.
pub(crate) fn shared(template: &Template) -> Result<Arc<Server>, TestkitError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = &*shared {
        // One that somebody has killed does not come back.
        let lives = |folder| server.keeper.is_connected() || socket::listens(folder);
        if server.folder().is_none_or(lives) {
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
    let account = OsUser::for_server()?;
    let cache = make_cache(&account)?;
    let name = name(&places, &account);
    let word = cache.join(&name);
    // Without a lock, and without asking a program for its version: this is every test's way in.
    if let Some(joined) = join(&word) {
        return Ok(joined);
    }
    let _gate = lock(
        &protocol::lock(&cache, &name),
        "another process to boot the server that all tests share",
    )?;
    if let Some(joined) = join(&word) {
        return Ok(joined);
    }
    let lookup = Lookup::search(&places);
    if let LookupResult::Running { url } = &lookup.result {
        return Server::running(url);
    }
    let booted = boot(
        &lookup.installation()?,
        Profile::Fast,
        template,
        linger(),
        &Listening::default(),
    )?;
    // Renamed, so that nobody reads half of it.
    let new = protocol::new(&cache, &name);
    fs::write(&new, booted.folder().as_os_str().as_encoded_bytes())
        .and_then(|()| fs::rename(&new, &word))
        .map_err(TestkitError::files(&word))?;
    protocol::remove_dead(&cache, &account);
    Ok(Server::new(booted.url(), Kind::Booted(booted)))
}

/// Joins the server that the word in this file tells of, if it is alive.
fn join(word: &Path) -> Option<Server> {
    let folder = PathBuf::from(fs::read_to_string(word).ok()?);
    let lease = Lease::join(&folder)?;
    // A server whose supervisor was killed is gone before all of its holders are.
    let stream = socket::connect(&folder).ok()?;
    let url = of_folder(&folder);
    let joined = Joined {
        folder,
        _lease: lease,
    };
    Some(Server::joined(url, joined, stream))
}

/// The name of the file that tells which server runs. Contains all that decides which one it is.
fn name(places: &Places, account: &OsUser) -> String {
    let mut places = places.clone();
    // Runners put folders of their own into the path.
    let decides = |folder: &PathBuf| {
        ["postgres", "pg_config"]
            .iter()
            .any(|program| folder.join(program).is_file())
    };
    places.path.retain(decides);
    let decisive = format!("{places:?} {account:?} {:?}", Profile::Fast.folders());
    let options: Vec<&str> = Profile::Fast.options().collect();
    let key = fnv([decisive.as_bytes(), options.join(" ").as_bytes()]);
    protocol::name(account, key)
}

/// How many seconds the server stays when no test process is left: `BMDB_TESTKIT_LINGER`, else 1.
fn linger() -> u64 {
    env::var("BMDB_TESTKIT_LINGER")
        .ok()
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(LINGER, |seconds: u64| seconds.max(1))
}
