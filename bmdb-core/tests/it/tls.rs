//! Encrypted connections to a real server, with certificate authorities made for the test.

mod authority;
mod clients;
mod cycle;
mod files;
mod kinds;
mod modes;

pub(crate) use authority::{Authority, Identity};

use crate::dedicated_server::installed;
use bmdb_core::{Bmdb, Config, ConnectError};
use bmdb_testkit::{Installation, Profile, Server, Tcp, TestDb};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A dedicated server that listens on TCP, and a database on it.
pub(crate) struct Tls {
    pub(crate) server: Arc<Server>,
    pub(crate) db: TestDb,
}

impl Tls {
    /// `None`, with a message, if no installed server can encrypt: those from package registries cannot.
    pub(crate) async fn boot(tcp: Tcp) -> Option<Self> {
        let boot = move || installed().find_map(|installation| encrypting(&installation, &tcp));
        let Some(server) = tokio::task::spawn_blocking(boot).await.unwrap() else {
            not_tested();
            return None;
        };
        let server = Arc::new(server);
        let db = TestDb::on(&server).await.unwrap();
        Some(Self { server, db })
    }

    /// The database at `localhost`, with these parameters.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname={} {parameters}",
            self.server.port().unwrap(),
            self.db.name()
        )
    }

    /// Connects, and returns whether all connections are encrypted.
    pub(crate) async fn is_encrypted(&self, parameters: &str) -> Result<bool, ConnectError> {
        let component = format!("test {}", uuid());
        let config = Config::new(self.url(parameters)).component(&component);
        let bmdb = Bmdb::connect(config.janitor_interval(None)).await?;
        let all = self.encrypted(&component).await;
        drop(bmdb);
        assert!(!all.is_empty(), "no connection is open");
        Ok(all.iter().all(|encrypted| *encrypted))
    }

    /// For each connection of this component, whether it is encrypted.
    pub(crate) async fn encrypted(&self, component: &str) -> Vec<bool> {
        let sql = format!(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = '{component}'"
        );
        let rows = self.db.rows(&sql).await.unwrap();
        rows.iter().map(|row| row == "t").collect()
    }
}

/// `None` if the server cannot encrypt.
pub(crate) fn encrypting(installation: &Installation, tcp: &Tcp) -> Option<Server> {
    match Server::boot_tcp(installation, Profile::Fast, tcp) {
        Ok(server) => Some(server),
        Err(error) if error.to_string().contains("SSL is not supported") => None,
        Err(error) => panic!("{error}"),
    }
}

#[allow(clippy::print_stderr, reason = "what is left out must be seen")]
fn not_tested() {
    eprintln!("\n==== NOT TESTED: needs a PostgreSQL that was built with SSL ====\n");
}

fn uuid() -> String {
    bmdb_model::MachineId::random().to_string()
}

/// A folder for files of certificates and keys, removed after the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bmdb-tls-{}", uuid()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A file that only its owner may read.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// `sslcert` and `sslkey`.
    pub(crate) fn identity(&self, name: &str, identity: &Identity) -> String {
        let certificate = self.file(&format!("{name}.crt"), &identity.certificate);
        let key = self.file(&format!("{name}.key"), &identity.key);
        format!("sslcert={certificate} sslkey={key}")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
