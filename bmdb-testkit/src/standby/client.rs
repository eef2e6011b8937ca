//! A blocking client.

use crate::TestkitError;
use crate::blocking::runtime;
use crate::connect::{connect, rows};
use crate::wait::within_timeout;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// A connection for code that blocks. It must not be used inside of a runtime.
#[derive(Debug)]
pub(super) struct BlockingClient {
    client: Client,
    runtime: Runtime,
}

impl BlockingClient {
    pub(super) fn connect(url: &str) -> Result<Self, TestkitError> {
        let runtime = runtime("connecting to the server")?;
        let client = runtime.block_on(connect(&url.parse()?))?;
        Ok(Self { client, runtime })
    }

    /// The first column of a statement's rows; NULL as an empty text.
    pub(super) fn column(&self, sql: &str) -> Result<Vec<String>, TestkitError> {
        let what = format!("the server to run {sql:?}");
        let answer = within_timeout(&what, rows(&self.client, sql));
        let rows = self.runtime.block_on(answer)??;
        let column = rows.iter().map(|row| row.get(0).unwrap_or_default());
        Ok(column.map(ToOwned::to_owned).collect())
    }

    /// Changes a setting of the whole server. `value` must not need quoting.
    pub(super) fn set(&self, setting: &str, value: &str) -> Result<(), TestkitError> {
        self.column(&format!("ALTER SYSTEM SET {setting} = '{value}'"))?;
        self.column("SELECT pg_reload_conf()")?;
        Ok(())
    }

    pub(super) fn is_standby(&self) -> Result<bool, TestkitError> {
        Ok(self.column("SELECT pg_is_in_recovery()")? == ["t"])
    }
}
