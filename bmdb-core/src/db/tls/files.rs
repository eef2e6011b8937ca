//! Files of certificates and keys. Errors repeat nothing of their contents.

use super::kinds;
use crate::error::ConnectError;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fs;
use std::path::Path;

/// The certificates of a file, in order.
pub(super) fn certificates(
    parameter: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    all_of(parameter, path, "certificate")
}

/// The authorities in a file.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("sslrootcert", path)? {
        roots.add(certificate).map_err(|error| {
            let problem = format!("one of its certificates cannot be used: {error}");
            wrong("sslrootcert", path, problem)
        })?;
    }
    Ok(roots)
}

/// The authorities that the operating system trusts.
pub(super) fn system_roots() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be parsed cannot verify anything.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(ConnectError::InvalidUrl(format!(
            "sslrootcert=system: this system has no certificates of authorities ({}); install its \
             package of them, or name a file with SSL_CERT_FILE or sslrootcert",
            errors.join("; ")
        )));
    }
    Ok(roots)
}

/// Lists of revoked certificates.
pub(super) fn revocations(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, ConnectError> {
    all_of("sslcrl", path, "revocation list")
}

/// The client's key.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    let wrong = |problem: String| wrong("sslkey", path, problem);
    let metadata = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    check_private(&metadata).map_err(wrong)?;
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&text) {
        return Ok(key);
    }
    let holds = |part: &str| text.windows(part.len()).any(|it| it == part.as_bytes());
    Err(wrong(if holds("ENCRYPTED") {
        "its key is encrypted; decrypt it with `openssl pkey` and protect the file".to_owned()
    } else if holds("BEGIN DSA PRIVATE KEY") {
        format!(
            "it is a DSA key, which is not supported; {}",
            kinds::SUPPORTED
        )
    } else if holds("BEGIN OPENSSH PRIVATE KEY") {
        "it is a key of OpenSSH; convert it with `ssh-keygen -p -m PKCS8`".to_owned()
    } else if let Ok(key) = PrivateKeyDer::try_from(text) {
        // libpq, too, takes a key in DER form.
        return Ok(key);
    } else {
        "it holds no private key in PEM or DER form".to_owned()
    }))
}

/// libpq's rule: only the owner may read the key; of a file owned by root, also its group.
#[cfg(unix)]
fn check_private(metadata: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    is_private(metadata.mode(), metadata.uid())
        .then_some(())
        .ok_or_else(|| {
            format!(
                "others may read or change it (mode {:04o}); make that 0600, or 0640 where it is \
             root's",
                metadata.mode() & 0o7777
            )
        })
}

#[cfg(not(unix))]
fn check_private(_: &fs::Metadata) -> Result<(), String> {
    Ok(())
}

#[cfg(unix)]
pub(crate) const fn is_private(mode: u32, owner: u32) -> bool {
    let others = if owner == 0 { 0o037 } else { 0o077 };
    mode & others == 0
}

fn all_of<T: PemObject>(
    parameter: &'static str,
    path: &Path,
    what: &str,
) -> Result<Vec<T>, ConnectError> {
    let text = fs::read(path).map_err(|error| wrong(parameter, path, error.to_string()))?;
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&text).collect();
    match items {
        Ok(items) if !items.is_empty() => Ok(items),
        _ => Err(wrong(
            parameter,
            path,
            format!("it holds no {what} in PEM form"),
        )),
    }
}

fn wrong(parameter: &'static str, path: &Path, problem: String) -> ConnectError {
    ConnectError::UnusableFile {
        parameter,
        path: path.to_owned(),
        problem,
    }
}

/// The error of parameters that contradict their files or each other.
pub(super) fn unusable(parameters: &str, error: impl std::fmt::Display) -> ConnectError {
    ConnectError::InvalidUrl(format!("{parameters}: {error}"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::is_private;

    #[test]
    fn a_key_file_must_be_private_by_libpqs_rule() {
        for (mode, owner) in [
            (0o600, 1000),
            (0o400, 1000),
            (0o640, 0),
            (0o440, 0),
            (0o100_600, 7),
        ] {
            assert!(is_private(mode, owner), "{mode:o} of {owner}");
        }
        for (mode, owner) in [
            (0o640, 1000),
            (0o604, 1000),
            (0o644, 0),
            (0o660, 0),
            (0o666, 0),
        ] {
            assert!(!is_private(mode, owner), "{mode:o} of {owner}");
        }
    }
}
