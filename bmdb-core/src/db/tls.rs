//! TLS: whether a connection is encrypted, and how server and client authenticate each other.

mod files;
mod identity;
mod kinds;
mod verify;

use crate::db::url::{DatabaseUrl, Host};
use crate::error::ConnectError;
use identity::Identity;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, OtherError,
    SupportedProtocolVersion,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// PostgreSQL's name in the protocol negotiation (ALPN).
const PROTOCOL: &[u8] = b"postgresql";

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The authorities whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Roots {
    /// `sslrootcert`.
    File(PathBuf),
    /// `sslrootcert=system`.
    System,
    /// The file in the home folder, if it exists.
    Default(Option<PathBuf>),
}

/// How connections to one server are protected. Files are read for each new connection, so that certificates
/// can be renewed while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    mode: Mode,
    roots: Roots,
    /// Certificate and key of the client.
    identity: Option<Identity>,
    revoked: Option<PathBuf>,
    versions: Versions,
    sends_name: bool,
    direct: bool,
}

impl Tls {
    /// The URL's settings for this server. `home` contains libpq's default files; without it, they are not
    /// used.
    pub(crate) fn of(
        url: &DatabaseUrl,
        host: &Host,
        home: Option<&Path>,
    ) -> Result<Self, ConnectError> {
        let wrong = |problem: &str| Err(ConnectError::InvalidUrl(problem.to_owned()));
        let file = |name: &str| home.map(|home| home.join(".postgresql").join(name));
        let named = |name: &str| url.get(name).map(PathBuf::from);
        let roots = match url.get("sslrootcert") {
            Some("system") => Roots::System,
            Some(path) => Roots::File(path.into()),
            None => Roots::Default(file("root.crt")),
        };
        // On this machine, encryption is optional, which is libpq's default for every server. Over a
        // network, an attacker in between could claim that the server does not encrypt.
        let mode = match url.get("sslmode") {
            _ if host.is_socket() => Mode::Disable,
            Some("disable") => Mode::Disable,
            Some("allow") => Mode::Allow,
            Some("prefer") => Mode::Prefer,
            Some("require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            _ if roots == Roots::System => Mode::VerifyFull,
            _ if host.is_loopback() && matches!(roots, Roots::Default(_)) => Mode::Prefer,
            _ => Mode::Require,
        };
        if mode != Mode::Disable && mode < Mode::VerifyFull && roots == Roots::System {
            return wrong(
                "sslrootcert=system trusts public authorities, which sign for every domain, so it needs \
                 sslmode=verify-full",
            );
        }
        if mode >= Mode::VerifyCa && roots == Roots::Default(None) {
            return wrong(
                "sslmode=verify-ca and verify-full need a trusted authority: add \
                 sslrootcert=FILE with the certificate of the server's authority, or \
                 sslrootcert=system",
            );
        }
        let direct = url.get("sslnegotiation") == Some("direct");
        if direct && mode < Mode::Require && !host.is_socket() {
            return wrong("sslnegotiation=direct needs sslmode=require or stricter");
        }
        let identity = match url.get("sslcertmode") {
            Some("disable") => None,
            _ => Identity::of(url, home)?,
        };
        let versions = versions(url)?;
        Ok(Self {
            mode,
            roots,
            identity,
            revoked: named("sslcrl").or_else(|| file("root.crl").filter(|crl| crl.is_file())),
            versions,
            sends_name: url.get("sslsni") != Some("0"),
            direct,
        })
    }

    /// The modes to try in order, until the server accepts one.
    pub(crate) const fn tries(&self) -> &'static [SslMode] {
        match self.mode {
            Mode::Disable => &[SslMode::Disable],
            Mode::Allow => &[SslMode::Disable, SslMode::Require],
            Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
        }
    }

    /// Whether the TLS handshake begins without asking the server first.
    pub(crate) const fn is_direct(&self) -> bool {
        self.direct
    }

    /// Reads the files into a TLS connector; `None` if connections are never encrypted. Blocks.
    pub(crate) fn load(&self) -> Result<Option<MakeRustlsConnect>, ConnectError> {
        if self.mode == Mode::Disable {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .map_err(|error| files::unusable("ssl_min_protocol_version", error))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider)?);
        let mut config = match &self.identity {
            Some(identity) if identity.is_used() => {
                builder.with_client_cert_resolver(identity.load(&provider)?)
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.enable_sni = self.sends_name;
        Ok(Some(MakeRustlsConnect::new(config)))
    }

    /// As in libpq, `require` verifies like `verify-ca` if an authority is given. Weaker modes verify nothing:
    /// an attacker who could impersonate the server could also claim that it has no TLS.
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::client::danger::ServerCertVerifier>, ConnectError> {
        let roots = match &self.roots {
            _ if self.mode < Mode::Require => None,
            Roots::System => Some(files::system_roots()?),
            Roots::File(path) => Some(files::roots(path)?),
            Roots::Default(Some(path)) if path.exists() => Some(files::roots(path)?),
            Roots::Default(Some(path)) if self.mode >= Mode::VerifyCa => {
                return Err(ConnectError::UnusableFile {
                    parameter: "sslrootcert",
                    path: path.clone(),
                    problem: "it does not exist; put the certificate of the server's authority \
                              there, or name another file, or sslrootcert=system"
                        .to_owned(),
                });
            }
            Roots::Default(_) => None,
        };
        let Some(roots) = roots else {
            return Ok(verify::none(provider));
        };
        let revoked = match &self.revoked {
            Some(path) => files::revocations(path)?,
            None => Vec::new(),
        };
        let verified = match self.mode {
            Mode::VerifyFull => verify::all(roots, revoked, provider.clone()),
            _ => verify::all_but_hostname(roots, revoked, provider.clone()),
        };
        verified.map_err(|error| files::unusable("sslrootcert, sslcrl", error))
    }

    /// The connect error for a TLS error.
    pub(crate) fn explain(&self, target: String, error: &TlsError) -> ConnectError {
        match error {
            TlsError::InvalidCertificate(certificate) => ConnectError::ServerNotTrusted {
                target,
                problem: self.explain_certificate(certificate),
            },
            TlsError::AlertReceived(alert) if is_about_the_client(*alert) => {
                let whose = match &self.identity {
                    Some(identity) if identity.is_used() => {
                        format!("{} (sslcert)", identity.certificate().display())
                    }
                    _ => "none, for there is no sslcert".to_owned(),
                };
                ConnectError::ClientNotTrusted {
                    target,
                    problem: format!("{alert:?}; the client's certificate is {whose}"),
                }
            }
            error => ConnectError::Tls {
                target,
                reason: match hint(error) {
                    Some(hint) => format!("{error}; {hint}").into(),
                    None => error.clone().into(),
                },
            },
        }
    }

    fn explain_certificate(&self, error: &CertificateError) -> String {
        use CertificateError as Cert;
        let trusted = match &self.roots {
            Roots::System => "of the system".to_owned(),
            Roots::File(path) | Roots::Default(Some(path)) => format!("in {}", path.display()),
            Roots::Default(None) => "that is known".to_owned(),
        };
        match error {
            Cert::UnknownIssuer | Cert::BadSignature => format!(
                "it is signed by no authority {trusted}; is sslrootcert that of this server?"
            ),
            Cert::Expired | Cert::ExpiredContext { .. } => {
                format!("{error}; renew it on the server")
            }
            Cert::NotValidYet | Cert::NotValidYetContext { .. } => {
                format!("{error}; is the clock of this machine right?")
            }
            Cert::NotValidForName | Cert::NotValidForNameContext { .. } => format!(
                "{error}; connect by a name that it has as a subject alternative name (the common \
                 name does not count), or verify no name with sslmode=verify-ca"
            ),
            Cert::Revoked => "it has been revoked (sslcrl)".to_owned(),
            Cert::UnknownRevocationStatus => {
                "sslcrl has no list of one of the authorities that sign it".to_owned()
            }
            Cert::ExpiredRevocationList | Cert::ExpiredRevocationListContext { .. } => {
                format!("{error}; renew the list in sslcrl")
            }
            Cert::Other(OtherError(other)) if other.is::<verify::Unsupported>() => {
                other.to_string()
            }
            Cert::Other(_) if error.to_string().contains("CaUsedAsEndEntity") => {
                "it is an authority's own, not one that an authority has signed for the server; \
                 make the server one of its own"
                    .to_owned()
            }
            error => error.to_string(),
        }
    }
}

type Versions = &'static [&'static SupportedProtocolVersion];

static BOTH: Versions = &[&TLS12, &TLS13];
static ONLY_12: Versions = &[&TLS12];
static ONLY_13: Versions = &[&TLS13];

/// The versions of TLS that the URL allows; those before 1.2 are never spoken.
fn versions(url: &DatabaseUrl) -> Result<Versions, ConnectError> {
    let min = url.get("ssl_min_protocol_version");
    let max = url.get("ssl_max_protocol_version");
    match (min == Some("TLSv1.3"), max == Some("TLSv1.2")) {
        (true, true) => Err(ConnectError::InvalidUrl(
            "ssl_min_protocol_version is newer than ssl_max_protocol_version".to_owned(),
        )),
        (true, false) => Ok(ONLY_13),
        (false, true) => Ok(ONLY_12),
        (false, false) => Ok(BOTH),
    }
}

/// What an alert that says little usually means.
fn hint(error: &TlsError) -> Option<String> {
    match error {
        TlsError::AlertReceived(AlertDescription::HandshakeFailure) => Some(format!(
            "the server has no cipher, key exchange or kind of certificate that is supported: ECDHE on X25519, \
             P-256 or P-384 with AES-GCM or ChaCha20; of certificates, {}",
            kinds::SUPPORTED
        )),
        TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
            Some("the server speaks none of the allowed versions of TLS (1.2 and 1.3)".to_owned())
        }
        _ => None,
    }
}

/// Whether the server refuses the client's certificate, or requires one.
fn is_about_the_client(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::CertificateRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, home: Option<&str>) -> Result<Tls, String> {
        let url: DatabaseUrl = url.parse().unwrap();
        Tls::of(&url, &url.hosts()[0], home.map(Path::new)).map_err(|error| error.to_string())
    }

    #[test]
    fn encryption_is_required_over_a_network_and_preferred_on_this_machine() {
        for (url, mode) in [
            ("host=db.example", Mode::Require),
            ("host=10.1.2.3", Mode::Require),
            ("host=localhost", Mode::Prefer),
            ("host=127.0.0.1", Mode::Prefer),
            ("host=db.example hostaddr=127.0.0.1", Mode::Prefer),
            ("host=/tmp", Mode::Disable),
            ("host=/tmp sslmode=verify-full", Mode::Disable),
            ("host=localhost sslrootcert=/r", Mode::Require),
            ("host=localhost sslrootcert=system", Mode::VerifyFull),
            ("host=db.example sslmode=disable", Mode::Disable),
            ("host=db.example sslmode=allow", Mode::Allow),
            ("host=db.example sslmode=prefer", Mode::Prefer),
            ("host=localhost sslmode=require", Mode::Require),
            ("host=h sslmode=verify-ca sslrootcert=/r", Mode::VerifyCa),
            (
                "host=h sslmode=verify-full sslrootcert=/r",
                Mode::VerifyFull,
            ),
        ] {
            assert_eq!(of(url, None).unwrap().mode, mode, "{url}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for (url, reason) in [
            ("host=h sslmode=verify-full", "sslrootcert=FILE"),
            ("host=h sslmode=verify-ca", "sslrootcert=system"),
            ("host=h sslmode=verify-ca sslrootcert=system", "verify-full"),
            ("host=h sslmode=require sslrootcert=system", "verify-full"),
            ("host=h sslcert=/c", "without the sslkey"),
            ("host=h sslkey=/k", "without the sslcert"),
            (
                "host=h ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
                "newer than",
            ),
            (
                "host=h sslmode=prefer sslnegotiation=direct",
                "sslmode=require",
            ),
        ] {
            let error = of(url, None).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn files_default_to_those_in_the_home_folder() {
        let tls = of("host=h sslmode=verify-full", Some("/h")).unwrap();
        let root = Roots::Default(Some("/h/.postgresql/root.crt".into()));
        assert_eq!(tls.roots, root);
        let identity = tls.identity.unwrap();
        assert_eq!(identity.key(), Path::new("/h/.postgresql/postgresql.key"));
        assert!(!identity.is_used(), "it is not there");
        let named = of("host=h sslcert=/c sslkey=/k sslrootcert=/r", Some("/h")).unwrap();
        assert_eq!(named.roots, Roots::File("/r".into()));
        assert!(named.identity.is_some_and(|identity| identity.is_used()));
        let named = of("host=h sslcert=/c", Some("/h")).unwrap().identity;
        let key = named.map(|identity| identity.key().to_owned());
        assert_eq!(key.unwrap(), Path::new("/h/.postgresql/postgresql.key"));
        let none = of("host=h sslcertmode=disable", Some("/h")).unwrap();
        assert_eq!(none.identity, None);
    }
}
