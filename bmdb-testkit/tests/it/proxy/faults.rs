//! Faults of the line: cuts, delays, throttles, black holes, half-open lines, refusals.

use super::address::refusal;
use super::{Connected, EITHER, in_time, nothing_comes_of, until};
use crate::Result;
use bmdb_testkit::TestDb;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, NoTls};

#[tokio::test]
async fn a_cut_closes_what_is_open_and_nothing_else() -> Result {
    let db = TestDb::new().await?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let idle = Connected::to(proxy.url()).await?;
        let busy = Connected::to(proxy.url()).await?;
        let sleep = busy.client.simple_query("SELECT pg_sleep(60)");
        let mut sleep = Box::pin(sleep);
        nothing_comes_of(&mut sleep).await;
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
async fn what_is_said_after_a_cut_does_not_arrive() -> Result {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE said (word text)").await?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        for _ in 0..20 {
            let one = Connected::to(proxy.url()).await?;
            proxy.cut();
            let late = one.client.simple_query("INSERT INTO said VALUES ('late')");
            assert!(in_time(late).await?.is_err());
        }
    }
    assert_eq!(db.rows("SELECT count(*) FROM said").await?, ["0"]);
    Ok(())
}

#[tokio::test]
async fn a_delay_is_added_in_each_direction() -> Result {
    let db = TestDb::new().await?;
    let delay = Duration::from_millis(50);
    for by in EITHER {
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
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.delay(Duration::from_millis(200));
        // In chunks of 64 KiB that wait for each other this would take 32 seconds.
        let text = one.client.query_one("SELECT repeat('x', 10485760)", &[]);
        let text: String = in_time(text).await??.get(0);
        assert_eq!(text.len(), 10_485_760);
    }
    Ok(())
}

#[tokio::test]
async fn healing_ends_a_delay_that_somebody_waits_for() -> Result {
    let db = TestDb::new().await?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        for delay in [Duration::from_secs(3600), Duration::MAX] {
            proxy.delay(delay);
            let mut query = Box::pin(one.client.simple_query("SELECT 1"));
            nothing_comes_of(&mut query).await;
            proxy.heal()?;
            in_time(query).await??;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_throttle_lets_no_more_pass_in_either_direction() -> Result {
    let db = TestDb::new().await?;
    let rate = NonZeroU64::new(200_000).ok_or("zero")?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        let upload = one.client.prepare("SELECT length($1)").await?;
        proxy.throttle(rate);
        let begun = Instant::now();
        let text = one.client.query_one("SELECT repeat('x', 60000)", &[]);
        let text: String = in_time(text).await??.get(0);
        assert!(begun.elapsed() >= Duration::from_millis(300));
        let begun = Instant::now();
        in_time(one.client.query_one(&upload, &[&text])).await??;
        assert!(begun.elapsed() >= Duration::from_millis(300));
        // One that would take days ends when it heals.
        proxy.throttle(NonZeroU64::MIN);
        let mut query = Box::pin(async { one.client.query_one(&upload, &[&text]).await });
        nothing_comes_of(&mut query).await;
        proxy.heal()?;
        in_time(query).await??;
    }
    Ok(())
}

#[tokio::test]
async fn out_of_a_black_hole_comes_nothing_until_it_heals() -> Result {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE said (word text)").await?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.black_hole();
        let insert = one.client.simple_query("INSERT INTO said VALUES ('x')");
        let (mut insert, mut new) = (Box::pin(insert), Box::pin(Connected::to(proxy.url())));
        nothing_comes_of(async { tokio::select!(_ = &mut insert => {}, _ = &mut new => {}) }).await;
        assert_eq!(db.rows("SELECT count(*) FROM said").await?, ["0"]);
        assert!(!one.client.is_closed());
        assert_eq!(refusal(proxy.url()).await?, None);
        proxy.heal()?;
        in_time(insert).await??;
        new.await?.answers().await?;
        db.run_sql("TRUNCATE said").await?;
    }
    Ok(())
}

#[tokio::test]
async fn into_a_black_hole_an_answer_vanishes_and_so_does_its_client() -> Result {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE said (word text)").await?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        // The request passes, and its answer is held back: the gate is a lock.
        let mut gate = Connected::to(db.url()).await?;
        let open = gate.client.transaction().await?;
        open.simple_query("LOCK said").await?;
        let insert = "INSERT INTO said VALUES ('x')";
        let mut answer = Box::pin(one.client.simple_query(insert));
        let waits = "EXISTS (SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock')";
        tokio::select! {
            waits = until(&db, waits) => waits?,
            early = &mut answer => return Err(format!("{early:?}").into()),
        }
        proxy.black_hole();
        open.commit().await?;
        until(&db, "EXISTS (SELECT FROM said)").await?;
        nothing_comes_of(&mut answer).await;
        drop(answer);
        one.closed.abort();
        let there = format!(
            "EXISTS (SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND query = $${insert}$$)"
        );
        nothing_comes_of(until(&db, &format!("NOT {there}"))).await;
        proxy.heal()?;
        until(&db, &format!("NOT {there}")).await?;
        db.run_sql("TRUNCATE said").await?;
    }
    Ok(())
}

#[tokio::test]
async fn on_a_half_open_line_only_the_server_is_heard() -> Result {
    let db = TestDb::new().await?;
    for by in EITHER {
        let proxy = by.proxy(db.url()).await?;
        let (client, mut connection) = tokio_postgres::connect(proxy.url(), NoTls).await?;
        let (heard, mut notes) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(note) = message {
                    drop(heard.send(note.payload().to_owned()));
                }
            }
        });
        client.simple_query("LISTEN here").await?;
        proxy.half_open();
        let mut query = Box::pin(client.simple_query("SELECT 1"));
        nothing_comes_of(&mut query).await;
        db.run_sql("NOTIFY here, 'still'").await?;
        assert_eq!(in_time(notes.recv()).await?.as_deref(), Some("still"));
        nothing_comes_of(&mut query).await;
        proxy.heal()?;
        in_time(query).await??;
    }
    Ok(())
}

#[tokio::test]
async fn who_is_refused_is_refused_by_the_system_until_it_heals() -> Result {
    let db = TestDb::new().await?;
    for by in EITHER {
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
async fn a_proxy_is_healed_from_outside_of_its_runtime() -> Result {
    let db = TestDb::new().await?;
    for by in EITHER {
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
