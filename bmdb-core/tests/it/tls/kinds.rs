//! Kinds of certificates and keys that our cryptography lacks, made by OpenSSL.

use super::{Folder, Tls};
use bmdb_core::{Config, ConnectError};
use bmdb_testkit::Tcp;
use std::fs;
use std::process::Command;

/// Runs OpenSSL in a folder; `None`, with a message, if there is none or it lacks this.
#[allow(clippy::print_stderr, reason = "what is left out must be seen")]
fn openssl(folder: &Folder, arguments: &str) -> Option<()> {
    let run = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder.path(""))
        .output();
    match run {
        Ok(run) if run.status.success() => Some(()),
        other => {
            eprintln!("\n==== NOT TESTED: openssl {arguments}: {other:?} ====\n");
            None
        }
    }
}

/// How a server's certificate is made: its key, and its version of X.509.
struct Made {
    key: &'static str,
    version: u8,
    /// What the error of a verifying mode says.
    refusal: &'static str,
}

const MADE: [Made; 4] = [
    Made {
        key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        version: 1,
        refusal: "it is of X.509 version 1",
    },
    Made {
        key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        version: 3,
        refusal: "a key of a kind that is not supported: the elliptic curve P-521",
    },
    Made {
        key: "-algorithm ED448",
        version: 3,
        refusal: "a key of a kind that is not supported: Ed448",
    },
    Made {
        key: "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
        version: 3,
        refusal: "a key of a kind that is not supported: RSASSA-PSS",
    },
];

/// An authority on P-256 in `root.crt`, and a server's certificate and key that it signed.
fn make(folder: &Folder, made: &Made) -> Option<(String, String)> {
    openssl(
        folder,
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out root.key",
    )?;
    openssl(
        folder,
        "req -x509 -new -key root.key -sha256 -days 30 -subj /CN=authority -out root.crt",
    )?;
    openssl(folder, &format!("genpkey {} -out server.key", made.key))?;
    openssl(
        folder,
        "req -new -key server.key -subj /CN=localhost -out server.csr",
    )?;
    folder.file("names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    let extensions = if made.version == 3 {
        "-extfile names"
    } else {
        ""
    };
    openssl(
        folder,
        &format!(
            "x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -sha256 -days 30 \
             {extensions} -out server.crt"
        ),
    )?;
    let read = |name| fs::read_to_string(folder.path(name)).unwrap();
    Some((read("server.crt"), read("server.key")))
}

/// `sslmode=require` parsed the certificate although it verifies nothing, and refused one of version 1 with
/// `UnsupportedCertVersion`. psql takes all of these.
#[tokio::test]
async fn every_kind_of_certificate_does_where_nothing_is_verified_and_is_named_where_it_is() {
    for made in &MADE {
        let folder = Folder::new();
        let Some((certificate, key)) = make(&folder, made) else {
            continue;
        };
        let Some(tls) = Tls::boot(Tcp::new().tls(certificate, key)).await else {
            return;
        };
        for mode in ["require", "prefer"] {
            let connected = tls.is_encrypted(&format!("sslmode={mode}")).await;
            assert!(
                matches!(connected, Ok(true)),
                "{} {mode}: {connected:?}",
                made.key
            );
        }
        let root = folder.path("root.crt");
        for mode in ["require", "verify-ca", "verify-full"] {
            let parameters = format!("sslmode={mode} sslrootcert={root}");
            let error = tls.is_encrypted(&parameters).await.unwrap_err();
            assert!(
                matches!(error, ConnectError::ServerNotTrusted { .. }),
                "{error:?}"
            );
            let text = error.to_string();
            assert!(text.contains(made.refusal), "{text}");
        }
    }
}

/// A client's key of a kind that we lack was `sslcert: failed to parse private key as RSA, ECDSA, or EdDSA`.
#[test]
fn a_clients_key_that_is_not_supported_is_named() {
    let folder = Folder::new();
    let Some((certificate, _)) = make(&folder, &MADE[1]) else {
        return;
    };
    let certificate = folder.file("client.crt", &certificate);
    for (make_key, problem) in [
        ("genpkey -algorithm ED448", "Ed448"),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "the elliptic curve P-521",
        ),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            "RSA of 1024 bits",
        ),
        (
            "genrsa -traditional -out client.key 1024",
            "RSA of 1024 bits",
        ),
        (
            "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
            "RSASSA-PSS",
        ),
        (
            "ecparam -genkey -name secp521r1 -noout",
            "another elliptic curve than P-256 and P-384",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:secret",
            "its key is encrypted",
        ),
    ] {
        let key = folder.file("client.key", "");
        let make_key = match make_key.contains("-out") {
            true => make_key.to_owned(),
            false => format!("{make_key} -out client.key"),
        };
        if openssl(&folder, &make_key).is_none() {
            continue;
        }
        let url = format!("host=db.example sslmode=require sslcert={certificate} sslkey={key}");
        let error = Config::new(url).check().unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(
                &error,
                ConnectError::UnusableFile {
                    parameter: "sslkey",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(text.contains(problem), "{make_key}: {text}");
    }
}
