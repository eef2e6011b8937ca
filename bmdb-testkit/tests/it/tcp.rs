//! Servers that listen on TCP.

use crate::{Result, dedicated_server};
use bmdb_testkit::{Profile, Server, Tcp, TestDb};
use std::sync::Arc;
use tokio_postgres::{Config, NoTls};

fn over_tcp(server: &Server, db: &TestDb) -> Result<Config> {
    let mut config = Config::new();
    config.host("127.0.0.1").user("postgres").dbname(db.name());
    config.port(server.port().ok_or("no port")?);
    Ok(config)
}

async fn boot(tcp: Tcp) -> Result<Arc<Server>> {
    let installation = dedicated_server::installed()?;
    let boot = move || Server::boot_tcp(&installation, Profile::Fast, &tcp);
    Ok(Arc::new(tokio::task::spawn_blocking(boot).await??))
}

#[tokio::test]
async fn a_database_is_reached_over_tcp_and_over_the_socket() -> Result {
    let server = boot(Tcp::new()).await?;
    let db = TestDb::on(&server).await?;
    db.run_sql("CREATE TABLE notes AS SELECT 7 AS n").await?;
    let (client, connection) = over_tcp(&server, &db)?.connect(NoTls).await?;
    tokio::spawn(connection);
    let n: i32 = client.query_one("SELECT n FROM notes", &[]).await?.get(0);
    assert_eq!(n, 7);
    Ok(())
}

#[tokio::test]
async fn rules_decide_which_clients_are_accepted_over_tcp() -> Result {
    let server = boot(Tcp::new().rules(["host all all 127.0.0.1/32 reject"])).await?;
    let db = TestDb::on(&server).await?;
    let refused = over_tcp(&server, &db)?.connect(NoTls).await.err();
    let refused = refused.ok_or("it was accepted")?;
    assert_eq!(refused.code().map(|code| code.code()), Some("28000"));
    assert_eq!(dedicated_server::boot(Profile::Fast)?.port(), None);
    Ok(())
}

#[test]
fn the_error_about_an_invalid_certificate_quotes_the_server() -> Result {
    let tcp = Tcp::new().tls("no certificate", "no key");
    let error = Server::boot_tcp(&dedicated_server::installed()?, Profile::Fast, &tcp);
    let error = error.err().ok_or("it booted")?.to_string();
    // Servers from package registries are built without TLS.
    let is_quoted = error.contains("server.crt") || error.contains("SSL is not supported");
    assert!(is_quoted, "{error}");
    assert!(!format!("{tcp:?}").contains("no key"));
    Ok(())
}
