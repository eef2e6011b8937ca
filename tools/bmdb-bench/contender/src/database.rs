//! Connections to the database.

use tokio_postgres::NoTls;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) async fn connect(url: &str) -> Result<tokio_postgres::Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// sqlx refuses a URL without a host, also if a parameter names the socket, which it prefers.
pub(crate) fn for_sqlx(url: &str) -> String {
    url.replacen("@/", "@localhost/", 1)
}
