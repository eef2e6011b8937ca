//! A connection for those who block.

use crate::TestkitError;
use crate::limit::limit;
use crate::supervisor::connect;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A session on a server. Must not be used inside of a runtime.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    runtime: Runtime,
}

impl Session {
    pub(super) fn open(url: &str) -> Result<Self, TestkitError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| TestkitError::boot("connecting to the server", error))?;
        let client = runtime.block_on(connect(&url.parse()?))?;
        Ok(Self { client, runtime })
    }

    /// The first column of what one statement returns; NULL as nothing.
    pub(super) fn column(&self, sql: &str) -> Result<Vec<String>, TestkitError> {
        let asked = self.runtime.block_on(async {
            // The timer has to be made inside of the runtime.
            tokio::time::timeout(limit(), self.client.simple_query(sql)).await
        });
        let messages = asked.map_err(|_| TestkitError::TimedOut {
            what: format!("the server to run {sql:?}"),
            limit: limit(),
        })??;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Changes a setting of the whole server. `value` needs no quoting.
    pub(super) fn set(&self, setting: &str, value: &str) -> Result<(), TestkitError> {
        self.column(&format!("ALTER SYSTEM SET {setting} = '{value}'"))?;
        self.column("SELECT pg_reload_conf()")?;
        Ok(())
    }

    pub(super) fn is_standby(&self) -> Result<bool, TestkitError> {
        Ok(self.column("SELECT pg_is_in_recovery()")? == ["t"])
    }
}
