//! Names of workflows that try to break out of a statement, and names that are not views.

use crate::scenario::Scenario;
use bmdb_model::{Error, Process, ProcessDef, process, retrieval};
use bmdb_testkit::TestDb;
use diesel_async::SimpleAsyncConnection;

const WIPE: Process = Process::from_static("AcmeWipe");

/// Each is the name of a view that is really there, and listed in full.
const HOSTILE: &[&str] = &[
    "\"; DROP TABLE work_item; --",
    "quo\"te",
    "'; SELECT pg_sleep(60); --",
    "public.machine_provided",
    "dot.ted",
    "select",
    "user",
    " ",
    "a b\nc\t/* d",
    "$1",
    "%s {} \\",
    "ünï☃\u{202e}cöde",
    "MACHINES",
    "x234567890123456789012345678901234567890123456789012345678901234",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test]
async fn a_workflow_with_any_view_name_is_planned_and_nothing_else_happens() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r'
                  AND relnamespace = 'public'::regnamespace";
    let before = s.db.rows(tables).await.unwrap();
    for (i, name) in HOSTILE.iter().enumerate() {
        let name = if name.starts_with("x23") {
            &name[..63]
        } else {
            name
        };
        let view = format!(
            "CREATE VIEW {0} AS SELECT machine_id, provider, NULL::timestamptz AS ready_at
             FROM machine_provided; GRANT SELECT ON {0} TO PUBLIC",
            quoted(name)
        );
        s.db.run_sql(&view).await.unwrap();
        let process = Process::new(format!("Acme{i}")).unwrap();
        let definition = ProcessDef::new(process.clone()).workflow(name);
        s.define(&definition).await.unwrap();
        s.write(machine, async |_| Ok(())).await.unwrap();
        let claimed = s.claim_one(&process).await;
        s.finish(&claimed).await;
        s.advance(60).await;
        let listed = retrieval::for_workflow(&mut s.conn, name, &process, None, 9).await;
        assert_eq!(listed.unwrap()[0].machine_id, machine, "{name:?}");
    }
    assert_eq!(s.db.rows(tables).await.unwrap(), before);
}

#[tokio::test]
async fn a_name_that_is_not_exactly_a_views_is_refused_and_named() {
    let db = TestDb::new().await.unwrap();
    let mut conn = db.connect().await.unwrap();
    let long = "x".repeat(63);
    db.run_sql(&format!(
        "CREATE FUNCTION wipe() RETURNS TABLE (machine_id uuid, provider text, ready_at timestamptz)
             LANGUAGE sql AS 'SELECT machine_id, provider, now() FROM machine_provided';
         CREATE TYPE wipe_type AS (machine_id uuid, provider text, ready_at timestamptz);
         CREATE VIEW {long} AS SELECT * FROM workflow_agent_start;
         CREATE VIEW wrong_types AS SELECT machine_id, provider, now()::text AS ready_at FROM machine_provided;
         CREATE SCHEMA other; CREATE VIEW other.hidden AS SELECT * FROM workflow_agent_start;"
    ))
    .await
    .unwrap();
    for name in [
        // It has columns of these names and types.
        "work_item",
        "machines",
        "wipe",
        "wipe()",
        "wipe_type",
        "wrong_types",
        "other.hidden",
        "hidden",
        "public.workflow_agent_start",
        "\"workflow_agent_start\"",
        "WORKFLOW_AGENT_START",
        "workflow_agent_start ",
        "work_fence",
        "work_item_due",
        "pg_class",
        // The server would cut it to the view's name.
        format!("{long}x").as_str(),
        "y".repeat(1000).as_str(),
    ] {
        let definition = ProcessDef::new(WIPE).workflow(name);
        let refused = process::define(&mut conn, &definition).await.unwrap_err();
        let Error::InvalidDefinition { problem, .. } = refused else {
            panic!("{name:?}: {refused}");
        };
        assert!(
            problem.starts_with(&format!("there is no view {name:?}")),
            "{problem}"
        );
    }
    conn.batch_execute("SELECT 1").await.unwrap();
}
