//! Retrievals: machines are listed live, with the lane and the backoff of the given process.

use crate::scenario::{ACCESS, MINUTE, RECOVERY, START, Scenario};
use bmdb_model::{Process, Provider, hold, retrieval};

impl Scenario {
    /// The provider's ids of the machines that `process` would be given for agent start.
    async fn start_list(&mut self, process: &Process) -> Vec<String> {
        let conn = &mut self.conn;
        let listed = retrieval::for_agent_start(conn, process, None, 100)
            .await
            .unwrap();
        let mut ids: Vec<String> = listed.into_iter().map(|m| m.provided.provider_id).collect();
        ids.sort();
        ids
    }
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn a_machine_whose_agent_runs_or_that_is_on_hold_is_not_listed() {
    let mut s = Scenario::new().await;
    let wanted = s.provided("wanted").await;
    let machine = |id| s.db.machine().provided(&Provider::EQUINIX, id);
    machine("started")
        .agent_started(MINUTE)
        .create()
        .await
        .unwrap();
    machine("on-hold").hold("disk").create().await.unwrap();
    s.db.machine().create().await.unwrap();
    assert_eq!(s.start_list(&START).await, ["wanted"]);
    s.write(wanted, async |conn| hold::set(conn, wanted, "fan").await)
        .await
        .unwrap();
    assert_eq!(s.start_list(&START).await, NONE);
}

#[tokio::test]
async fn only_the_given_processes_backoff_counts() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.fail(&attempt, 10, "no answer").await;
    assert_eq!(s.start_list(&ACCESS).await, NONE);
    assert_eq!(s.start_list(&START).await, ["a"]);
    s.advance(11).await;
    assert_eq!(s.start_list(&ACCESS).await, ["a"]);
}

#[tokio::test]
async fn only_the_given_processes_lane_counts() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let inventory = Process::from_static("Inventory");
    let attempt = s.claim_machine(machine, &RECOVERY).await;
    for mate in [ACCESS, START, RECOVERY] {
        assert_eq!(s.start_list(&mate).await, NONE, "{mate}");
    }
    assert_eq!(s.start_list(&inventory).await, ["a"]);

    s.cancel(&attempt).await;
    s.claim_machine(machine, &inventory).await;
    assert_eq!(s.start_list(&inventory).await, NONE);
    assert_eq!(s.start_list(&ACCESS).await, ["a"]);
}

#[tokio::test]
async fn a_retrieval_returns_whole_tags_of_the_given_provider() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let lumen =
        s.db.machine()
            .provided(&Provider::LUMEN, "b")
            .create()
            .await
            .unwrap();
    let conn = &mut s.conn;
    let only = Some(&Provider::LUMEN);
    let listed = retrieval::for_agent_start(conn, &START, only, 100)
        .await
        .unwrap();
    let tag = bmdb_model::provided::of(conn, lumen)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].machine_id, &listed[0].provided), (lumen, &tag));
    let only = Some(&Provider::NONE);
    assert_eq!(
        retrieval::for_agent_start(conn, &START, only, 100)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn at_most_the_limit_is_listed() {
    let mut s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    for (limit, expected) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)] {
        let listed = retrieval::for_agent_start(&mut s.conn, &START, None, limit)
            .await
            .unwrap();
        assert_eq!(listed.len(), expected);
    }
}

#[tokio::test]
async fn any_workflow_can_be_listed_and_an_unknown_one_is_an_error() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let conn = &mut s.conn;
    let view = "workflow_agent_start";
    let listed = retrieval::for_workflow(conn, view, &START, None, 1)
        .await
        .unwrap();
    assert_eq!(listed[0].provided.provider_id, "a");
    let error = retrieval::for_workflow(conn, "nowhere", &START, None, 1)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "database: relation \"nowhere\" does not exist"
    );
}
