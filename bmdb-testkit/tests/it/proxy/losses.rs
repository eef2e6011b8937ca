//! Breakpoints: which request is lost, and at which point.

use super::{BOTH, Connected, in_time, until};
use crate::Result;
use bmdb_testkit::{Loss, TestDb};

const COUNT: &str = "SELECT count(*) FROM notes";

async fn database() -> Result<TestDb> {
    let db = TestDb::new().await?;
    db.run_sql("CREATE TABLE notes (word text)").await?;
    Ok(db)
}

#[tokio::test]
async fn each_loss_happens_at_its_point() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        for loss in Loss::ALL {
            let one = Connected::to(proxy.url()).await?;
            let other = Connected::to(proxy.url()).await?;
            proxy.lose(loss, "needle");
            one.answers().await?;
            assert!(!proxy.has_lost());
            let insert = "INSERT INTO notes VALUES ('needle')";
            let lost = in_time(one.client.simple_query(insert)).await?;
            assert!(lost.is_err(), "{loss:?}");
            assert!(proxy.has_lost(), "{loss:?}");
            in_time(proxy.lost()).await?;
            one.gets_closed().await?;
            match loss {
                Loss::Request => assert_eq!(db.rows(COUNT).await?, ["0"]),
                Loss::Connection => until(&db, "EXISTS (SELECT FROM notes)").await?,
                Loss::Answer => assert_eq!(db.rows(COUNT).await?, ["1"]),
            }
            // Only once, and only on one connection.
            in_time(other.client.simple_query(insert)).await??;
            db.run_sql("TRUNCATE notes").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_prepared_statement_is_found_by_its_text_when_it_runs() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        for loss in Loss::ALL {
            let one = Connected::to(proxy.url()).await?;
            let insert = in_time(one.client.prepare("INSERT INTO notes VALUES ($1)")).await??;
            let count = in_time(one.client.prepare(COUNT)).await??;
            proxy.lose(loss, "INSERT INTO notes");
            in_time(one.client.query_one(&count, &[])).await??;
            assert!(!proxy.has_lost());
            let lost = in_time(one.client.execute(&insert, &[&"word"])).await?;
            assert!(lost.is_err(), "{loss:?}");
            in_time(proxy.lost()).await?;
            match loss {
                Loss::Request => assert_eq!(db.rows(COUNT).await?, ["0"]),
                Loss::Connection => until(&db, "EXISTS (SELECT FROM notes)").await?,
                Loss::Answer => assert_eq!(db.rows(COUNT).await?, ["1"]),
            }
            db.run_sql("TRUNCATE notes").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_server_gets_the_whole_request() -> Result {
    let db = database().await?;
    let long = "x".repeat(1 << 20);
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        for loss in [Loss::Connection, Loss::Answer] {
            let one = Connected::to(proxy.url()).await?;
            let insert = "INSERT INTO notes SELECT $1 || $2::text";
            let insert = in_time(one.client.prepare(insert)).await??;
            proxy.lose(loss, "needle");
            let lost = in_time(one.client.execute(&insert, &[&"needle", &long])).await?;
            assert!(lost.is_err(), "{loss:?}");
            let whole = format!(
                "EXISTS (SELECT FROM notes WHERE length(word) = {})",
                6 + (1 << 20)
            );
            until(&db, &whole).await?;
            db.run_sql("TRUNCATE notes").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_lost_answer_is_not_that_of_an_earlier_request() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.lose(Loss::Answer, "needle");
        let sleep = one.client.simple_query("SELECT 1, pg_sleep(0.05)");
        let insert = one
            .client
            .simple_query("SELECT pg_sleep(0.05); INSERT INTO notes VALUES ('needle')");
        let (_, lost) = in_time(async { tokio::join!(sleep, insert) }).await?;
        assert!(lost.is_err() && proxy.has_lost());
        assert_eq!(db.rows(COUNT).await?, ["1"]);
        db.run_sql("TRUNCATE notes").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_for_data_has_answered() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        proxy.lose(Loss::Answer, "COPY notes");
        let copy = one.client.simple_query("COPY notes FROM STDIN");
        assert!(in_time(copy).await?.is_err());
        assert!(proxy.has_lost());
    }
    Ok(())
}

#[tokio::test]
async fn after_a_copy_the_lost_answer_is_that_of_the_request() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        let copy = in_time(one.client.copy_in::<_, &[u8]>("COPY notes FROM STDIN")).await??;
        let mut copy = std::pin::pin!(copy);
        in_time(copy.as_mut().finish()).await??;
        proxy.lose(Loss::Answer, "needle");
        let insert = "INSERT INTO notes VALUES ('needle')";
        assert!(in_time(one.client.simple_query(insert)).await?.is_err());
        assert_eq!(db.rows(COUNT).await?, ["1"]);
        db.run_sql("TRUNCATE notes").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_startup_of_a_connection_can_be_lost() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        for loss in Loss::ALL {
            proxy.lose(loss, db.name());
            assert!(Connected::to(proxy.url()).await.is_err(), "{loss:?}");
            assert!(proxy.has_lost());
            Connected::to(proxy.url()).await?.answers().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn lost_waits_for_the_breakpoint_that_was_set_last() -> Result {
    let db = database().await?;
    for by in BOTH {
        let proxy = by.proxy(db.url()).await?;
        let one = Connected::to(proxy.url()).await?;
        let other = Connected::to(proxy.url()).await?;
        proxy.lose(Loss::Request, "first");
        proxy.lose(Loss::Request, "second");
        in_time(one.client.simple_query("SELECT 'first'")).await??;
        assert!(!proxy.has_lost());
        let second = one.client.simple_query("SELECT 'second'");
        let (_, lost) = in_time(async { tokio::join!(proxy.lost(), second) }).await?;
        assert!(lost.is_err());
        proxy.lose(Loss::Request, "third");
        assert!(!proxy.has_lost());
        proxy.heal()?;
        in_time(other.client.simple_query("SELECT 'third'")).await??;
        assert!(!proxy.has_lost());
    }
    Ok(())
}
