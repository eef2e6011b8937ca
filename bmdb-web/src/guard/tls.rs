//! TLS: the server's certificate, and the authorities of client certificates.

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

/// PEM files. They are read when the server is bound, and again when they change, so that renewed
/// certificates need no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates: other clients are refused. `None` accepts every client.
    pub client_authorities: Option<PathBuf>,
}

/// Why a TLS file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// TLS with the newest valid files.
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

/// The time of the last change and the length of each file, if they can be read.
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

    /// The acceptor for the next connection. If changed files are invalid, it logs that once and keeps the
    /// previous ones.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if current.stamps != stamps {
            current.stamps = stamps;
            match self.files.acceptor() {
                Ok(acceptor) => current.acceptor = acceptor,
                Err(error) => tracing::warn!(%error, "invalid TLS files, using the previous ones"),
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
        // Explicit, because rustls panics if a program has two providers and no default.
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
        return Err(TlsError::new(path, "no certificate found, expected PEM"));
    }
    Ok(certificates)
}

/// The parser's error is left out, because it may contain a part of the key.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    if is_world_readable(path).map_err(|error| TlsError::new(path, error))? {
        let reason = "every user can read the private key: run chmod o= on it";
        return Err(TlsError::new(path, reason));
    }
    PrivateKeyDer::from_pem_file(path)
        .map_err(|_| TlsError::new(path, "no private key found, expected unencrypted PEM"))
}
