//! The URL under which a proxy shows the database of its server.

use super::listener::{Door, Place};
use super::target::Target;
use crate::socket::PORT;
use crate::url::encoded;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// The same database, reached by this door.
pub(super) fn through(door: &Door, target: &Target, config: &Config) -> String {
    match door.place() {
        Place::Tcp(address) => {
            let host = address.ip().to_string();
            url(&host, address.port(), target, config)
        }
        Place::Unix(socket) => {
            let folder = socket.parent().unwrap_or(socket);
            // The port says which name the socket has.
            url(
                &encoded(folder.as_os_str().as_encoded_bytes()),
                PORT,
                target,
                config,
            )
        }
    }
}

fn url(host: &str, port: u16, target: &Target, config: &Config) -> String {
    let mut url = "postgresql://".to_owned();
    let mut parameters = Vec::new();
    match (config.get_user(), config.get_password()) {
        (Some(user), Some(password)) => {
            let (user, password) = (encoded(user.as_bytes()), encoded(password));
            url = format!("{url}{user}:{password}@");
        }
        (Some(user), None) => url = format!("{url}{}@", encoded(user.as_bytes())),
        // Before the host it would need a user, and an empty one is not none.
        (None, Some(password)) => parameters.push(("password", encoded(password))),
        (None, None) => {}
    }
    url = format!("{url}{host}:{port}/");
    if let Some(name) = config.get_dbname() {
        url += &encoded(name.as_bytes());
    }
    let texts = [
        ("options", config.get_options()),
        ("application_name", config.get_application_name()),
    ];
    for (key, text) in texts {
        parameters.extend(text.map(|text| (key, encoded(text.as_bytes()))));
    }
    if let Some(timeout) = config.get_connect_timeout() {
        parameters.push(("connect_timeout", timeout.as_secs().to_string()));
    }
    match (config.get_ssl_mode(), target) {
        (SslMode::Disable, _) => parameters.push(("sslmode", "disable".to_owned())),
        // On a unix socket libpq does not care, and the server has none.
        (SslMode::Require, Target::Tcp(_)) => parameters.push(("sslmode", "require".to_owned())),
        _ => {}
    }
    for (i, (key, value)) in parameters.iter().enumerate() {
        let before = if i == 0 { '?' } else { '&' };
        url = format!("{url}{before}{key}={value}");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "%2Ftmp%2Fa%20folder";

    #[test]
    fn everything_but_the_place_stays_what_it_was() {
        for before in [
            "postgresql://postgres@/postgres?host=/dev/shm/x",
            "postgres://a%20%27%40:p%2F%25%3A%ff@h1:1/d%3Fb?options=-c%20a%3D%27b%5C%20c%27",
            r"host=h password='a \'b\' \\ & = ?' dbname='ünï code' application_name='a+b'",
            "host=h user=u options='-c search_path=a,b' connect_timeout=7 sslmode=disable",
            "host=h user=u",
            "host=h",
        ] {
            let before: Config = before.parse().unwrap();
            for place in ["127.0.0.1", SOCKET] {
                let target = Target::Tcp(Vec::new());
                let after = url(place, 5432, &target, &before);
                let after: Config = after.parse().unwrap();
                let of = |config: &Config| {
                    (
                        config.get_user().map(ToOwned::to_owned),
                        config.get_password().map(ToOwned::to_owned),
                        config.get_dbname().map(ToOwned::to_owned),
                        config.get_options().map(ToOwned::to_owned),
                        config.get_application_name().map(ToOwned::to_owned),
                        config.get_connect_timeout().copied(),
                        config.get_ssl_mode(),
                    )
                };
                assert_eq!(of(&after), of(&before), "{before:?}");
                assert_eq!(after.get_hosts().len(), 1);
                assert_eq!(after.get_ports(), [5432]);
            }
        }
    }

    #[test]
    fn a_folder_is_named_whatever_is_in_its_name() {
        let target = Target::Tcp(Vec::new());
        let url = url(SOCKET, 5432, &target, &Config::new());
        let config: Config = url.parse().unwrap();
        let folder = tokio_postgres::config::Host::Unix("/tmp/a folder".into());
        assert_eq!(config.get_hosts(), [folder]);
    }
}
