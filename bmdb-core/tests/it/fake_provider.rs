//! The example `fake_provider`, run within this test.

#[allow(dead_code, reason = "its main is not the one that is called here")]
#[path = "../../examples/fake_provider/main.rs"]
mod example;

use bmdb_testkit::{Role, TestDb};

#[tokio::test(flavor = "multi_thread")]
async fn all_agents_are_started_and_silent_ones_recovered() {
    let db = TestDb::new().await.unwrap();
    let url = db.url_as(Role::Owner).await.unwrap();
    let (started, recovered) = example::run(&url).await.unwrap();
    // Four without an agent, of which one refuses the first login, and one that is reinstalled.
    assert_eq!((started.finished, started.failed), (5, 1));
    // One reboot helps; where one does not, reinstalling does.
    assert_eq!((recovered.finished, recovered.failed), (2, 1));
    let causes =
        "SELECT process, cause FROM work_attempt WHERE outcome = 'Failed' ORDER BY process";
    assert_eq!(
        db.rows(causes).await.unwrap(),
        [
            "ShepherdAgentStart|connection refused on port 22",
            "ShepherdRecovery|rebooted, and still silent",
        ]
    );
    let agents = "SELECT count(*) FROM machine_agent_started";
    assert_eq!(db.rows(agents).await.unwrap(), ["7"]);
}
