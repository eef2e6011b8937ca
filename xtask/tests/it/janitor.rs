//! A turn of the janitor by hand.

use crate::Result;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Runs the task on this database, off the runtime.
async fn janitor(url: &str, options: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["janitor", "--database-url", url])
        .args(options)
        .stdin(Stdio::null());
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

async fn told(url: &str, options: &[&str]) -> Result<String> {
    let output = janitor(url, options).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn a_dry_run_announces_what_the_turn_does_and_does_nothing() -> Result {
    let db = TestDb::new().await?;
    let machine = db.machine().provided(&Provider::EQUINIX, "a").planned();
    let machine = machine.create().await?.to_string();
    let session = db.session(Duration::from_secs(60)).await?;
    db.execute(&format!(
        "UPDATE work_item SET session_id = '{session}', started_at = clock_timestamp(),
             fence = nextval('work_fence');
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                                   started_at, ended_at, outcome)
         SELECT machine_id, f, f, process, session_id, now(), now(), 'Canceled'
         FROM work_item, (SELECT nextval('work_fence') AS f FROM generate_series(1, 3)) fences"
    ))
    .await?;
    db.expire(session).await?;

    let state = "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM work),
                        (SELECT count(*) FROM work_attempt)";
    let dry: Value =
        serde_json::from_str(&told(db.url(), &["--dry-run", "--json", "--keep-rows", "1"]).await?)?;
    assert_eq!(dry["sessions"][0]["session"], session.to_string());
    assert_eq!(dry["works"][0]["machine"], machine);
    assert_eq!(dry["works"][0]["delay_seconds"], 15);
    assert_eq!(dry["surplus_history"], 2);
    let readable = told(db.url(), &["--dry-run"]).await?;
    for part in ["expired sessions: 1", &machine, "rests 15s", "due now"] {
        assert!(readable.contains(part), "{part}: {readable}");
    }
    assert!(!readable.contains("history"), "{readable}");
    assert_eq!(db.rows(state).await?, ["1|1|3"]);

    // Without a word about what is kept, all history is.
    let turn: Value = serde_json::from_str(&told(db.url(), &["--json"]).await?)?;
    assert_eq!(turn["sessions"][0], session.to_string());
    assert_eq!(turn["works"][0]["machine"], machine);
    assert_eq!(turn["upkeep"][0]["planned"], 1);
    assert_eq!(db.rows(state).await?, ["0|0|4"]);
    let turn = told(db.url(), &["--keep-rows", "1"]).await?;
    assert!(turn.contains("rows of history deleted: 3"), "{turn}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_failed_check() -> Result {
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let output = janitor(nowhere, &["--dry-run"]).await?;
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr)?;
    assert!(stderr.contains("cannot reach"), "{stderr}");
    Ok(())
}
