//! Attempt: one try to connect to one address of a server.

use super::driver::{self, Payloads};
use super::explain::{NO_LOGIN, Peer};
use super::liveness::Liveness;
use super::negotiation::Encryption;
use super::role::Role;
use super::socket::{Address, Socket};
use super::stream::Negotiated;
use crate::error::ConnectError;
use bmdb_model::internal::connection::{ConnectionInfo, set_up};
use diesel_async::AsyncPgConnection;
use tokio_postgres::Config as PgConfig;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The oldest PostgreSQL that has all features we use.
const OLDEST_SERVER: u32 = 14;

/// A connection that is ready for statements.
pub(crate) struct Connected {
    pub(crate) conn: AsyncPgConnection,
    pub(crate) info: ConnectionInfo,
    /// The notifications that it receives. diesel-async's own stream of them stays empty.
    pub(crate) payloads: Payloads,
}

/// One try to connect to one address of a server.
pub(super) struct Attempt<'a> {
    /// With the address in its name if it has several.
    pub(super) peer: Peer<'a>,
    /// Whose certificate is expected.
    pub(super) hostname: &'a str,
    pub(super) liveness: &'a Liveness,
    pub(super) address: &'a Address,
    pub(super) config: &'a PgConfig,
    pub(super) tls: Option<&'a MakeRustlsConnect>,
}

impl Attempt<'_> {
    pub(super) async fn connect(&self, role: Role) -> Result<Connected, ConnectError> {
        let (mut conn, payloads) = self.try_each_mode().await?;
        let target = || self.peer.name.to_owned();
        let info = set_up(&mut conn)
            .await
            .map_err(|reason| ConnectError::SetUp {
                target: target(),
                reason,
            })?;
        info.check_encoding()
            .map_err(|encoding| ConnectError::NotUtf8 {
                target: target(),
                encoding,
            })?;
        match role.missing(&info) {
            None => Ok(Connected {
                conn,
                info,
                payloads,
            }),
            Some(wanted) => Err(ConnectError::OtherRole {
                target: target(),
                wanted,
            }),
        }
    }

    async fn try_each_mode(&self) -> Result<(AsyncPgConnection, Payloads), ConnectError> {
        let mut refusal = None;
        for mode in self.peer.tls.tries() {
            let error = match self.open(*mode).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let other_mode_may_do = is_about_encryption(&error);
            // If both modes are refused, the refusal of the encrypted one says more.
            if refusal.is_none() || *mode != SslMode::Disable || !other_mode_may_do {
                refusal = Some(error);
            }
            if !other_mode_may_do {
                break;
            }
        }
        Err(refusal.unwrap_or_else(|| unreachable!("every mode has at least one attempt")))
    }

    async fn open(&self, mode: SslMode) -> Result<(AsyncPgConnection, Payloads), ConnectError> {
        let peer = self.peer;
        let socket = Socket::connect(self.address, self.liveness).await;
        let socket = socket.map_err(|error| peer.unreachable(error))?;
        let encryption = Encryption {
            mode,
            is_direct: peer.tls.is_direct(),
            tls: self.tls.cloned(),
            hostname: self.hostname.to_owned(),
        };
        let stream = encryption.negotiate(socket).await;
        let stream = stream.map_err(|error| peer.explain_negotiation(error))?;
        let started = self.config.connect_raw(stream, Negotiated).await;
        let (client, connection) = started.map_err(|error| peer.explain_startup(&error))?;
        let version = connection
            .parameter("server_version")
            .unwrap_or("unknown")
            .to_owned();
        if !is_supported(&version) {
            return Err(ConnectError::UnsupportedServer {
                target: self.peer.name.to_owned(),
                version,
            });
        }
        driver::drive(client, connection)
            .await
            .map_err(|error| peer.unreachable(error))
    }
}

/// Whether the server may accept an encrypted connection instead of an unencrypted one, or vice versa. As in
/// libpq, any refusal may be due to it: a line of `pg_hba.conf` for only one of both may want another password.
fn is_about_encryption(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { message, .. } => !message.starts_with(NO_LOGIN),
        ConnectError::NotEncrypted { .. }
        | ConnectError::ServerNotTrusted { .. }
        | ConnectError::ClientNotTrusted { .. }
        | ConnectError::Tls { .. } => true,
        _ => false,
    }
}

fn is_supported(version: &str) -> bool {
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    major
        .parse::<u32>()
        .is_ok_and(|major| major >= OLDEST_SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_older_than_14_and_others_are_not_supported() {
        for good in ["14.0", "15.18 (Debian 15.18-0+deb12u1)", "18beta1"] {
            assert!(is_supported(good), "{good}");
        }
        for bad in ["13.22", "9.6.24", "unknown", "", "CockroachDB"] {
            assert!(!is_supported(bad), "{bad}");
        }
    }
}
