//! libpq's password file: lines of `host:port:database:user:password`.
//!
//! As in libpq, a file that cannot be used is warned of and ignored: the password may not be needed.

use crate::db::url::{DatabaseUrl, Host};
use crate::lock::lock;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What a password is looked up for.
pub(crate) struct Login<'a> {
    pub(crate) host: &'a Host,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

/// A password file. It is read for each connection, because passwords change while programs run.
#[derive(Debug, Clone)]
pub(crate) struct Passfile {
    path: PathBuf,
    /// Whether it is the one in the home folder, which need not exist.
    is_default: bool,
}

impl Passfile {
    /// The file that the URL names, or the one in the home folder.
    pub(crate) fn of(url: &DatabaseUrl, home: Option<&Path>) -> Option<Self> {
        let named = url.get("passfile").map(|path| Self {
            path: path.into(),
            is_default: false,
        });
        named.or_else(|| {
            home.map(|home| Self {
                path: home.join(".pgpass"),
                is_default: true,
            })
        })
    }

    /// The password of the first line that matches. Blocks.
    pub(crate) fn password(&self, login: &Login<'_>) -> Option<Vec<u8>> {
        match self.read() {
            Ok(bytes) => find(&bytes, login, |number| {
                self.warn(&format!("line {number} is not UTF-8 and is passed over"));
            }),
            Err(problem) => {
                if !problem.is_empty() {
                    self.warn(&format!("the file is ignored: {problem}"));
                }
                None
            }
        }
    }

    /// The file, or why it is ignored; an empty text if there is nothing to warn of.
    fn read(&self) -> Result<Vec<u8>, Cow<'static, str>> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(_) if self.is_default => return Err("".into()),
            Err(error) => return Err(error.to_string().into()),
        };
        // For example /dev/null, which says that there is no file, or a pipe, which might block for ever.
        if !metadata.is_file() {
            return Err("it is not a plain file".into());
        }
        if let Some(mode) = open_to_others(&metadata) {
            let problem = "others may read or change it";
            return Err(format!("{problem} (mode {mode:04o}); make that 0600").into());
        }
        fs::read(&self.path).map_err(|error| error.to_string().into())
    }

    /// Logs a problem, but not again for each connection.
    fn warn(&self, problem: &str) {
        static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let path = self.path.display();
        if lock(&WARNED).insert(format!("{path}: {problem}")) {
            tracing::warn!(%path, problem, "a password file (passfile, PGPASSFILE) has a problem");
        }
    }
}

#[cfg(unix)]
fn open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}

/// The folders of sockets that libpq takes for `localhost` in password files: its own default, and that of
/// Debian and Red Hat.
const DEFAULT_FOLDERS: [&str; 2] = ["/tmp", "/var/run/postgresql"];

/// The password of the first line that matches. In a line, `*` matches everything, and `\` escapes a literal
/// `:` or `\`. `passed_over` gets the numbers of lines before it that are not UTF-8: such a password is sent as
/// it is, but no such host or user exists.
fn find(file: &[u8], login: &Login<'_>, mut passed_over: impl FnMut(usize)) -> Option<Vec<u8>> {
    let port = login.host.port.to_string();
    let host = login.host.name.as_str();
    let rest = [port.as_str(), login.database, login.user];
    for (i, line) in file.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") {
            continue;
        }
        let after_host = after(line, host).or_else(|| {
            let is_local = DEFAULT_FOLDERS.contains(&host);
            is_local.then(|| after(line, "localhost"))?
        });
        let password = rest.iter().try_fold(after_host, |line, wanted| {
            line.map(|line| after(line, wanted))
        });
        match password.flatten() {
            Some(password) => {
                // A colon after the password ends it.
                let password = field(password).map_or(password, |(password, _)| password);
                let password = unescaped(password);
                return (!password.is_empty()).then_some(password);
            }
            None if std::str::from_utf8(line).is_err() => passed_over(i + 1),
            None => {}
        }
    }
    None
}

/// The line after its first field, if that matches.
fn after<'a>(line: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let (field, after) = field(line)?;
    (field == b"*" || unescaped(field) == wanted.as_bytes()).then_some(after)
}

/// The bytes before the first `:` that is not escaped, and the bytes after it.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = line.iter().position(|byte| {
        let ends = *byte == b':' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some((&line[..end], &line[end + 1..]))
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            byte => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(file: &[u8], host: &str, user: &str) -> (Option<String>, Vec<usize>) {
        let host = &Host {
            name: host.to_owned(),
            address: None,
            port: 5432,
        };
        let login = Login {
            host,
            database: "db",
            user,
        };
        let mut passed_over = Vec::new();
        let found = find(file, &login, |line| passed_over.push(line));
        let found = found.map(|password| String::from_utf8_lossy(&password).into_owned());
        (found, passed_over)
    }

    #[test]
    fn the_first_matching_line_has_the_password() {
        let file = "# comment:5432:db:u:no\n\
                    other:*:*:*:no\n\
                    h:5432:db:somebody:no\n\
                    h:5432:db:w:\n\
                    h\\:1:5432:*:a\\\\b:colon\\:ed:ignored\r\n\
                    broken line\n\
                    localhost:*:*:s:socket\n\
                    *:*:*:u:it's\\\\\n\
                    *:*:*:*:last";
        for (host, user, expected) in [
            ("h", "u", Some("it's\\")),
            ("h:1", "a\\b", Some("colon:ed")),
            ("h", "v", Some("last")),
            ("h", "w", None),
            ("other", "u", Some("no")),
            ("/var/run/postgresql", "s", Some("socket")),
            ("/elsewhere", "s", Some("last")),
        ] {
            let (found, _) = password(file.as_bytes(), host, user);
            assert_eq!(found.as_deref(), expected, "{host} {user}");
        }
        assert_eq!(password(b"", "h", "u").0, None);
    }

    /// A file with one old line in Latin-1 kept every login from its password.
    #[test]
    fn a_line_that_is_not_utf8_is_passed_over_alone() {
        let file = b"h:*:*:m\xfcller:no\n*:*:*:u:pass\nh:*:*:k\xf6nig:no\n";
        assert_eq!(password(file, "h", "u"), (Some("pass".to_owned()), vec![1]));
        assert_eq!(password(file, "h", "v"), (None, vec![1, 3]));
    }
}
