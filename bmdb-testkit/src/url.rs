//! Connection strings: makes one for a socket's folder, and changes the database or user of one.

use crate::socket::PORT;
use std::fmt::Write;
use std::path::Path;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The administrative database of the server whose socket is in this folder.
pub(crate) fn of_folder(folder: &Path) -> String {
    let folder = encoded(folder.as_os_str().as_encoded_bytes()).replace("%2F", "/");
    format!("postgresql://postgres@/postgres?host={folder}")
}

/// A database on the first of these servers that accepts writes, with the user of the first.
pub(crate) fn of_writable<'a>(urls: impl Iterator<Item = &'a str>, name: &str) -> String {
    let servers: Vec<Config> = urls.filter_map(|url| url.parse().ok()).collect();
    // For several hosts libpq wants commas in the parameter, which tokio-postgres does not split. Both
    // read hosts that stand before the path.
    let hosts: Vec<String> = servers.iter().flat_map(hosts).collect();
    let first = servers.first();
    let user = first.and_then(Config::get_user).unwrap_or("postgres");
    let mut user = encoded(user.as_bytes());
    if let Some(password) = first.and_then(Config::get_password) {
        user = format!("{user}:{}", encoded(password));
    }
    let (hosts, name) = (hosts.join(","), encoded(name.as_bytes()));
    format!("postgresql://{user}@{hosts}/{name}?target_session_attrs=read-write")
}

fn hosts(server: &Config) -> impl Iterator<Item = String> {
    let ports = server.get_ports();
    server.get_hosts().iter().enumerate().map(|(i, host)| {
        let host = match host {
            Host::Tcp(name) => encoded(name.as_bytes()),
            Host::Unix(folder) => encoded(folder.as_os_str().as_encoded_bytes()),
        };
        // A single port applies to all hosts.
        let port = ports.get(i).or(ports.first()).copied().unwrap_or(PORT);
        format!("{host}:{port}")
    })
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The same URL with another user; the password stays. `user` must not need quoting.
pub(crate) fn with_user(url: &str, user: &str) -> String {
    // A later key overrides an earlier one, in either form.
    match url.split_once("://") {
        None => format!("{url} user={user}"),
        Some((_, rest)) if rest.contains('?') => format!("{url}&user={user}"),
        Some(_) => format!("{url}?user={user}"),
    }
}

/// The same URL with another database. `name` must not need quoting.
pub(crate) fn with_database(url: &str, name: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // In the form `host=… dbname=…` a later key overrides an earlier one.
        return format!("{url} dbname={name}");
    };
    let (before, parameters) = match rest.split_once('?') {
        Some((before, parameters)) => (before, format!("?{parameters}")),
        None => (rest, String::new()),
    };
    let authority = before.split_once('/').map_or(before, |(a, _)| a);
    format!("{scheme}://{authority}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::{of_folder, of_writable, with_database, with_user};
    use std::path::{Path, PathBuf};
    use tokio_postgres::config::{Host, TargetSessionAttrs};

    #[test]
    fn a_folder_name_with_special_characters_is_read_back() {
        for folder in ["/dev/shm/bmdb-1", "/tmp/my tests/50%/a&b=c?d#e/ü"] {
            let config: tokio_postgres::Config = of_folder(Path::new(folder)).parse().unwrap();
            assert_eq!(config.get_hosts(), [Host::Unix(PathBuf::from(folder))]);
        }
    }

    #[test]
    fn only_the_database_changes() {
        for (url, expected) in [
            (
                "postgresql://postgres@/postgres?host=/dev/shm/x",
                "postgresql://postgres@/new?host=/dev/shm/x",
            ),
            (
                "postgres://u:p@h1:1,h2:2/a?sslmode=disable",
                "postgres://u:p@h1:1,h2:2/new?sslmode=disable",
            ),
            ("postgres://localhost", "postgres://localhost/new"),
            (
                "postgres://localhost?user=u",
                "postgres://localhost/new?user=u",
            ),
            ("host=/tmp dbname=a", "host=/tmp dbname=a dbname=new"),
        ] {
            let changed = with_database(url, "new");
            assert_eq!(changed, expected);
            let config: tokio_postgres::Config = changed.parse().unwrap();
            assert_eq!(config.get_dbname(), Some("new"), "{url}");
        }
    }

    #[test]
    fn only_the_user_changes() {
        for (url, expected) in [
            (
                "postgresql://postgres@/a?host=/dev/shm/x",
                "postgresql://postgres@/a?host=/dev/shm/x&user=new",
            ),
            ("postgres://u:p@h/a", "postgres://u:p@h/a?user=new"),
            (
                "host=/tmp user=u dbname=a",
                "host=/tmp user=u dbname=a user=new",
            ),
        ] {
            let changed = with_user(url, "new");
            assert_eq!(changed, expected);
            let (old, new): (tokio_postgres::Config, tokio_postgres::Config) =
                (url.parse().unwrap(), changed.parse().unwrap());
            assert_eq!(new.get_user(), Some("new"), "{url}");
            assert_eq!(new.get_password(), old.get_password());
            assert_eq!(new.get_dbname(), Some("a"));
        }
    }

    #[test]
    fn several_servers_are_read_back_in_order() {
        let folder = of_folder(Path::new("/tmp/a b,c"));
        let urls = ["postgres://u:p%40@h:1/a?sslmode=disable", folder.as_str()];
        let url = of_writable(urls.into_iter(), "new");
        let config: tokio_postgres::Config = url.parse().unwrap();
        let unix = Host::Unix(PathBuf::from("/tmp/a b,c"));
        assert_eq!(config.get_hosts(), [Host::Tcp("h".to_owned()), unix]);
        assert_eq!(config.get_ports(), [1, 5432]);
        assert_eq!(config.get_user(), Some("u"));
        assert_eq!(config.get_password(), Some(b"p@".as_slice()));
        assert_eq!(config.get_dbname(), Some("new"));
        let attributes = config.get_target_session_attrs();
        assert_eq!(attributes, TargetSessionAttrs::ReadWrite);
    }
}
