//! An installation: the programs of one PostgreSQL.

use crate::command::ask;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version with everything that the schema uses.
pub(crate) const OLDEST_MAJOR: u32 = 14;

/// A folder with the programs of a usable PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    bin: PathBuf,
    version: (u32, u32),
}

impl Installation {
    /// The installation whose programs are in this folder.
    ///
    /// # Errors
    /// Why it cannot be used, as text for people.
    pub fn at(bin: &Path) -> Result<Self, String> {
        let server = bin.join("postgres");
        for program in [&server, &bin.join("initdb")] {
            if !program.is_file() {
                return Err(format!("{} does not exist", program.display()));
            }
        }
        let text = ask(Command::new(&server).arg("--version"))?;
        let version = parse_version(&text).ok_or_else(|| {
            format!(
                "`{} --version` printed {:?}, which contains no version",
                server.display(),
                text
            )
        })?;
        if version.0 < OLDEST_MAJOR {
            return Err(format!(
                "{} is PostgreSQL {}, older than {OLDEST_MAJOR}",
                server.display(),
                version.0
            ));
        }
        Ok(Self {
            bin: bin.to_owned(),
            version,
        })
    }

    /// The folder of the programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Major and minor version.
    #[must_use]
    pub const fn version(&self) -> (u32, u32) {
        self.version
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}.{}", self.version.0, self.version.1)
    }
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, and `19beta1` too.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_once(") ")?.1.split_whitespace().next()?;
    let mut parts = number
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().ok());
    let major = parts.next()??;
    // `19beta1` has no minor version. Reading the 1 as one is harmless: it is only used for sorting.
    Some((major, parts.find_map(|part| part).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_betas_and_distributions_are_read() {
        for (text, version) in [
            ("postgres (PostgreSQL) 18.1", Some((18, 1))),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Some((15, 18)),
            ),
            ("postgres (PostgreSQL) 19devel", Some((19, 0))),
            ("postgres (PostgreSQL) 9.6.24", Some((9, 6))),
            ("command not found", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }
}
