//! Faults of the network: cuts, delays, black holes, half-open connections, refusals.

use super::address::refusal;
use super::{BOTH, Connected, in_time, stays_pending, until};
use crate::Result;
use bmdb_testkit::TestDb;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, NoTls};

#[tokio::test]
async fn a_cut_closes_only_the_open_connections() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let idle = Connected::to(proxy.url()).await?;
        let busy = Connected::to(proxy.url()).await?;
        let sleep = busy.client.simple_query("SELECT pg_sleep(60)");
        let mut sleep = Box::pin(sleep);
        stays_pending(&mut sleep).await;
        proxy.cut();
        assert_eq!(proxy.connections(), 0);
        assert!(in_time(sleep).await?.is_err());
        busy.gets_closed().await?;
        idle.gets_closed().await?;
        let new = Connected::to(proxy.url()).await?;
        new.answers().await?;
        assert_eq!(proxy.connections(), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_sent_after_a_cut_arrives() -> Result {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE notes (word text)").await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        for _ in 0..20 {
            let one = Connected::to(proxy.url()).await?;
            proxy.cut();
            let late = one.client.simple_query("INSERT INTO notes VALUES ('late')");
            assert!(in_time(late).await?.is_err());
        }
    }
    assert_eq!(db.rows("SELECT count(*) FROM notes").await?, ["0"]);
    Ok(())
}

#[tokio::test]
async fn a_delay_is_added_in_each_direction() -> Result {
    let db = TestDb::new().await?;
    let delay = Duration::from_millis(50);
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.delay(delay);
        let begun = Instant::now();
        one.answers().await?;
        assert!(begun.elapsed() >= 2 * delay);
        let begun = Instant::now();
        Connected::to(proxy.url()).await?;
        assert!(begun.elapsed() >= 2 * delay);
    }
    Ok(())
}

#[tokio::test]
async fn a_delay_does_not_limit_throughput() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.delay(Duration::from_millis(200));
        // If chunks of 64 KiB waited for each other, this would take 32 seconds.
        let text = one.client.query_one("SELECT repeat('x', 10485760)", &[]);
        let text: String = in_time(text).await??.get(0);
        assert_eq!(text.len(), 10_485_760);
    }
    Ok(())
}

#[tokio::test]
async fn healing_ends_the_delay_of_a_waiting_request() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        for delay in [Duration::from_secs(3600), Duration::MAX] {
            proxy.delay(delay);
            let mut query = Box::pin(one.client.simple_query("SELECT 1"));
            stays_pending(&mut query).await;
            proxy.heal()?;
            in_time(query).await??;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_black_hole_forwards_nothing_until_it_heals() -> Result {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE notes (word text)").await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.black_hole();
        let insert = one.client.simple_query("INSERT INTO notes VALUES ('x')");
        let (mut insert, mut new) = (Box::pin(insert), Box::pin(Connected::to(proxy.url())));
        stays_pending(async { tokio::select!(_ = &mut insert => {}, _ = &mut new => {}) }).await;
        assert_eq!(db.rows("SELECT count(*) FROM notes").await?, ["0"]);
        assert!(!one.client.is_closed());
        assert_eq!(refusal(proxy.url()).await?, None);
        proxy.heal()?;
        in_time(insert).await??;
        new.await?.answers().await?;
        db.run_sql("TRUNCATE notes").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_black_hole_hides_an_answer_and_that_the_client_has_closed() -> Result {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE notes (word text)").await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        // A lock delays the answer until the black hole is there.
        let mut locker = Connected::to(db.url()).await?;
        let open = locker.client.transaction().await?;
        open.simple_query("LOCK notes").await?;
        let insert = "INSERT INTO notes VALUES ('x')";
        let mut answer = Box::pin(one.client.simple_query(insert));
        let waits = "EXISTS (SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock')";
        tokio::select! {
            waits = until(&db, waits) => waits?,
            early = &mut answer => return Err(format!("{early:?}").into()),
        }
        proxy.black_hole();
        open.commit().await?;
        until(&db, "EXISTS (SELECT FROM notes)").await?;
        stays_pending(&mut answer).await;
        drop(answer);
        one.closed.abort();
        let is_connected = format!(
            "EXISTS (SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND query = $${insert}$$)"
        );
        stays_pending(until(&db, &format!("NOT {is_connected}"))).await;
        proxy.heal()?;
        until(&db, &format!("NOT {is_connected}")).await?;
        db.run_sql("TRUNCATE notes").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_half_open_connection_forwards_only_the_servers_messages() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let (client, mut connection) = tokio_postgres::connect(proxy.url(), NoTls).await?;
        let (sender, mut notifications) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message {
                    drop(sender.send(notification.payload().to_owned()));
                }
            }
        });
        client.simple_query("LISTEN here").await?;
        proxy.half_open();
        let mut query = Box::pin(client.simple_query("SELECT 1"));
        stays_pending(&mut query).await;
        db.run_sql("NOTIFY here, 'still'").await?;
        assert_eq!(
            in_time(notifications.recv()).await?.as_deref(),
            Some("still")
        );
        stays_pending(&mut query).await;
        proxy.heal()?;
        in_time(query).await??;
    }
    Ok(())
}

#[tokio::test]
async fn the_operating_system_refuses_connections_until_the_proxy_heals() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        for _ in 0..3 {
            let one = Connected::to(proxy.url()).await?;
            proxy.refuse();
            let refused = Some(ErrorKind::ConnectionRefused);
            assert_eq!(refusal(proxy.url()).await?, refused);
            assert_eq!(proxy.connections(), 0);
            one.gets_closed().await?;
            proxy.refuse();
            assert_eq!(refusal(proxy.url()).await?, refused);
            proxy.heal()?;
            Connected::to(proxy.url()).await?.answers().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_can_be_healed_from_outside_of_its_runtime() -> Result {
    let db = TestDb::new().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let proxy = std::thread::spawn(move || {
            proxy.refuse();
            proxy.heal().map(|()| proxy)
        });
        let proxy = proxy.join().map_err(|_| "it panicked")??;
        Connected::to(proxy.url()).await?.answers().await?;
        std::thread::spawn(move || drop(proxy))
            .join()
            .map_err(|_| "it panicked")?;
    }
    Ok(())
}
