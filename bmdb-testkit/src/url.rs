//! What is done to connection strings: making one for a socket's folder, naming another database.

use std::fmt::Write;
use std::path::Path;

/// The administrative database of the server with its socket in this folder.
pub(crate) fn of_folder(folder: &Path) -> String {
    let mut url = String::from("postgresql://postgres@/postgres?host=");
    for byte in folder.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' => url.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
            // Writing to a String does not fail.
            byte => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

/// The same server and user, another database. `name` needs no quoting.
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
    use super::{of_folder, with_database};
    use std::path::{Path, PathBuf};
    use tokio_postgres::config::Host;

    #[test]
    fn a_folder_of_any_name_is_read_back_as_it_is() {
        for folder in ["/dev/shm/bmdb-1", "/tmp/my tests/50%/a&b=c?d#e/ü"] {
            let config: tokio_postgres::Config = of_folder(Path::new(folder)).parse().unwrap();
            assert_eq!(config.get_hosts(), [Host::Unix(PathBuf::from(folder))]);
        }
    }

    #[test]
    fn the_database_changes_and_nothing_else() {
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
}
