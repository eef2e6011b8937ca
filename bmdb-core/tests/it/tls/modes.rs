//! Every `sslmode` with every kind of server.

use super::{Authority, Folder, Tls};
use bmdb_core::{Bmdb, Config, ConnectError};
use bmdb_testkit::Tcp;

/// The result of connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    Encrypted,
    Plain,
    NotEncrypted,
    NotTrusted,
}

use Comes::{Encrypted, NotEncrypted, NotTrusted, Plain};

async fn comes(tls: &Tls, parameters: &str) -> (Comes, String) {
    match tls.is_encrypted(parameters).await {
        Ok(true) => (Encrypted, String::new()),
        Ok(false) => (Plain, String::new()),
        Err(error) => {
            let comes = match &error {
                ConnectError::NotEncrypted { .. } => NotEncrypted,
                ConnectError::ServerNotTrusted { .. } => NotTrusted,
                other => panic!("{parameters}: {other:?}"),
            };
            (comes, error.to_string())
        }
    }
}

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Connects with each mode in turn and returns the texts of the errors.
async fn with_each_mode(tls: &Tls, root: &str, expected: [Comes; 6]) -> Vec<String> {
    let mut errors = Vec::new();
    for (mode, expected) in MODES.iter().zip(expected) {
        let (comes, error) = comes(tls, &format!("sslmode={mode} sslrootcert={root}")).await;
        assert_eq!(comes, expected, "sslmode={mode}: {error}");
        errors.extend((!error.is_empty()).then_some(error));
    }
    errors
}

#[tokio::test]
async fn each_mode_trusts_the_right_servers() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let right = folder.file("right.crt", &ours.certificate);
    let wrong = folder.file("wrong.crt", &theirs.certificate);
    let both = folder.file("both.crt", &(theirs.certificate + &ours.certificate));

    let server = ours.server(&["localhost", "127.0.0.1"]);
    let Some(tls) = Tls::boot(Tcp::new().tls(server.certificate, server.key)).await else {
        return;
    };
    let all = [Plain, Plain, Encrypted, Encrypted, Encrypted, Encrypted];
    with_each_mode(&tls, &right, all).await;
    with_each_mode(&tls, &both, all).await;
    let none = [Plain, Plain, Encrypted, NotTrusted, NotTrusted, NotTrusted];
    for error in with_each_mode(&tls, &wrong, none).await {
        let reason = format!("signed by no authority in {wrong}; is sslrootcert that of this");
        assert!(error.contains(&reason), "{error}");
    }
    // Without an authority, only encryption can be required.
    assert_eq!(comes(&tls, "sslmode=require").await.0, Encrypted);
    assert_eq!(comes(&tls, "").await.0, Encrypted);
    // The address is one of its names, too.
    let by_address = format!(
        "postgres://postgres@127.0.0.1:{}/{}?sslmode=verify-full&sslrootcert={right}",
        tls.server.port().unwrap(),
        tls.db.name()
    );
    Bmdb::connect(Config::new(by_address).janitor_interval(None))
        .await
        .unwrap();
}

#[tokio::test]
async fn only_verify_full_refuses_a_wrong_hostname() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let right = folder.file("right.crt", &ours.certificate);
    let wrong = folder.file("wrong.crt", &theirs.certificate);
    let server = ours.server(&["db.example"]);
    let Some(tls) = Tls::boot(Tcp::new().tls(server.certificate, server.key)).await else {
        return;
    };
    let by_name = [Plain, Plain, Encrypted, Encrypted, Encrypted, NotTrusted];
    let errors = with_each_mode(&tls, &right, by_name).await;
    for part in [
        "db.example",
        "localhost",
        "sslmode=verify-ca",
        "common name",
    ] {
        assert!(errors[0].contains(part), "{}", errors[0]);
    }
    // Not verifying the hostname excuses no other error.
    let none = [Plain, Plain, Encrypted, NotTrusted, NotTrusted, NotTrusted];
    with_each_mode(&tls, &wrong, none).await;
}

#[tokio::test]
async fn every_verifying_mode_refuses_an_expired_certificate() {
    let ours = Authority::new("ours");
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let server = ours.expired(&["localhost"]);
    let Some(tls) = Tls::boot(Tcp::new().tls(server.certificate, server.key)).await else {
        return;
    };
    let none = [Plain, Plain, Encrypted, NotTrusted, NotTrusted, NotTrusted];
    for error in with_each_mode(&tls, &root, none).await {
        assert!(error.contains("renew it on the server"), "{error}");
    }
    assert_eq!(comes(&tls, "sslmode=require").await.0, Encrypted);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let Some(tls) = Tls::boot(Tcp::new()).await else {
        return;
    };
    let folder = Folder::new();
    let root = folder.file("root.crt", &Authority::new("any").certificate);
    let plain = [
        Plain,
        Plain,
        Plain,
        NotEncrypted,
        NotEncrypted,
        NotEncrypted,
    ];
    for error in with_each_mode(&tls, &root, plain).await {
        assert!(
            error.contains("or add sslmode=disable to connect without encryption"),
            "{error}"
        );
    }
    assert_eq!(comes(&tls, "").await.0, Plain, "a loopback address");
}

#[tokio::test]
async fn an_authoritys_own_certificate_is_refused_with_a_remedy() {
    let ours = Authority::new("ours");
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let tcp = Tcp::new().tls(&ours.certificate, &ours.key);
    let Some(tls) = Tls::boot(tcp).await else {
        return;
    };
    let (comes, error) = comes(&tls, &format!("sslmode=verify-full sslrootcert={root}")).await;
    assert_eq!(comes, NotTrusted);
    assert!(error.contains("it is an authority's own"), "{error}");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let ours = Authority::new("ours");
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let (server, other) = (ours.server(&["localhost"]), ours.server(&["localhost"]));
    let revoked = folder.file("revoked.crl", &ours.revoking(&[&other, &server]));
    let fine = folder.file("fine.crl", &ours.revoking(&[&other]));
    let Some(tls) = Tls::boot(Tcp::new().tls(server.certificate, server.key)).await else {
        return;
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let with = |list: &str| format!("sslmode={mode} sslrootcert={root} sslcrl={list}");
        assert_eq!(comes(&tls, &with(&fine)).await.0, Encrypted);
        let (comes, error) = comes(&tls, &with(&revoked)).await;
        assert_eq!(comes, NotTrusted);
        assert!(error.contains("revoked"), "{error}");
    }
}

#[tokio::test]
async fn the_weak_modes_use_any_connection_that_the_servers_rules_admit() {
    let server = Authority::new("ours").server(&["localhost"]);
    let only = |rule: &str| {
        let tcp = Tcp::new().tls(&server.certificate, &server.key);
        Tls::boot(tcp.rules([format!("{rule} all all 127.0.0.1/32 trust")]))
    };
    let (Some(encrypted), Some(plain)) = (only("hostssl").await, only("hostnossl").await) else {
        return;
    };
    for mode in ["allow", "prefer"] {
        let mode = format!("sslmode={mode}");
        assert_eq!(comes(&encrypted, &mode).await.0, Encrypted, "{mode}");
        assert_eq!(comes(&plain, &mode).await.0, Plain, "{mode}");
    }
    for (tls, mode) in [(&encrypted, "disable"), (&plain, "require")] {
        let refused = tls.is_encrypted(&format!("sslmode={mode}")).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    }
}
