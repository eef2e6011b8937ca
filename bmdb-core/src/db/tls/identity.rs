//! Identity: the certificate and key by which a client proves who it is.

use super::{files, kinds};
use crate::db::url::DatabaseUrl;
use crate::error::ConnectError;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error as TlsError, InconsistentKeys};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    /// Whether the certificate is the one in the home folder, which need not exist.
    is_default: bool,
}

impl Identity {
    /// The URL's files, or libpq's in the home folder.
    pub(super) fn of(url: &DatabaseUrl, home: Option<&Path>) -> Result<Option<Self>, ConnectError> {
        let file = |name: &str, default: &str| {
            let named = url.get(name).map(PathBuf::from);
            named.or_else(|| home.map(|home| home.join(".postgresql").join(default)))
        };
        let certificate = file("sslcert", "postgresql.crt");
        let problem = match (certificate, file("sslkey", "postgresql.key")) {
            (Some(certificate), Some(key)) => {
                return Ok(Some(Self {
                    certificate,
                    key,
                    is_default: url.get("sslcert").is_none(),
                }));
            }
            (None, None) => return Ok(None),
            (Some(_), None) => "sslcert is given without the sslkey that fits it",
            (None, Some(_)) => "sslkey is given without the sslcert that it fits",
        };
        Err(ConnectError::InvalidUrl(problem.to_owned()))
    }

    pub(super) fn is_used(&self) -> bool {
        !self.is_default || self.certificate.exists()
    }

    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> &Path {
        &self.key
    }

    /// Reads the files. Blocks.
    pub(super) fn load(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn ResolvesClientCert>, ConnectError> {
        let certificates = files::certificates("sslcert", &self.certificate)?;
        let key = files::private_key(&self.key)?;
        let unusable_key = |problem| ConnectError::UnusableFile {
            parameter: "sslkey",
            path: self.key.clone(),
            problem,
        };
        let kind = kinds::unsupported_private_key(&key);
        let loaded = provider.key_provider.load_private_key(key);
        let signer = loaded.map_err(|error| {
            unusable_key(match kind {
                Some(kind) => format!(
                    "it is a key of a kind that is not supported: {kind}; {}",
                    kinds::SUPPORTED
                ),
                None => error.to_string(),
            })
        })?;
        let certified = CertifiedKey::new(certificates, signer);
        match certified.keys_match() {
            Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(unusable_key(format!(
                    "it is not the key of {}: name a matching pair",
                    self.certificate.display()
                )));
            }
            Err(error @ TlsError::NoCertificatesPresented) => {
                return Err(files::unusable("sslcert", error));
            }
            // What we cannot parse, for example X.509 version 1, is the server's to judge.
            _ => {}
        }
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }
}
