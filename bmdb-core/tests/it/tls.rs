//! Encrypted connections to a real server, whose authorities are made here.

mod authority;
mod clients;
mod cycle;
mod files;
mod modes;

pub(crate) use authority::{Authority, Identity};

use bmdb_core::{Bmdb, Config, ConnectError};
use bmdb_testkit::{Installation, Lookup, Places, Profile, Server, Tcp, TestDb};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A server of one's own that is reached over TCP, and a database on it.
pub(crate) struct Tls {
    pub(crate) server: Arc<Server>,
    pub(crate) db: TestDb,
}

impl Tls {
    pub(crate) async fn boot(tcp: Tcp) -> Self {
        let boot = move || Server::boot_tcp(&installed(), Profile::Fast, &tcp).unwrap();
        let server = Arc::new(tokio::task::spawn_blocking(boot).await.unwrap());
        let db = TestDb::on(&server).await.unwrap();
        Self { server, db }
    }

    /// The database at `localhost`, with these parameters.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname={} {parameters}",
            self.server.port().unwrap(),
            self.db.name()
        )
    }

    /// Connects, and says whether that is encrypted.
    pub(crate) async fn is_encrypted(&self, parameters: &str) -> Result<bool, ConnectError> {
        let component = format!("test {}", uuid());
        let config = Config::new(self.url(parameters)).component(&component);
        let bmdb = Bmdb::connect(config.janitor_interval(None)).await?;
        let all = self.encrypted(&component).await;
        drop(bmdb);
        assert!(!all.is_empty(), "nobody is connected");
        Ok(all.iter().all(|encrypted| *encrypted))
    }

    /// Of each connection of this component whether it is encrypted.
    pub(crate) async fn encrypted(&self, component: &str) -> Vec<bool> {
        let sql = format!(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = '{component}'"
        );
        let rows = self.db.rows(&sql).await.unwrap();
        rows.iter().map(|row| row == "t").collect()
    }
}

pub(crate) fn installed() -> Installation {
    let places = Places {
        database_url: None,
        ..Places::from_env()
    };
    Lookup::search(&places).installation().unwrap()
}

fn uuid() -> String {
    bmdb_model::MachineId::random().to_string()
}

/// A folder for files of certificates and keys, which goes with the test.
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
