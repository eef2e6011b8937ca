//! TLS: the certificate that a server shows, and whose certificates it wants to see.

use super::token::is_world_readable;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;

/// Files in PEM. They are read when the server is bound, and again when they have changed: certificates are
/// renewed while servers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of authorities: only who has a certificate of theirs is answered. None: everybody.
    pub client_authorities: Option<PathBuf>,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

impl TlsError {
    fn new(path: &Path, problem: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// TLS by the newest files that were good.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    stamps: Stamps,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

/// When each file was written, and its length; none where they cannot be told.
type Stamps = [Option<(SystemTime, u64)>; 3];

impl Tls {
    pub(crate) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let acceptor = files.acceptor()?;
        Ok(Self {
            files,
            current: Mutex::new(Current { acceptor, stamps }),
        })
    }

    /// For the next connection. Files that have become bad are told of once, and not gone by.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if current.stamps != stamps {
            current.stamps = stamps;
            match self.files.acceptor() {
                Ok(acceptor) => current.acceptor = acceptor,
                Err(error) => tracing::warn!(%error, "the certificates stay as they were"),
            }
        }
        current.acceptor.clone()
    }
}

impl TlsFiles {
    fn stamps(&self) -> Stamps {
        let files = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_authorities.as_ref(),
        ];
        files.map(|file| {
            let file = std::fs::metadata(file?).ok()?;
            Some((file.modified().ok()?, file.len()))
        })
    }

    fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        // Named, for with two providers in a program rustls would not know which to take.
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&self.certificate, error))?;
        let with_clients = match &self.client_authorities {
            None => versions.with_no_client_auth(),
            Some(path) => {
                let mut authorities = RootCertStore::empty();
                for certificate in certificates(path)? {
                    let added = authorities.add(certificate);
                    added.map_err(|error| TlsError::new(path, error))?;
                }
                let authorities = Arc::new(authorities);
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider)
                    .build()
                    .map_err(|error| TlsError::new(path, error))?;
                versions.with_client_cert_verifier(verifier)
            }
        };
        let mut config = with_clients
            .with_single_cert(certificates(&self.certificate)?, key(&self.key)?)
            .map_err(|error| TlsError::new(&self.certificate, error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| TlsError::new(path, error))?;
    if certificates.is_empty() {
        return Err(TlsError::new(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

/// What is wrong with a key is not told: it might be a part of it.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    if is_world_readable(path).map_err(|error| TlsError::new(path, error))? {
        let problem = "everybody can read the private key: run chmod o= on it";
        return Err(TlsError::new(path, problem));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|_| {
        TlsError::new(
            path,
            "there is no private key in it, in PEM and not encrypted",
        )
    })
}
