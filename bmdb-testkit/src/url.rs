//! The one thing done to connection strings: naming another database.

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
    use super::with_database;

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
