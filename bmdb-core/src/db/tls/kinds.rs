//! Kinds of certificates and keys that our cryptography lacks, named for errors.
//!
//! rustls with ring verifies RSA of 2048 to 8192 bits, ECDSA on P-256 and P-384 (with SHA-256 or SHA-384) and
//! Ed25519, in certificates of X.509 version 3. aws-lc-rs would add P-521 and ECDSA with SHA-512 and nothing
//! else of this list: no Ed448, no DSA, no short RSA keys, no SHA-1. It would be a second, larger library in C
//! in the tree of every user, for one curve that public authorities do not use, so it is left out.

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::asn1::{AnyRef, OctetStringRef, UintRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode, Encode, SliceReader, Tag};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::{Certificate, Version};

/// What is supported, for the ends of sentences.
pub(super) const SUPPORTED: &str = "supported are RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519, signed with SHA-256 or \
     SHA-384 (RSA also with SHA-512)";

const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";

/// Algorithms of signatures. RSA-PSS is also for keys that may sign otherwise.
const SIGNATURES: [&str; 7] = [
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    RSA_PSS,
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    ED25519,
];

/// The curves P-256 and P-384.
const CURVES: [&str; 2] = ["1.2.840.10045.3.1.7", "1.3.132.0.34"];

/// Names of what is not supported, and is met.
const NAMES: [(&str, &str); 24] = [
    ("1.2.840.113549.1.1.4", "MD5 with RSA"),
    ("1.2.840.113549.1.1.5", "SHA-1 with RSA"),
    ("1.2.840.113549.1.1.14", "SHA-224 with RSA"),
    ("2.16.840.1.101.3.4.3.14", "SHA3-256 with RSA"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("2.16.840.1.101.3.4.3.1", "DSA with SHA-224"),
    ("2.16.840.1.101.3.4.3.2", "DSA with SHA-256"),
    (RSA_PSS, "RSASSA-PSS"),
    ("1.3.101.113", "Ed448"),
    ("1.3.101.110", "X25519"),
    ("1.3.132.0.35", "the elliptic curve P-521"),
    ("1.3.132.0.33", "the elliptic curve P-224"),
    ("1.2.840.10045.3.1.1", "the elliptic curve P-192"),
    ("1.3.132.0.10", "the elliptic curve secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", "the elliptic curve brainpoolP256r1"),
    (
        "1.3.36.3.3.2.8.1.1.11",
        "the elliptic curve brainpoolP384r1",
    ),
    (
        "1.3.36.3.3.2.8.1.1.13",
        "the elliptic curve brainpoolP512r1",
    ),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

/// What is not supported about a server's certificates and the authorities that sign them.
pub(super) fn unsupported_in_chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
) -> Option<String> {
    let own = std::iter::once(("it", end_entity));
    let others = intermediates.iter().map(|it| ("an intermediate", it));
    own.chain(others).find_map(|(which, der)| {
        let certificate = match Certificate::from_der(der) {
            Ok(certificate) => certificate,
            Err(error) => return Some(format!("{which} cannot be parsed: {error}")),
        };
        unsupported_certificate(which, &certificate)
            .or_else(|| unsupported_issuer(&certificate, roots))
    })
}

fn unsupported_certificate(which: &str, certificate: &Certificate) -> Option<String> {
    let fields = &certificate.tbs_certificate;
    if fields.version != Version::V3 {
        let number = u8::from(fields.version == Version::V2) + 1;
        return Some(format!(
            "{which} is of X.509 version {number}, which cannot say what it is for; make one of \
             version 3, or verify nothing with sslmode=require and no sslrootcert"
        ));
    }
    let signature = &certificate.signature_algorithm.oid;
    let key = fields.subject_public_key_info.to_der().ok();
    let key = key.and_then(|key| unsupported_public_key(&key));
    let problem = if is_one_of(signature, &SIGNATURES) {
        format!("has a key of a kind that is not supported: {}", key?)
    } else {
        let signature = name_of(signature);
        format!("is signed in a way that is not supported: {signature}")
    };
    Some(format!("{which} {problem}; {SUPPORTED}"))
}

/// What is not supported about the key of the authority that signed this certificate, if it is trusted.
fn unsupported_issuer(certificate: &Certificate, roots: &RootCertStore) -> Option<String> {
    let issuer = certificate.tbs_certificate.issuer.to_der().ok()?;
    // An anchor has the contents of its fields, without the headers.
    let contents = AnyRef::from_der(&issuer).ok()?.value();
    let mut issuers = roots
        .roots
        .iter()
        .filter(|root| root.subject.as_ref() == contents);
    issuers.find_map(|root| {
        let key = AnyRef::new(Tag::Sequence, root.subject_public_key_info.as_ref()).ok()?;
        let key = unsupported_public_key(&key.to_der().ok()?)?;
        Some(format!(
            "the authority that signs it has a key of a kind that is not supported: {key}; {SUPPORTED}"
        ))
    })
}

/// The kind of a public key, unless it is supported.
fn unsupported_public_key(der: &[u8]) -> Option<String> {
    let key = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    let modulus = key.subject_public_key.as_bytes().unwrap_or_default();
    unsupported(&key.algorithm, || {
        let numbers = numbers(modulus).ok()?;
        numbers.first().copied()
    })
}

/// The kind of a client's private key, unless it is supported.
pub(super) fn unsupported_private_key(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        // The version of the structure comes first.
        PrivateKeyDer::Pkcs1(key) => rsa(numbers(key.secret_pkcs1_der()).ok()?.get(1).copied()),
        PrivateKeyDer::Sec1(_) => Some("another elliptic curve than P-256 and P-384".to_owned()),
        PrivateKeyDer::Pkcs8(key) => {
            let (algorithm, inner) = pkcs8(key.secret_pkcs8_der()).ok()?;
            unsupported(&algorithm, || {
                let numbers = numbers(inner).ok()?;
                numbers.get(1).copied()
            })
        }
        _ => None,
    }
}

/// The kind of a key of this algorithm, unless it is supported. `bits` is the length of an RSA modulus.
fn unsupported(
    algorithm: &AlgorithmIdentifierRef<'_>,
    bits: impl FnOnce() -> Option<usize>,
) -> Option<String> {
    match algorithm.oid {
        oid if is_one_of(&oid, &[RSA]) => rsa(bits()),
        oid if is_one_of(&oid, &[ED25519]) => None,
        oid if is_one_of(&oid, &[EC]) => match algorithm.parameters_oid() {
            Ok(curve) if is_one_of(&curve, &CURVES) => None,
            Ok(curve) => Some(name_of(&curve)),
            Err(_) => Some("an elliptic curve without a name".to_owned()),
        },
        oid => Some(name_of(&oid)),
    }
}

fn rsa(bits: Option<usize>) -> Option<String> {
    let bits = bits?;
    (!(2048..=8192).contains(&bits)).then(|| format!("RSA of {bits} bits"))
}

/// The lengths in bits of the first two numbers of a sequence.
fn numbers(der: &[u8]) -> der::Result<Vec<usize>> {
    let mut rest = SliceReader::new(AnyRef::from_der(der)?.value())?;
    let mut lengths = Vec::new();
    for _ in 0..2 {
        let bytes = UintRef::decode(&mut rest)?.as_bytes();
        let unused = bytes.first().map_or(8, |first| first.leading_zeros());
        let unused = usize::try_from(unused).unwrap_or(0);
        lengths.push((bytes.len() * 8).saturating_sub(unused));
    }
    Ok(lengths)
}

/// The algorithm of a PKCS #8 key, and the key itself.
fn pkcs8(der: &[u8]) -> der::Result<(AlgorithmIdentifierRef<'_>, &[u8])> {
    let mut rest = SliceReader::new(AnyRef::from_der(der)?.value())?;
    let _version = UintRef::decode(&mut rest)?;
    let algorithm = AlgorithmIdentifierRef::decode(&mut rest)?;
    Ok((algorithm, OctetStringRef::decode(&mut rest)?.as_bytes()))
}

fn is_one_of(oid: &ObjectIdentifier, known: &[&str]) -> bool {
    let oid = oid.to_string();
    known.contains(&oid.as_str())
}

fn name_of(oid: &ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let known = NAMES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(
        || format!("the algorithm {oid}"),
        |(_, name)| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    /// OpenSSL does not start a server with these, unless it is an old one.
    #[test]
    fn what_is_wrong_with_a_certificate_is_named() {
        for (pem, problem) in [
            (include_str!("testdata/rsa1024.crt"), "RSA of 1024 bits"),
            (include_str!("testdata/sha1.crt"), "SHA-1 with RSA"),
            (include_str!("testdata/p521.crt"), "ECDSA with SHA-512"),
        ] {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let found = unsupported_in_chain(&certificate, &[], &RootCertStore::empty());
            assert!(
                found.as_ref().is_some_and(|it| it.contains(problem)),
                "{found:?}"
            );
        }
        let nonsense = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        let found = unsupported_in_chain(&nonsense, &[], &RootCertStore::empty());
        assert!(found.is_some_and(|it| it.contains("cannot be parsed")));
    }
}
