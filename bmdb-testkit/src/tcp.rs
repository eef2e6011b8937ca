//! Servers that are reached over TCP, encrypted or not, and whom they let in.

use crate::TestkitError;
use crate::installation::Installation;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::server::{Kind, Server, boot};
use crate::socket::PORT;
use crate::template::Template;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// A port that was free may be somebody else's a moment later.
const TRIES: usize = 3;

/// How a server of [`Server::boot_tcp`] is reached at 127.0.0.1.
#[derive(Clone, Default)]
pub struct Tcp {
    identity: Option<(String, String)>,
    clients: Option<String>,
    rules: Vec<String>,
}

impl Tcp {
    /// Without encryption, and open to everybody who can reach 127.0.0.1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With TLS, as who this certificate says; both in PEM form. Connections without are let in as well,
    /// unless [`Tcp::rules`] say otherwise.
    #[must_use]
    pub fn tls(self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            identity: Some((certificate.into(), key.into())),
            ..self
        }
    }

    /// Trusts clients whose certificates one of these authorities has signed, and asks for such
    /// certificates; whether they are needed is said by the rules. In PEM form.
    #[must_use]
    pub fn client_authorities(self, certificates: impl Into<String>) -> Self {
        Self {
            clients: Some(certificates.into()),
            ..self
        }
    }

    /// Lines of `pg_hba.conf` for those who come over TCP, such as
    /// `hostssl all all 127.0.0.1/32 trust clientcert=verify-ca`. Connections over the unix socket are
    /// always let in.
    #[must_use]
    pub fn rules<S: Into<String>>(self, lines: impl IntoIterator<Item = S>) -> Self {
        Self {
            rules: lines.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Puts its files into a data directory.
    fn write(&self, data: &Path, account: &OsUser) -> Result<(), TestkitError> {
        let mut files = Vec::new();
        if let Some((certificate, key)) = &self.identity {
            files.extend([("server.crt", certificate), ("server.key", key)]);
        }
        files.extend(self.clients.iter().map(|clients| ("clients.crt", clients)));
        let mut rules = vec!["local all all trust".to_owned()];
        if self.rules.is_empty() {
            rules.push("host all all 127.0.0.1/32 trust".to_owned());
        }
        rules.extend_from_slice(&self.rules);
        let rules = rules.join("\n") + "\n";
        files.push(("pg_hba.conf", &rules));
        for (name, text) in files {
            let path = data.join(name);
            // It may be there, with other contents.
            let mut file = fs::OpenOptions::new();
            file.write(true).create(true).truncate(true).mode(0o600);
            let written = file.open(&path).and_then(|mut file| {
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                std::io::Write::write_all(&mut file, text.as_bytes())
            });
            written.map_err(TestkitError::files(&path))?;
            account.give(&path)?;
        }
        Ok(())
    }

    fn options(&self) -> Vec<String> {
        let mut options = vec!["listen_addresses=127.0.0.1".to_owned()];
        if self.identity.is_some() {
            options.extend(
                [
                    "ssl=on",
                    "ssl_cert_file=server.crt",
                    "ssl_key_file=server.key",
                ]
                .map(ToOwned::to_owned),
            );
        }
        if self.clients.is_some() {
            options.push("ssl_ca_file=clients.crt".to_owned());
        }
        options
    }
}

/// Without the key.
impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp")
            .field("tls", &self.identity.is_some())
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Where a server listens besides what every server does.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    /// Of its socket as well.
    pub(crate) port: u16,
    tcp: Option<Arc<Tcp>>,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            port: PORT,
            tcp: None,
        }
    }
}

impl Listening {
    fn on(tcp: &Tcp) -> Result<Self, TestkitError> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let place = "127.0.0.1".to_owned();
        let free = free.map_err(|source| TestkitError::Listen { place, source })?;
        Ok(Self {
            port: free.port(),
            tcp: Some(Arc::new(tcp.clone())),
        })
    }

    pub(crate) fn write(&self, data: &Path, account: &OsUser) -> Result<(), TestkitError> {
        match &self.tcp {
            Some(tcp) => tcp.write(data, account),
            None => Ok(()),
        }
    }

    /// What is set on the command line, behind the profile's.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options = self.tcp.as_ref().map_or_else(Vec::new, |tcp| tcp.options());
        if self.port != PORT {
            options.push(format!("port={}", self.port));
        }
        options
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.tcp.is_some()
    }
}

impl Server {
    /// Boots a server as [`Server::boot`] does, which is reached over TCP as well: at 127.0.0.1 and
    /// [`Server::port`]. [`Server::url`] is that of its unix socket, where nothing is encrypted. Blocks.
    ///
    /// # Errors
    /// Those of [`Server::boot`]; [`TestkitError::Listen`] where there is no free port.
    pub fn boot_tcp(
        installation: &Installation,
        profile: Profile,
        tcp: &Tcp,
    ) -> Result<Self, TestkitError> {
        let once = || {
            let listening = Listening::on(tcp)?;
            boot(installation, profile, &Template::new(), 0, &listening)
        };
        let mut booted = once();
        for _ in 1..TRIES {
            match &booted {
                Err(error) if error.to_string().contains("Address already in use") => {
                    booted = once();
                }
                _ => break,
            }
        }
        let booted = booted?;
        Ok(Self::new(booted.url(), Kind::Booted(booted)))
    }

    /// The port of 127.0.0.1 at which a server of [`Server::boot_tcp`] is reached.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.kind {
            Kind::Booted(booted) => booted.tcp_port(),
            Kind::Running | Kind::Joined(_) => None,
        }
    }
}
