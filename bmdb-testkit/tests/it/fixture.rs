//! Fixtures: machines and sessions.

use crate::Result;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_machine_has_the_tags_that_were_added() -> Result {
    let db = TestDb::new().await?;
    let machine = db
        .machine()
        .provided(&Provider::EQUINIX, "it's")
        .agent_started(HOUR)
        .agent_heartbeat(Duration::ZERO)
        .hold("disk")
        .hardware_report(b"\x00\xff")
        .os_installation_request(2, b"r")
        .os_installation_report(1, "Error")
        .create()
        .await?;
    let tags = "SELECT machine_id, provider, provider_id, now() - agent_started_at > '59 min',
                       now() - agent_heartbeat_at < '1 min', reason, hardware_report_raw,
                       q.generation, r.generation, os_installation_result
                FROM machine_provided JOIN machine_agent_started USING (machine_id)
                JOIN machine_agent_heartbeat USING (machine_id) JOIN machine_hold USING (machine_id)
                JOIN machine_hardware_report USING (machine_id)
                JOIN machine_os_installation_request q USING (machine_id)
                JOIN machine_os_installation_report r USING (machine_id)";
    let expected = format!(r"{machine}|Equinix|it's|t|t|disk|\x00ff|2|1|Error");
    assert_eq!(db.rows(tags).await?, [expected]);
    Ok(())
}

#[tokio::test]
async fn a_machine_has_work_items_only_if_it_is_planned() -> Result {
    let db = TestDb::new().await?;
    let items = "SELECT provider_id, process, eligible FROM work_item
                 JOIN machine_provided USING (machine_id)";
    db.machine()
        .provided(&Provider::LUMEN, "unplanned")
        .create()
        .await?;
    assert!(db.rows(items).await?.is_empty());
    db.machine()
        .provided(&Provider::LUMEN, "planned")
        .planned()
        .create()
        .await?;
    assert_eq!(db.rows(items).await?, ["planned|ShepherdAgentStart|t"]);
    Ok(())
}

#[tokio::test]
async fn a_session_is_alive_for_its_lease() -> Result {
    let db = TestDb::new().await?;
    let session = db.session(Duration::from_millis(4500)).await?;
    let living = "SELECT session_id, session_interval_seconds FROM sessions
                  WHERE session_deadline > clock_timestamp()";
    assert_eq!(db.rows(living).await?, [format!("{session}|5")]);
    Ok(())
}
