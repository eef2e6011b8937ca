//! Authorities, and the certificates that they sign.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
    serial: SerialNumber,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            certificate,
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// For a server of these names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        self.signed(params_of(names))
    }

    /// The same, but expired.
    pub(crate) fn expired(&self, names: &[&str]) -> Identity {
        let mut params = params_of(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.signed(params)
    }

    /// For a client of this name.
    pub(crate) fn client(&self, name: &str) -> Identity {
        let mut params = params_of(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        self.signed(params)
    }

    fn signed(&self, mut params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let random = bmdb_model::MachineId::random().to_string();
        let serial = SerialNumber::from_slice(&random.as_bytes()[..16]);
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// A list of revoked certificates.
    pub(crate) fn revoking(&self, identities: &[&Identity]) -> String {
        let revoked = identities.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn params_of(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}
