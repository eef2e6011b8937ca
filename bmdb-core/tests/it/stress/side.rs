//! A connection beside those of the component, which no fault hits.

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub(super) struct Side(Client);

impl Side {
    pub(super) async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    pub(super) async fn run(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap();
    }

    /// The rows of a query, each as its columns.
    pub(super) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let messages = self.0.simple_query(sql).await.unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| {
            let column = |number| row.get(number).unwrap_or_default().to_owned();
            (0..row.len()).map(column).collect()
        })
        .collect()
    }
}
