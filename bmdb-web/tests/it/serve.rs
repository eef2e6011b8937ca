//! Server: graceful shutdown, connection limits and TLS.

use crate::http::{Running, exchange, options, read, read_one, serve};
use axum::Router;
use axum::routing::get;
use bmdb_web::{Server, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn shutdown_waits_for_requests_under_way_and_accepts_no_new_ones() {
    let requested = Arc::new(Notify::new());
    let go_on = Arc::new(Notify::new());
    let slow = {
        let (requested, go_on) = (requested.clone(), go_on.clone());
        get(async move || {
            requested.notify_one();
            go_on.notified().await;
            "done"
        })
    };
    let server = serve(options(), Router::new().route("/", slow)).await;
    let address = server.address;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    busy.write_all(request).await.unwrap();
    requested.notified().await;
    let ending = tokio::spawn(server.end());
    // The idle connection is closed at once.
    assert_eq!(read(&mut idle).await.status, 0);
    TcpStream::connect(address).await.unwrap_err();
    assert!(!ending.is_finished());
    go_on.notify_one();
    let answer = read_one(&mut busy).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    ending.await.unwrap();
}

#[tokio::test]
async fn shutdown_has_a_timeout() {
    let slow = get(async || std::future::pending::<&str>().await);
    let mut options = options();
    options.shutdown_timeout = Duration::from_millis(100);
    let server = serve(options, Router::new().route("/", slow)).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(4), server.end());
    ended.await.expect("before the response times out");
}

#[tokio::test]
async fn the_error_names_a_port_that_is_in_use() {
    let first = Server::bind(options()).await.unwrap();
    let mut same = options();
    same.listen = first.address();
    let error = Server::bind(same).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()), "{error}");
}

/// Connects from this address of this machine.
async fn connect_from(address: [u8; 4], server: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(server.address).await.unwrap()
}

/// Retries while the server refuses: a slot is free only a moment after its connection has ended.
async fn until_answered(ask: impl AsyncFn() -> bool) {
    let asked = async { while !ask().await {} };
    let asked = tokio::time::timeout(Duration::from_secs(10), asked);
    asked.await.expect("the slot is free again");
}

/// Linux has every address of 127.0.0.0/8.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_at_its_connection_limit_does_not_block_others() {
    let mut options = options();
    options.max_connections = 4;
    options.max_connections_per_client = 2;
    let server = serve(options, page()).await;
    let greedy = || connect_from([127, 0, 0, 1], &server);
    let mut idle = VecDeque::from([greedy().await, greedy().await]);
    // More than the total limit.
    for _ in 0..5 {
        idle.push_back(greedy().await);
        let mut oldest = idle.pop_front().unwrap();
        assert_eq!(read(&mut oldest).await.status, 0, "another took its place");
        let mut other = connect_from([127, 0, 0, 2], &server).await;
        assert_eq!(exchange(&mut other, REQUEST).await.status, 200);
    }
    assert_eq!(exchange(&mut greedy().await, REQUEST).await.status, 200);
}

#[tokio::test]
async fn a_failed_handshake_frees_its_connection_slot() {
    let authority = Authority::new("slots");
    let (certificate, key) = authority.sign("localhost");
    let mut options = options();
    options.max_connections_per_client = 1;
    options.client_timeout = Duration::from_millis(300);
    options.tls = Some(TlsFiles {
        certificate,
        key,
        client_authorities: None,
    });
    let server = serve(options, page()).await;
    let client = authority.client(None);
    let is_answered = async || status(server.address, &client).await == Some(200);
    // A broken handshake, an abandoned one, and one that takes too long.
    let mut broken = server.connect().await;
    assert_eq!(exchange(&mut broken, REQUEST).await.status, 0);
    until_answered(is_answered).await;
    drop(server.connect().await);
    until_answered(is_answered).await;
    let mut silent = server.connect().await;
    until_answered(is_answered).await;
    assert_eq!(read(&mut silent).await.status, 0, "it made room");
    let mut slow = server.connect().await;
    assert_eq!(read(&mut slow).await.status, 0);
}

/// A certificate authority, and the files that it has signed.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bmdb-web-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.join("ca.crt"), certificate).unwrap();
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    /// The files of a certificate for this name, and of its key.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let (certificate_file, key_file) = (
            self.file(&format!("{name}.crt")),
            self.file(&format!("{name}.key")),
        );
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        set_mode(&key_file, 0o600);
        (certificate_file, key_file)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A client that trusts this authority, and shows this certificate.
    fn client(&self, identity: Option<(PathBuf, PathBuf)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.file("ca.crt")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificates = CertificateDer::pem_file_iter(certificate).unwrap();
                let certificates = certificates.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                config.with_client_auth_cert(certificates, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The status of an answer over TLS. `None`: the connection fails.
async fn status(address: std::net::SocketAddr, client: &TlsConnector) -> Option<u16> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, stream).await.ok()?;
    let answer = exchange(&mut stream, REQUEST).await;
    (answer.status != 0).then_some(answer.status)
}

fn page() -> Router {
    Router::new().route("/", get(async || "page"))
}

#[tokio::test]
async fn a_tls_server_does_not_answer_without_tls() {
    let authority = Authority::new("tls");
    let (certificate, key) = authority.sign("localhost");
    let mut options = options();
    options.tls = Some(TlsFiles {
        certificate,
        key,
        client_authorities: None,
    });
    let server = serve(options, page()).await;
    assert_eq!(
        status(server.address, &authority.client(None)).await,
        Some(200)
    );
    let mut clear = server.connect().await;
    assert_eq!(exchange(&mut clear, REQUEST).await.status, 0);
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_are_answered() {
    let authority = Authority::new("clients");
    let stranger = Authority::new("strangers");
    let (certificate, key) = authority.sign("localhost");
    let mut options = options();
    options.tls = Some(TlsFiles {
        certificate,
        key,
        client_authorities: Some(authority.file("ca.crt")),
    });
    // Client certificates allow an address that other machines can reach.
    options.listen.set_ip([0, 0, 0, 0].into());
    let server = serve(options, page()).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    let known = authority.client(Some(authority.sign("me")));
    assert_eq!(status(address, &known).await, Some(200));
    let unknown = authority.client(Some(stranger.sign("me")));
    for stranger in [authority.client(None), unknown] {
        assert_eq!(status(address, &stranger).await, None);
    }
}

#[tokio::test]
async fn renewed_certificates_need_no_restart_and_invalid_ones_are_ignored() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let (certificate, key) = first.sign("localhost");
    let mut options = options();
    options.tls = Some(TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_authorities: None,
    });
    let server = serve(options, page()).await;
    let (old, new) = (first.client(None), second.client(None));
    assert_eq!(status(server.address, &old).await, Some(200));
    std::fs::write(&certificate, "half of a fi").unwrap();
    assert_eq!(status(server.address, &old).await, Some(200));
    let (renewed, its_key) = second.sign("localhost");
    std::fs::copy(its_key, &key).unwrap();
    std::fs::copy(renewed, &certificate).unwrap();
    assert_eq!(status(server.address, &new).await, Some(200));
    assert_eq!(status(server.address, &old).await, None);
}

#[tokio::test]
async fn the_error_names_an_invalid_tls_file() {
    let authority = Authority::new("files");
    let (certificate, key) = authority.sign("localhost");
    let open = authority.file("open.key");
    std::fs::copy(&key, &open).unwrap();
    set_mode(&open, 0o644);
    let missing = authority.file("missing");
    for (certificate, key, named, said) in [
        (&missing, &key, &missing, ""),
        (&certificate, &missing, &missing, ""),
        (&key, &key, &key, "no certificate"),
        (&certificate, &open, &open, "chmod"),
    ] {
        let mut options = options();
        options.tls = Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_authorities: None,
        });
        let error = Server::bind(options).await.unwrap_err().to_string();
        assert!(
            error.contains(&named.display().to_string()) && error.contains(said),
            "{error}"
        );
    }
}
