//! Trimming the whole history at once, in batches.

use crate::db::database::Database;
use crate::error::TxError;
use crate::maintenance::batch::ROWS;
use bmdb_model::history::Retention;
use bmdb_model::internal;
use diesel_async::AsyncPgConnection;

/// Deletes history that `retention` does not keep; returns the number of rows.
pub(crate) async fn history(database: &Database, retention: Retention) -> Result<u64, TxError> {
    let mut rows = 0;
    let mut after = None;
    loop {
        let trim = async |conn: &mut AsyncPgConnection| {
            Ok(internal::history::trim(conn, retention, after, ROWS).await?)
        };
        let trimmed = database.transaction(&trim).await?;
        rows += trimmed.rows;
        if trimmed.over {
            return Ok(rows);
        }
        after = trimmed.after;
    }
}
