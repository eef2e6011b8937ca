//! Objects named like the server's or bmdb's, in places where an unqualified name would find them.

use crate::scenario::RETRY;
use bmdb_core::{Bmdb, Claim, Config, SessionOptions, TxError};
use bmdb_model::{Process, Provided, Provider};
use bmdb_testkit::{Role, TestDb};
use std::time::Duration;

/// Every name without a schema in bmdb's statements that another object could have.
const LOOKALIKES: &str = "
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.fooled() RETURNS text LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
    CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql
        AS $$ SELECT evil.fooled()::timestamptz $$;
    CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql
        AS $$ SELECT evil.fooled()::timestamptz $$;
    CREATE FUNCTION evil.version() RETURNS text LANGUAGE sql AS $$ SELECT evil.fooled() $$;
    CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT evil.fooled() $$;
    CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE sql
        AS $$ SELECT evil.fooled() $$;
    CREATE FUNCTION evil.quote_ident(text) RETURNS text LANGUAGE sql AS $$ SELECT evil.fooled() $$;
    CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE sql
        AS $$ SELECT evil.fooled()::regclass $$;
    CREATE FUNCTION evil.pg_backend_pid() RETURNS int LANGUAGE sql AS $$ SELECT evil.fooled()::int $$;
    CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS $$ SELECT evil.fooled() $$;
    CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE sql
        AS $$ SELECT evil.fooled()::bigint $$;
    CREATE FUNCTION evil.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE sql
        AS $$ SELECT evil.fooled()::uuid $$;
    CREATE FUNCTION evil.fooled(a anyelement, b anyelement) RETURNS boolean LANGUAGE sql
        AS $$ SELECT evil.fooled()::boolean $$;
    CREATE OPERATOR evil.= (LEFTARG = anyelement, RIGHTARG = anyelement, PROCEDURE = evil.fooled);
    CREATE OPERATOR evil.<= (LEFTARG = anyelement, RIGHTARG = anyelement, PROCEDURE = evil.fooled);
    CREATE FUNCTION evil.fooled(a int, b int) RETURNS boolean LANGUAGE sql
        AS $$ SELECT evil.fooled()::boolean $$;
    CREATE FUNCTION evil.fooled(a text, b text) RETURNS boolean LANGUAGE sql
        AS $$ SELECT evil.fooled()::boolean $$;
    CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, PROCEDURE = evil.fooled);
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, PROCEDURE = evil.fooled);
    CREATE TABLE evil.machines (); CREATE TABLE evil.sessions (); CREATE TABLE evil.work_item ();
    CREATE TABLE evil.process_def (); CREATE TABLE evil.schema_compatibility ();
    CREATE TABLE evil.__diesel_schema_migrations (); CREATE TABLE evil.pg_settings ();
    GRANT USAGE ON SCHEMA evil TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC";

/// Every operation of a component, once.
async fn work(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::new(url).janitor_interval(Some(Duration::from_millis(50)));
    let bmdb = Bmdb::connect(config).await?;
    assert_eq!(bmdb.migrate().await?, [""; 0]);
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let machine = session
        .transact(async |tx| {
            let machine = tx.create_machine().await?;
            let provided = Provided::new(Provider::EQUINIX, "a");
            tx.set_provided(machine, &provided).await?;
            Ok::<_, TxError>(machine)
        })
        .await?;
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    for work in session.claim(&claim).await? {
        work.fail(&RETRY, "no answer").await?;
    }
    bmdb.replan().await?;
    bmdb.reclaim_expired().await?;
    assert_eq!(bmdb.history_of(machine).await?.len(), 2);
    Ok(session.close().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_path_of_the_database_or_the_role_has_no_effect() {
    let db = TestDb::new().await.unwrap();
    db.run_sql(LOOKALIKES).await.unwrap();
    let url = db.url_as(Role::Component).await.unwrap();
    let name = db.name();
    for set in [
        format!("ALTER DATABASE {name} SET search_path = evil, pg_catalog, public"),
        format!(
            "ALTER ROLE bmdb_test_component IN DATABASE {name} SET search_path = evil, pg_catalog"
        ),
    ] {
        db.run_sql(&set).await.unwrap();
        let fooled = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
        let (client, connection) = fooled.unwrap();
        tokio::spawn(connection);
        let naive = client.batch_execute("SELECT now()").await.unwrap_err();
        let naive = naive.as_db_error().unwrap().message().to_owned();
        assert_eq!(naive, "fooled", "the control: the trap is set");

        let worked = work(&url).await;
        worked.unwrap_or_else(|error| panic!("{set}: {error}"));
        let clean = "DELETE FROM public.work_attempt; DELETE FROM public.work_item;
                     DELETE FROM public.machine_provided; DELETE FROM public.machines";
        let reset = format!("ALTER DATABASE {name} RESET search_path");
        db.run_sql(&reset).await.unwrap();
        db.run_sql(clean).await.unwrap();
    }
}

#[tokio::test]
async fn the_users_schema_and_temporary_tables_do_not_come_first() {
    let db = TestDb::new().await.unwrap();
    let url = db.url_as(Role::Component).await.unwrap();
    db.run_sql(
        "CREATE SCHEMA bmdb_test_component; GRANT ALL ON SCHEMA bmdb_test_component TO PUBLIC;
         CREATE TABLE bmdb_test_component.machines ();
         CREATE TABLE bmdb_test_component.schema_compatibility ();
         GRANT ALL ON ALL TABLES IN SCHEMA bmdb_test_component TO PUBLIC",
    )
    .await
    .unwrap();
    work(&url).await.unwrap();

    // Made by a closure of a program with the privilege.
    let bmdb = Bmdb::connect(Config::new(db.admin_url())).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    session
        .transact(async |tx| {
            use diesel_async::SimpleAsyncConnection;
            let temporary = "CREATE TEMPORARY TABLE machines () ON COMMIT DROP;
                             CREATE TEMPORARY TABLE work_item () ON COMMIT DROP";
            tx.batch_execute(temporary).await?;
            tx.create_machine().await?;
            Ok::<_, TxError>(())
        })
        .await
        .unwrap();
    let machines = db.rows("SELECT count(*) FROM public.machines").await;
    assert_eq!(machines.unwrap(), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_can_name_the_schema_of_an_installation() {
    let db = TestDb::empty().await.unwrap();
    db.run_sql("CREATE SCHEMA \"Fleet 1\"").await.unwrap();
    let url = |url: &str| format!("{url}&options=-csearch_path%3D%22Fleet%5C%201%22");
    let bmdb = Bmdb::connect(Config::new(url(db.admin_url())))
        .await
        .unwrap();
    assert!(!bmdb.migrate().await.unwrap().is_empty());
    let places =
        "SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relname IN ('machines', 'work_item', '__diesel_schema_migrations')";
    assert_eq!(db.rows(places).await.unwrap(), ["Fleet 1"]);
    work(&url(db.admin_url())).await.unwrap();
    let elsewhere = Bmdb::connect(Config::new(db.admin_url())).await.unwrap();
    let unmigrated = elsewhere.start_session(SessionOptions::default()).await;
    assert!(unmigrated.is_err(), "nothing is in public");
}
