//! The URL of a server's database through a proxy.

use super::listener::Address;
use super::server::Server;
use crate::socket::PORT;
use crate::url::encoded;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// The same database, reached at this address.
pub(super) fn through(address: &Address, server: &Server, config: &Config) -> String {
    match address {
        Address::Tcp(address) => {
            let host = address.ip().to_string();
            url(&host, address.port(), server, config)
        }
        Address::Unix(socket) => {
            let folder = socket.parent().unwrap_or(socket);
            let host = encoded(folder.as_os_str().as_encoded_bytes());
            // The port is part of the socket's file name.
            url(&host, PORT, server, config)
        }
    }
}

fn url(host: &str, port: u16, server: &Server, config: &Config) -> String {
    let mut parameters = Vec::new();
    let user = match (config.get_user(), config.get_password()) {
        (Some(user), Some(password)) => {
            let (user, password) = (encoded(user.as_bytes()), encoded(password));
            format!("{user}:{password}@")
        }
        (Some(user), None) => format!("{}@", encoded(user.as_bytes())),
        // Before the host a password needs a user, and an empty user differs from none.
        (None, Some(password)) => {
            parameters.push(("password", encoded(password)));
            String::new()
        }
        (None, None) => String::new(),
    };
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
    match (config.get_ssl_mode(), server) {
        (SslMode::Disable, _) => parameters.push(("sslmode", "disable".to_owned())),
        // libpq ignores the mode on a unix socket, where the server has no TLS.
        (SslMode::Require, Server::Tcp(_)) => parameters.push(("sslmode", "require".to_owned())),
        _ => {}
    }
    let database = config.get_dbname().unwrap_or_default();
    let mut url = format!(
        "postgresql://{user}{host}:{port}/{}",
        encoded(database.as_bytes())
    );
    for (i, (key, value)) in parameters.iter().enumerate() {
        let separator = if i == 0 { '?' } else { '&' };
        url = format!("{url}{separator}{key}={value}");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "%2Ftmp%2Fa%20folder";

    #[test]
    fn everything_but_the_address_is_kept() {
        for before in [
            "postgresql://postgres@/postgres?host=/dev/shm/x",
            "postgres://a%20%27%40:p%2F%25%3A%ff@h1:1/d%3Fb?options=-c%20a%3D%27b%5C%20c%27",
            r"host=h password='a \'b\' \\ & = ?' dbname='ünï code' application_name='a+b'",
            "host=h user=u options='-c search_path=a,b' connect_timeout=7 sslmode=disable",
            "host=h user=u",
            "host=h",
        ] {
            let before: Config = before.parse().unwrap();
            for host in ["127.0.0.1", SOCKET] {
                let server = Server::Tcp(Vec::new());
                let after = url(host, 5432, &server, &before);
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
    fn a_folder_name_is_escaped() {
        let server = Server::Tcp(Vec::new());
        let url = url(SOCKET, 5432, &server, &Config::new());
        let config: Config = url.parse().unwrap();
        let folder = tokio_postgres::config::Host::Unix("/tmp/a folder".into());
        assert_eq!(config.get_hosts(), [folder]);
    }
}
