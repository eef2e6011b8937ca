//! Everything that a component does, over verified connections.

use super::{Authority, Folder, Tls};
use crate::scenario::RETRY;
use crate::wait;
use bmdb_core::{Bmdb, Claim, Config, SessionOptions};
use bmdb_model::{AgentStarted, Process, Provided, Provider};
use bmdb_testkit::Tcp;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_of_a_component_is_encrypted() {
    let ours = Authority::new("ours");
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let server = ours.server(&["localhost"]);
    let tcp = Tcp::new()
        .tls(server.certificate, server.key)
        .rules(["hostssl all all 127.0.0.1/32 trust"]);
    let Some(tls) = Tls::boot(tcp).await else {
        return;
    };
    let url = tls.url(&format!("sslmode=verify-full sslrootcert={root}"));
    let config = Config::new(url).component("life");
    let bmdb = Bmdb::connect(config).await.unwrap();
    assert_eq!(bmdb.migrate().await.unwrap(), [""; 0], "migrated already");
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let machine = session
        .transact(async |tx| {
            let machine = tx.create_machine().await?;
            tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "1"))
                .await?;
            Ok(machine)
        })
        .await
        .unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let mut claimed = session.claim(&claim).await.unwrap();
    claimed.remove(0).fail(&RETRY, "no answer").await.unwrap();
    tls.db.advance(Duration::from_secs(60)).await.unwrap();
    // The cleanup cancels dropped work on its own connection.
    drop(session.claim(&claim).await.unwrap());
    // A poller makes the component listen.
    let mut poller = session.poller(&claim);
    let mut claimed = poller.next(1).await.unwrap();
    let started = AgentStarted::now(b"key");
    let work = claimed.remove(0);
    assert_eq!(work.machine(), machine);
    work.finish(async |tx| tx.set_agent_started(machine, &started).await)
        .await
        .unwrap();
    let waiting = tokio::spawn(async move { poller.next(1).await.map(drop) });
    let listens = "EXISTS (SELECT FROM pg_stat_activity
                   WHERE application_name = 'life' AND query LIKE 'LISTEN%')";
    wait::until(&tls.db, listens).await;
    let encrypted = tls.encrypted("life").await;
    // One each of the heartbeat, the pool, the cleanup and the listener.
    assert!(encrypted.len() >= 4, "{encrypted:?}");
    assert!(
        encrypted.iter().all(|encrypted| *encrypted),
        "{encrypted:?}"
    );
    waiting.abort();
    session.close().await.unwrap();
}
