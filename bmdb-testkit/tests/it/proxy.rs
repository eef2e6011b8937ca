//! The proxy: each of its faults, over TCP and over unix sockets.

mod address;
mod faults;
mod losses;

use crate::Result;
use bmdb_testkit::{Proxy, TestDb};
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

/// How a client connects to a proxy.
#[derive(Debug, Clone, Copy)]
enum By {
    Tcp,
    Unix,
}

const BOTH: [By; 2] = [By::Tcp, By::Unix];

impl By {
    async fn proxy(self, url: &str) -> Result<Proxy> {
        Ok(match self {
            Self::Tcp => Proxy::tcp(url).await?,
            Self::Unix => Proxy::unix(url).await?,
        })
    }
}

/// A client, and the task that ends with its connection.
struct Connected {
    client: Client,
    closed: JoinHandle<()>,
}

impl Connected {
    async fn to(url: &str) -> Result<Self> {
        let (client, connection) = in_time(tokio_postgres::connect(url, NoTls)).await??;
        let closed = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, closed })
    }

    async fn answers(&self) -> Result {
        in_time(self.client.simple_query("SELECT 1")).await??;
        Ok(())
    }

    async fn gets_closed(self) -> Result {
        in_time(self.closed).await??;
        assert!(self.client.is_closed());
        Ok(())
    }
}

/// Fails instead of hanging. The timeout is longer than anything in these tests takes.
async fn in_time<F: Future>(future: F) -> Result<F::Output> {
    Ok(tokio::time::timeout(Duration::from_secs(10), future).await?)
}

/// Checks that a future stays pending for longer than it would need.
async fn stays_pending(future: impl Future) {
    let waited = tokio::time::timeout(Duration::from_millis(100), future).await;
    assert!(waited.is_err(), "it is ready");
}

/// Waits until `condition`, an SQL expression, is true.
async fn until(db: &TestDb, condition: &str) -> Result {
    let is_true = async {
        while db.rows(&format!("SELECT {condition}")).await? != ["t"] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, bmdb_testkit::TestkitError>(())
    };
    Ok(in_time(is_true).await??)
}

#[tokio::test]
async fn everything_is_forwarded_unchanged() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        let text = "0123456789abcde\n".repeat(1 << 17);
        let concatenate = "SELECT $1::text || 'x'";
        let row = in_time(one.client.query_one(concatenate, &[&text])).await??;
        let back: String = row.get(0);
        assert!(back.strip_suffix('x') == Some(&text), "{by:?}");
        let error = one.client.simple_query("SELEC").await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42601"));
        one.answers().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_proxy_can_be_in_front_of_another() -> Result {
    let db = TestDb::new().await?;
    for (first, second) in [(By::Tcp, By::Unix), (By::Unix, By::Tcp)] {
        let first = first.proxy(db.url()).await?;
        let second = second.proxy(first.url()).await?;
        Connected::to(second.url()).await?.answers().await?;
        assert_eq!((first.requests(), second.requests()), (1, 1));
    }
    Ok(())
}

#[tokio::test]
async fn connections_and_requests_are_counted() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        let other = Connected::to(proxy.url()).await?;
        assert_eq!((proxy.connections(), proxy.requests()), (2, 0));
        one.answers().await?;
        assert_eq!(proxy.requests(), 1);
        // One request to prepare it, one to run it.
        in_time(other.client.query("SELECT 1::int8", &[])).await??;
        assert_eq!(proxy.requests(), 3);
        drop(one.client);
        in_time(one.closed).await??;
        in_time(async {
            while proxy.connections() > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await?;
        other.answers().await?;
    }
    Ok(())
}

#[tokio::test]
async fn pipelined_requests_are_one_round_trip() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        for _ in 0..2 {
            one.answers().await?;
        }
        assert_eq!((proxy.requests(), proxy.round_trips()), (2, 2));
        let (first, second) = in_time(async {
            tokio::join!(
                one.client.simple_query("SELECT 1"),
                one.client.simple_query("SELECT 2")
            )
        })
        .await?;
        first?;
        second?;
        assert_eq!((proxy.requests(), proxy.round_trips()), (4, 3));
    }
    Ok(())
}

#[tokio::test]
async fn the_client_gets_the_error_with_which_the_server_ends_a_connection() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        let kill = "SELECT pg_terminate_backend(pg_backend_pid())";
        let error = in_time(one.client.simple_query(kill)).await?.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("57P01"));
        one.gets_closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_server_notices_that_a_client_has_closed_its_connection() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let mut config: Config = proxy.url().parse()?;
        config.application_name("closed");
        let (client, connection) = config.connect(NoTls).await?;
        let is_connected = "EXISTS (SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'closed')";
        until(&db, is_connected).await?;
        drop((client, connection));
        until(&db, &format!("NOT {is_connected}")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_proxy_closes_its_connections_and_leaves_nothing() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let url = proxy.url().to_owned();
        let one = Connected::to(&url).await?;
        drop(proxy);
        one.gets_closed().await?;
        let refused = address::refusal(&url).await?;
        let kind = match by {
            By::Tcp => std::io::ErrorKind::ConnectionRefused,
            By::Unix => std::io::ErrorKind::NotFound,
        };
        assert_eq!(refused, Some(kind));
        assert!(!address::folder(&url)?.is_some_and(|folder| folder.exists()));
    }
    Ok(())
}
