//! TCP: how a server listens on it, with or without TLS, and which clients it accepts.

use crate::TestkitError;
use crate::os_user::OsUser;
use crate::socket::PORT;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// How a server of [`Server::boot_tcp`](crate::Server::boot_tcp) listens at 127.0.0.1.
#[derive(Clone, Default)]
pub struct Tcp {
    identity: Option<(String, String)>,
    clients: Option<String>,
    rules: Vec<String>,
}

impl Tcp {
    /// Without encryption, for every client on this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With TLS and this certificate, both in PEM form. The server still accepts unencrypted connections,
    /// unless [`Tcp::rules`] reject them.
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Asks clients for a certificate that one of these authorities has signed, in PEM form. Whether a
    /// client needs one depends on [`Tcp::rules`].
    #[must_use]
    pub fn client_authorities(mut self, certificates: impl Into<String>) -> Self {
        self.clients = Some(certificates.into());
        self
    }

    /// Lines of `pg_hba.conf` for TCP, such as
    /// `hostssl all all 127.0.0.1/32 trust clientcert=verify-ca`. The server always accepts connections
    /// over the unix socket.
    #[must_use]
    pub fn rules<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.rules = lines.into_iter().map(Into::into).collect();
        self
    }

    /// Writes its files into a data directory.
    fn write(&self, data: &Path, user: &OsUser) -> Result<(), TestkitError> {
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
            // The file may exist with other contents.
            let mut file = fs::OpenOptions::new();
            file.write(true).create(true).truncate(true).mode(0o600);
            let written = file.open(&path).and_then(|mut file| {
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                std::io::Write::write_all(&mut file, text.as_bytes())
            });
            written.map_err(TestkitError::files(&path))?;
            user.give(&path)?;
        }
        Ok(())
    }

    fn options(&self) -> Vec<&'static str> {
        let mut options = vec!["listen_addresses=127.0.0.1"];
        if self.identity.is_some() {
            options.extend([
                "ssl=on",
                "ssl_cert_file=server.crt",
                "ssl_key_file=server.key",
            ]);
        }
        if self.clients.is_some() {
            options.push("ssl_ca_file=clients.crt");
        }
        options
    }
}

impl std::fmt::Debug for Tcp {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp")
            .field("tls", &self.identity.is_some())
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The port of its TCP and unix socket.
    pub(crate) port: u16,
    tcp: Option<Arc<Tcp>>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            port: PORT,
            tcp: None,
        }
    }
}

impl Endpoint {
    /// A free port, which another process may take before the server listens.
    pub(crate) fn on_free_port(tcp: &Tcp) -> Result<Self, TestkitError> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let address = "127.0.0.1".to_owned();
        let free = free.map_err(|source| TestkitError::Listen { address, source })?;
        Ok(Self {
            port: free.port(),
            tcp: Some(Arc::new(tcp.clone())),
        })
    }

    pub(crate) fn write(&self, data: &Path, user: &OsUser) -> Result<(), TestkitError> {
        match &self.tcp {
            Some(tcp) => tcp.write(data, user),
            None => Ok(()),
        }
    }

    /// The options for the server's command line, after the profile's.
    pub(crate) fn options(&self) -> Vec<String> {
        let tcp = self.tcp.iter().flat_map(|tcp| tcp.options());
        let mut options: Vec<String> = tcp.map(ToOwned::to_owned).collect();
        if self.port != PORT {
            options.push(format!("port={}", self.port));
        }
        options
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.tcp.is_some()
    }
}
