//! The statements that a connection has prepared, queried on that connection.

use crate::scenario::Scenario;
use diesel::QueryableByName;
use diesel_async::RunQueryDsl;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::Text)]
    text: String,
}

impl Scenario {
    /// The texts of all statements that this connection has prepared.
    pub(crate) async fn prepared(&mut self) -> Vec<String> {
        self.texts("SELECT statement AS text FROM pg_prepared_statements ORDER BY statement")
            .await
    }

    /// The column `text` of a query, on this connection and in its transaction; not prepared.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<String> {
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.conn).await.unwrap();
        rows.into_iter().map(|row| row.text).collect()
    }
}
