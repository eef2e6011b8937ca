//! A proxy's address, its URL, and the URLs that it rejects.

use super::{BOTH, By, Connected, in_time};
use crate::Result;
use bmdb_testkit::{Proxy, TestDb, TestkitError};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The folder of the unix socket in a URL.
pub(super) fn folder(url: &str) -> Result<Option<PathBuf>> {
    let config: Config = url.parse()?;
    Ok(match config.get_hosts() {
        [Host::Unix(folder)] => Some(folder.clone()),
        _ => None,
    })
}

/// The error with which the operating system refuses a connection; `None` if it accepts it.
pub(super) async fn refusal(url: &str) -> Result<Option<ErrorKind>> {
    let config: Config = url.parse()?;
    let connected = match config.get_hosts() {
        [Host::Tcp(name)] => {
            let address = (name.as_str(), config.get_ports()[0]);
            in_time(TcpStream::connect(address)).await?.map(drop)
        }
        [Host::Unix(folder)] => {
            let socket = folder.join(".s.PGSQL.5432");
            in_time(UnixStream::connect(socket)).await?.map(drop)
        }
        hosts => return Err(format!("not one host: {hosts:?}").into()),
    };
    Ok(connected.err().map(|error| error.kind()))
}

#[tokio::test]
async fn a_url_keeps_everything_but_the_address() -> Result {
    let db = TestDb::new().await?;
    let path = r#""it's", "a b""#;
    let options = path.replace(' ', "\\ ");
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let encoded: String = options.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = format!(
        "{}{separator}options=-c%20search_path%3D{encoded}&application_name=%26%3D%3F%20%2B",
        db.url()
    );
    for by in BOTH {
        let proxy = by.proxy(&url).await?;
        let one = Connected::to(proxy.url()).await?;
        let shown = "SELECT current_setting('search_path') AS path, current_user::text AS u,
                            current_setting('application_name'), current_database()::text";
        let row = in_time(one.client.query_one(shown, &[])).await??;
        assert_eq!(row.get::<_, &str>(0), path);
        assert_eq!(row.get::<_, &str>(2), "&=? +");
        assert_eq!(row.get::<_, &str>(3), db.name());
        let user = db.rows("SELECT current_user").await?;
        assert_eq!([row.get::<_, &str>(1)], [user[0].as_str()]);
        in_time(AsyncPgConnection::establish(proxy.url())).await??;
    }
    Ok(())
}

#[tokio::test]
async fn only_the_user_can_enter_the_sockets_folder_and_its_path_is_short() -> Result {
    let proxy = Proxy::unix("host=127.0.0.1").await?;
    let folder = folder(proxy.url())?.ok_or("no folder")?;
    let mode = std::fs::metadata(&folder)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(folder.join(".s.PGSQL.5432").as_os_str().len() < 100);
    Ok(())
}

#[tokio::test]
async fn a_url_that_does_not_name_one_server_is_an_error_with_the_reason() -> Result {
    for (url, reason) in [
        ("", "it names no host"),
        ("postgresql://u@/db", "it names no host"),
        ("nonsense", "unexpected EOF"),
        ("host=h port=x", "invalid value for option `port`"),
        ("host=h unknown=1", "unknown option `unknown`"),
        ("postgresql://a,b/db", "it names 2 ports; name one"),
        ("host=a,b", "it names 2 hosts; name one"),
        ("hostaddr=::1,::1", "it names 2 hosts; name one"),
        ("host=a port=1,2", "it names 2 ports; name one"),
    ] {
        for by in BOTH {
            let made = match by {
                By::Tcp => Proxy::tcp(url).await,
                By::Unix => Proxy::unix(url).await,
            };
            let error = made.unwrap_err();
            assert!(matches!(error, TestkitError::NoTarget { .. }));
            let error = error.to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_connection_closes_if_the_server_cannot_be_reached() -> Result {
    for by in BOTH {
        // A folder without a socket.
        let proxy = by.proxy("host=/proc user=u").await?;
        let connected = in_time(tokio_postgres::connect(proxy.url(), tokio_postgres::NoTls));
        assert!(connected.await?.is_err());
        assert_eq!(refusal(proxy.url()).await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn only_the_url_contains_the_password() -> Result {
    let proxy = Proxy::tcp("postgresql://u:s3cret%2F@127.0.0.1/db").await?;
    assert!(
        proxy
            .url()
            .starts_with("postgresql://u:s3cret%2F@127.0.0.1:")
    );
    assert!(!format!("{proxy:?}").contains("s3cret"));
    Ok(())
}
