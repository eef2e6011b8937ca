//! Side connection: beside those of the component, and never hit by a fault.

use crate::connect::connect;
use crate::failure::Done;
use bmdb_model::SessionId;
use tokio_postgres::{Client, SimpleQueryMessage};

pub(super) struct Side(Client);

impl Side {
    pub(super) async fn connect(url: &str) -> Done<Self> {
        Ok(Self(connect(url).await?))
    }

    pub(super) async fn run(&self, sql: &str) -> Done {
        Ok(self.0.batch_execute(sql).await?)
    }

    /// The rows of a query, each as its columns.
    pub(super) async fn rows(&self, sql: &str) -> Done<Vec<Vec<String>>> {
        let messages = self.0.simple_query(sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let columns = |row: &tokio_postgres::SimpleQueryRow| {
            let column = |number| row.get(number).unwrap_or_default().to_owned();
            (0..row.len()).map(column).collect()
        };
        Ok(rows.map(columns).collect())
    }

    /// Ends a session's lease, as if it had not sent heartbeats: other sessions can get its machines.
    pub(super) async fn expire(&self, session: SessionId) -> Done {
        self.run(&format!(
            "UPDATE sessions SET session_deadline = clock_timestamp() - interval '1 second'
             WHERE session_id = '{session}'"
        ))
        .await
    }
}
