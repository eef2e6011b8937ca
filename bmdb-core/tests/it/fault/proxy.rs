//! A proxy between a component and its server that loses messages on command.

use bmdb_core::{Bmdb, Config};
use bmdb_testkit::TestDb;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Config as Target;
use tokio_postgres::config::Host;

/// What becomes of a request; the connection is cut in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It does not reach the server.
    Request,
    /// It reaches the server, which is not waited for.
    Connection,
    /// The server has answered it; the answer does not reach the client.
    Answer,
}

pub(super) const EVERY_LOSS: [Loss; 3] = [Loss::Request, Loss::Connection, Loss::Answer];

/// The text of a commit as it is sent, which `READ COMMITTED` does not contain.
pub(super) const COMMIT: &str = "COMMIT\0";

/// Waits in the proxy for the first request that contains some bytes.
struct Trap {
    needle: Vec<u8>,
    loss: Loss,
}

pub(super) struct Proxy {
    url: String,
    trap: Arc<Mutex<Option<Trap>>>,
    dark: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn to(db: &TestDb) -> Self {
        let target: Target = db.url().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let user = target.get_user().unwrap_or_default();
        let password = String::from_utf8_lossy(target.get_password().unwrap_or_default());
        let url = format!(
            "host=127.0.0.1 port={port} user='{user}' password='{password}' dbname='{}'",
            db.name()
        );
        let trap = Arc::new(Mutex::new(None));
        let dark = watch::Sender::new(false);
        let (traps, darkness) = (trap.clone(), dark.subscribe());
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                let (target, trap, dark) = (target.clone(), traps.clone(), darkness.clone());
                tokio::spawn(async move {
                    match to_server(&target).await {
                        ToServer::Unix(server) => relay(client, server, &trap, dark).await,
                        ToServer::Tcp(server) => relay(client, server, &trap, dark).await,
                    }
                });
            }
        });
        Self {
            url,
            trap,
            dark,
            listening,
        }
    }

    /// A component that reaches the database through the proxy, and does not try for long.
    pub(super) async fn component(&self) -> Bmdb {
        let mut config = Config::new(&self.url)
            .component("test")
            .janitor_interval(None);
        config.retry_for = Duration::from_millis(300);
        Bmdb::connect(config).await.unwrap()
    }

    /// The next request that contains `needle` meets this loss.
    pub(super) fn lose(&self, loss: Loss, needle: &str) {
        let needle = needle.as_bytes().to_vec();
        *self.trap.lock().unwrap() = Some(Trap { needle, loss });
    }

    /// Whether the loss has happened.
    pub(super) fn has_lost(&self) -> bool {
        self.trap.lock().unwrap().is_none()
    }

    /// From now on nothing passes in either direction, and nobody is told.
    pub(super) fn go_dark(&self) {
        self.dark.send_replace(true);
    }

    /// What was held back passes after all.
    pub(super) fn come_back(&self) {
        self.dark.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

enum ToServer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn to_server(target: &Target) -> ToServer {
    let port = target.get_ports().first().copied().unwrap_or(5432);
    match &target.get_hosts()[0] {
        Host::Tcp(name) => ToServer::Tcp(TcpStream::connect((name.as_str(), port)).await.unwrap()),
        Host::Unix(folder) => {
            let socket = folder.join(format!(".s.PGSQL.{port}"));
            ToServer::Unix(UnixStream::connect(socket).await.unwrap())
        }
    }
}

/// Passes messages on until one side closes or a trap springs; both sides are closed then.
async fn relay(
    mut client: TcpStream,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
    trap: &Mutex<Option<Trap>>,
    mut dark: watch::Receiver<bool>,
) {
    let (mut request, mut answer) = ([0; 8192], [0; 8192]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                if dark.wait_for(|dark| !dark).await.is_err() { return }
                let request = &request[..length];
                let loss = sprung(trap, request);
                if loss == Some(Loss::Request) || server.write_all(request).await.is_err() {
                    return;
                }
                match loss {
                    Some(Loss::Answer) => {
                        // An answer is sent as a whole, once the transaction has ended.
                        let _ = server.read(&mut answer).await;
                        return;
                    }
                    Some(_) => return,
                    None => {}
                }
            }
            read = server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if dark.wait_for(|dark| !dark).await.is_err() { return }
                if client.write_all(&answer[..length]).await.is_err() { return }
            }
        }
    }
}

fn sprung(trap: &Mutex<Option<Trap>>, request: &[u8]) -> Option<Loss> {
    let trap = &mut *trap.lock().unwrap();
    let needle = &trap.as_ref()?.needle;
    let found = request
        .windows(needle.len())
        .any(|part| part == needle.as_slice());
    if found {
        trap.take().map(|trap| trap.loss)
    } else {
        None
    }
}
