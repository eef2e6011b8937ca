//! Files of certificates, keys and passwords: unusable ones, and changes.

use super::{Authority, Folder, Tls};
use bmdb_core::{Bmdb, Config, ConnectError, SessionOptions};
use bmdb_testkit::Tcp;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_error_of_an_unusable_file_names_it_and_a_remedy() {
    let ours = Authority::new("ours");
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let (one, two) = (ours.client("one"), ours.client("two"));
    let certificate = folder.file("one.crt", &one.certificate);
    let key = folder.file("one.key", &one.key);
    let other_key = folder.file("two.key", &two.key);
    let empty = folder.file("empty", "");
    let open = folder.file("open.key", &one.key);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted = folder.file("encrypted.key", encrypted);
    let nowhere = "/nowhere/at.all";
    let check = |parameters: &str| {
        let url = format!("host=db.example sslmode=verify-full {parameters}");
        Config::new(url).check()
    };
    let client = |certificate: &str, key: &str| {
        check(&format!(
            "sslrootcert={root} sslcert={certificate} sslkey={key}"
        ))
    };
    client(&certificate, &key).unwrap();
    for (checked, parameter, file, problem) in [
        (
            check(&format!("sslrootcert={nowhere}")),
            "sslrootcert",
            nowhere,
            "No such file",
        ),
        (
            check(&format!("sslrootcert={empty}")),
            "sslrootcert",
            &empty,
            "no certificate in PEM",
        ),
        (
            check(&format!("sslrootcert={key}")),
            "sslrootcert",
            &key,
            "no certificate in PEM",
        ),
        (client(nowhere, &key), "sslcert", nowhere, "No such file"),
        (
            client(&certificate, nowhere),
            "sslkey",
            nowhere,
            "No such file",
        ),
        (client(&certificate, "/tmp"), "sslkey", "/tmp", "not a file"),
        (
            client(&certificate, &root),
            "sslkey",
            &root,
            "no private key in PEM",
        ),
        (
            client(&certificate, &encrypted),
            "sslkey",
            &encrypted,
            "openssl pkey",
        ),
        (client(&certificate, &open), "sslkey", &open, "mode 0644"),
        (
            client(&certificate, &other_key),
            "sslkey",
            &other_key,
            "it is not the key of",
        ),
        (
            check(&format!("sslrootcert={root} sslcrl={empty}")),
            "sslcrl",
            &empty,
            "no revocation list",
        ),
    ] {
        let error = checked.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, ConnectError::UnusableFile { .. }),
            "{error:?}"
        );
        assert!(
            text.starts_with(&format!("{parameter}: {file}: ")),
            "{text}"
        );
        assert!(text.contains(problem), "{text}");
    }
}

#[tokio::test]
async fn files_are_read_again_for_each_connection() {
    let (ours, next) = (Authority::new("ours"), Authority::new("next"));
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let server = ours.server(&["localhost"]);
    let Some(tls) = Tls::boot(Tcp::new().tls(server.certificate, server.key)).await else {
        return;
    };
    let url = tls.url(&format!("sslmode=verify-full sslrootcert={root}"));
    let config = Config::new(url).component("renewed").janitor_interval(None);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let start = async || bmdb.start_session(SessionOptions::default()).await;
    start().await.unwrap();
    let end_all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                   WHERE application_name = 'renewed'";
    folder.file("root.crt", &next.certificate);
    tls.db.run_sql(end_all).await.unwrap();
    let refused = loop {
        // A pooled connection may not have noticed yet that it was ended.
        match start().await {
            Err(error) if error.to_string().contains("certificate") => break error,
            Err(_) => {}
            Ok(_) => panic!("connected to a server that is not trusted any more"),
        }
    };
    assert!(refused.to_string().contains("no authority"), "{refused}");
    folder.file("root.crt", &ours.certificate);
    start().await.unwrap();
}

/// A passfile of /dev/null, which says that there is none, a folder, a pipe, a file that others may read and one
/// with a line in Latin-1 each kept a component from connecting. libpq warns of them and goes on.
#[tokio::test]
async fn a_password_file_that_cannot_be_used_is_passed_over() {
    let Some(tls) = Tls::boot(Tcp::new()).await else {
        return;
    };
    let folder = Folder::new();
    let open = folder.file("open", "*:*:*:*:secret\n");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let latin = folder.file("latin", "");
    fs::write(&latin, b"h:*:*:m\xfcller:no\n*:*:*:*:secret\n").unwrap();
    let closed = folder.file("closed", "*:*:*:*:secret\n");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    for file in [
        "/dev/null",
        "/tmp",
        "/nowhere/at.all",
        &open,
        &latin,
        &closed,
    ] {
        let connected = tls.is_encrypted(&format!("passfile={file}")).await;
        assert_eq!(connected.ok(), Some(false), "{file}");
    }
}
