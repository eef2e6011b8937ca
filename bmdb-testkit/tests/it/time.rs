//! Moving time.

use crate::Result;
use bmdb_model::SessionId;
use bmdb_testkit::TestDb;
use std::time::Duration;

const SESSION: &str = "6f1f3b3e-0000-4000-8000-000000000001";

async fn with_session() -> Result<TestDb> {
    let db = TestDb::new().await?;
    db.run_sql(&format!(
        "INSERT INTO sessions VALUES ('{SESSION}', 'c', 'r', now(), 5, now() + interval '5 s')"
    ))
    .await?;
    Ok(db)
}

#[tokio::test]
async fn advancing_moves_every_recorded_time_except_those_of_sessions() -> Result {
    let db = with_session().await?;
    db.run_sql(&format!(
        "INSERT INTO machines (machine_id) VALUES ('{SESSION}');
         INSERT INTO machine_hold VALUES ('{SESSION}', 'a reason', now());
         INSERT INTO machine_agent_started VALUES ('{SESSION}', now(), '');
         INSERT INTO machine_agent_heartbeat VALUES ('{SESSION}', now());
         INSERT INTO work_attempt VALUES
             ('{SESSION}', 1, 1, 'A', '{SESSION}', now(), now(), 'Finished');
         INSERT INTO work_item (machine_id, process, lane, eligible, plan_at, backoff_until,
                                session_id, started_at)
         VALUES ('{SESSION}', 'A', 'A', true, now(), now() + interval '90 min', '{SESSION}', now())"
    ))
    .await?;

    db.advance(Duration::from_secs(3600)).await?;

    let minutes = "round(extract(epoch from (now() - x)) / 60)";
    let ages = format!(
        "SELECT what, {minutes} FROM (
             SELECT 'created' AS what, machine_created_at AS x FROM machines
             UNION ALL SELECT 'hold', since FROM machine_hold
             UNION ALL SELECT 'started', agent_started_at FROM machine_agent_started
             UNION ALL SELECT 'beat', agent_heartbeat_at FROM machine_agent_heartbeat
             UNION ALL SELECT 'attempt', started_at FROM work_attempt
             UNION ALL SELECT 'ended', ended_at FROM work_attempt
             UNION ALL SELECT 'plan', plan_at FROM work_item
             UNION ALL SELECT 'backoff', backoff_until FROM work_item
             UNION ALL SELECT 'ready', ready_at FROM work_item
             UNION ALL SELECT 'claimed', started_at FROM work_item
             UNION ALL SELECT 'session', session_created_at FROM sessions) times"
    );
    assert_eq!(
        db.rows(&ages).await?,
        [
            "created|60",
            "hold|60",
            "started|60",
            "beat|60",
            "attempt|60",
            "ended|60",
            "plan|60",
            "backoff|-30",
            "ready|-30",
            "claimed|60",
            "session|0",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn setting_the_clock_back_moves_every_recorded_time_into_the_future() -> Result {
    let db = with_session().await?;
    db.run_sql(&format!(
        "INSERT INTO machines (machine_id) VALUES ('{SESSION}');
         INSERT INTO work_item (machine_id, process, lane, eligible, plan_at, session_id, started_at)
         VALUES ('{SESSION}', 'A', 'A', true, now(), '{SESSION}', now())"
    ))
    .await?;
    db.set_clock_back(Duration::from_secs(3600)).await?;
    let minutes = "round(extract(epoch from (x - now())) / 60)";
    let ahead = format!(
        "SELECT what, {minutes} FROM (
             SELECT 'created' AS what, machine_created_at AS x FROM machines
             UNION ALL SELECT 'plan', plan_at FROM work_item
             UNION ALL SELECT 'claimed', started_at FROM work_item
             UNION ALL SELECT 'session', session_created_at FROM sessions
             UNION ALL SELECT 'deadline', session_deadline FROM sessions) times"
    );
    let expected = [
        "created|60",
        "plan|60",
        "claimed|60",
        "session|60",
        "deadline|60",
    ];
    assert_eq!(db.rows(&ahead).await?, expected);
    Ok(())
}

#[tokio::test]
async fn an_expired_session_has_a_deadline_in_the_past() -> Result {
    let db = with_session().await?;
    db.expire(SESSION.parse()?).await?;
    let late = "SELECT session_deadline < clock_timestamp() FROM sessions";
    assert_eq!(db.rows(late).await?, ["t"]);
    Ok(())
}

#[tokio::test]
async fn expiring_an_unknown_session_is_an_error() -> Result {
    let db = TestDb::new().await?;
    let unknown = SessionId::random();
    let error = db.expire(unknown).await.unwrap_err().to_string();
    assert_eq!(error, format!("this database has no session {unknown}"));
    Ok(())
}
