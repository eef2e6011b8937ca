//! Certificate verifiers: everything, everything but the hostname, or nothing.

use super::kinds;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::VerifierBuilderError;
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};
use std::fmt;
use std::sync::Arc;

type Verifier = Arc<dyn ServerCertVerifier>;
type Revoked = Vec<CertificateRevocationListDer<'static>>;

/// Verifies that a trusted authority has signed the certificate for this hostname.
pub(super) fn all(
    roots: RootCertStore,
    revoked: Revoked,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, VerifierBuilderError> {
    Ok(Arc::new(WebPki::new(roots, revoked, provider)?))
}

/// Verifies that a trusted authority has signed the certificate, for any hostname.
pub(super) fn all_but_hostname(
    roots: RootCertStore,
    revoked: Revoked,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, VerifierBuilderError> {
    let web_pki = WebPki::new(roots, revoked, provider)?;
    Ok(Arc::new(NoHostnameVerifier(web_pki)))
}

/// Verifies nothing: the encryption only protects against eavesdroppers.
pub(super) fn none(provider: &CryptoProvider) -> Verifier {
    let algorithms = &provider.signature_verification_algorithms;
    Arc::new(NoVerifier(algorithms.supported_schemes()))
}

/// What is not supported about a certificate, or the signature of its key: the text of an error.
#[derive(Debug)]
pub(super) struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Signatures that cannot be verified. They are offered all the same: without them, a server that has no
/// other breaks off the handshake with an alert that does not say why, before its certificate is seen.
const NOT_VERIFIED: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED448,
    // RSASSA-PSS keys with SHA-256, SHA-384 and SHA-512.
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
];

/// The standard verifier, with errors that name what it does not support.
#[derive(Debug)]
struct WebPki {
    verifier: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
}

impl WebPki {
    fn new(
        roots: RootCertStore,
        revoked: Revoked,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider)
            .with_crls(revoked)
            // As in OpenSSL: otherwise, a thief of a revoked key could withhold the newer list.
            .enforce_revocation_expiration()
            .build()?;
        Ok(Self { verifier, roots })
    }

    /// The same error, unless it is due to what is not supported.
    fn explain(
        &self,
        error: TlsError,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> TlsError {
        if !may_be_unsupported(&error) {
            return error;
        }
        match kinds::unsupported_in_chain(end_entity, intermediates, &self.roots) {
            Some(problem) => {
                let other = OtherError(Arc::new(Unsupported(problem)));
                TlsError::InvalidCertificate(CertificateError::Other(other))
            }
            None => error,
        }
    }
}

/// Whether an error of the standard verifier may be due to what it does not support. The signature of a key
/// that is too short is wrong for it.
#[allow(
    deprecated,
    reason = "the variants without a context may still be returned"
)]
fn may_be_unsupported(error: &TlsError) -> bool {
    use CertificateError as Cert;
    matches!(
        error,
        TlsError::InvalidCertificate(
            Cert::BadEncoding
                | Cert::BadSignature
                | Cert::UnsupportedSignatureAlgorithm
                | Cert::UnsupportedSignatureAlgorithmContext { .. }
                | Cert::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
                | Cert::Other(_)
        ) | TlsError::PeerMisbehaved(_)
    )
}

impl ServerCertVerifier for WebPki {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| self.explain(error, end_entity, intermediates))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier
            .verify_tls12_signature(message, cert, dss)
            .map_err(|error| self.explain(error, cert, &[]))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier
            .verify_tls13_signature(message, cert, dss)
            .map_err(|error| self.explain(error, cert, &[]))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.verifier.supported_verify_schemes();
        schemes.extend(NOT_VERIFIED);
        schemes
    }
}

/// Ignores a wrong hostname and no other error. The inner verifier compares names last, so that error means
/// that everything else is valid.
#[derive(Debug)]
struct NoHostnameVerifier(WebPki);

impl ServerCertVerifier for NoHostnameVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts everything, and parses nothing: an attacker who can present any certificate can also present one whose
/// key it has. So certificates and keys of every kind do, as in libpq. The schemes are those of the provider.
#[derive(Debug)]
struct NoVerifier(Vec<SignatureScheme>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.clone();
        schemes.extend(NOT_VERIFIED);
        schemes.extend([
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]);
        schemes
    }
}
