//! Client authentication: certificates, passwords, and passwords with channel binding.

use super::{Authority, Folder, Tls};
use bmdb_core::ConnectError;
use bmdb_testkit::Tcp;

#[tokio::test]
async fn a_server_that_requires_certificates_accepts_the_right_one_and_explains_refusals() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let server = ours.server(&["localhost"]);
    let tcp = Tcp::new()
        .tls(server.certificate, server.key)
        .client_authorities(&ours.certificate)
        .rules(["hostssl all all 127.0.0.1/32 cert"]);
    let Some(tls) = Tls::boot(tcp).await else {
        return;
    };
    let full = format!("sslmode=verify-full sslrootcert={root}");

    let right = folder.identity("right", &ours.client("postgres"));
    let connected = tls.is_encrypted(&format!("{full} {right}")).await;
    assert!(connected.unwrap());

    let missing = tls.is_encrypted(&full).await.unwrap_err();
    let text = missing.to_string();
    assert!(
        matches!(missing, ConnectError::Refused { .. }),
        "{missing:?}"
    );
    assert!(
        text.contains("requires a valid client certificate"),
        "{text}"
    );
    let left_out = format!("{full} {right} sslcertmode=disable");
    let missing = tls.is_encrypted(&left_out).await.unwrap_err();
    assert!(
        matches!(missing, ConnectError::Refused { .. }),
        "{missing:?}"
    );

    let strange = folder.identity("strange", &theirs.client("postgres"));
    let error = tls
        .is_encrypted(&format!("{full} {strange}"))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, ConnectError::ClientNotTrusted { .. }),
        "{error:?}"
    );
    assert!(
        text.contains("UnknownCA") && text.contains("strange.crt"),
        "{text}"
    );

    let old = folder.identity("old", &ours.expired(&["postgres"]));
    let error = tls
        .is_encrypted(&format!("{full} {old}"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::ClientNotTrusted { .. }),
        "{error:?}"
    );

    let other = folder.identity("other", &ours.client("somebody"));
    let error = tls
        .is_encrypted(&format!("{full} {other}"))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(text.contains("certificate authentication failed"), "{text}");
}

#[tokio::test]
async fn channel_binding_is_used_where_it_is_required() {
    let ours = Authority::new("ours");
    let server = ours.server(&["localhost"]);
    let tcp = Tcp::new()
        .tls(server.certificate, server.key)
        .rules(["host all all 127.0.0.1/32 scram-sha-256"]);
    let Some(tls) = Tls::boot(tcp).await else {
        return;
    };
    tls.db
        .run_sql("CREATE ROLE clerk LOGIN SUPERUSER PASSWORD 'pass:word'")
        .await
        .unwrap();
    let folder = Folder::new();
    let passfile = folder.file("pass", "localhost:*:*:clerk:pass\\:word\n");
    for (parameters, is_let_in) in [
        (
            "password=pass:word sslmode=require channel_binding=require",
            true,
        ),
        ("password=pass:word sslmode=disable", true),
        ("password=wrong sslmode=require", false),
        ("sslmode=require", false),
        (
            "password=pass:word sslmode=disable channel_binding=require",
            false,
        ),
        (&format!("passfile={passfile}"), true),
    ] {
        let connected = tls.is_encrypted(&format!("user=clerk {parameters}")).await;
        assert_eq!(connected.is_ok(), is_let_in, "{parameters}: {connected:?}");
        if let Err(error) = connected {
            // Without a password or channel binding it was "cannot reach", for which a loop waits for ever.
            assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
            assert!(!error.to_string().contains("pass:word"), "{error}");
        }
    }
}
