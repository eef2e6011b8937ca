//! Plain connections to the database, which no fault hits.

use crate::failure::{Done, Failure};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::{Client, Error, NoTls};

/// How long this process waits for a connection or a statement while faults are injected.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A connection without a proxy. Its commits do not wait for a standby.
pub(crate) async fn control(url: &str) -> Done<Client> {
    let Ok(connected) = timeout(ANSWER_TIMEOUT, connect(url)).await else {
        let seconds = ANSWER_TIMEOUT.as_secs();
        return Err(Failure::step(format!(
            "the server accepted no connection within {seconds} s"
        )));
    };
    let client = connected?;
    let settings = format!(
        "SET synchronous_commit = local; SET statement_timeout = {}",
        ANSWER_TIMEOUT.as_millis()
    );
    client.batch_execute(&settings).await?;
    Ok(client)
}
