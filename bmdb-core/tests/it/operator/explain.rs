//! Explanations of why a process does not start.

use super::{ACCESS, START, ann};
use crate::scenario::{RETRY, Scenario};
use bmdb_core::operator::explain::explain;
use bmdb_model::{Process, gates};

#[tokio::test]
async fn the_explanation_names_what_shuts_each_gate_and_what_opens_it() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let why = async |process: &Process| {
        let mut conn = s.db.connect().await.unwrap();
        explain(&gates::one(&mut conn, machine, process).await.unwrap())
    };
    let open = why(&START).await;
    assert_eq!(
        open.verdict,
        "All gates are open: the next claim of ShepherdAgentStart takes the machine."
    );
    assert!(open.advice[0].contains("no component claims ShepherdAgentStart for Equinix"));

    let missing = why(&Process::SHEPHERD_RECOVERY).await;
    assert_eq!(
        missing.verdict,
        "ShepherdRecovery does not start: it is not eligible."
    );
    assert_eq!(
        missing.eligible.sentences,
        [
            "The workflow workflow_agent_recovery does not list the machine: it lacks the tag machine_agent_started.",
        ]
    );
    let unknown = why(&Process::from_static("Typo")).await;
    assert!(unknown.eligible.sentences[0].starts_with("Typo is not defined"));

    let work = s.claim_one().await;
    let mate = why(&ACCESS).await;
    assert!(!mate.free.is_open && mate.free.since.is_some());
    assert_eq!(
        mate.verdict,
        "ShepherdAccess does not start: the machine is claimed."
    );
    let at_work = "test has been at work on ShepherdAgentStart, which shares the lane shepherd with it, since ";
    assert!(mate.free.sentences[0].starts_with(at_work), "{mate:#?}");
    assert_eq!(
        why(&START).await.verdict,
        "ShepherdAgentStart is running on the machine now."
    );

    work.fail(&RETRY, "no answer").await.unwrap();
    ann().hold(&s.session, machine).await.unwrap();
    let both = why(&START).await;
    assert_eq!(
        both.verdict,
        "ShepherdAgentStart does not start: it is not eligible, it is not ready."
    );
    assert!(both.eligible.sentences[0].contains("on hold since") && both.eligible.since.is_some());
    assert!(
        both.ready.sentences[0].contains("after 1 failure in a row; last cause: \"no answer\""),
        "{both:#?}"
    );
    assert!(both.ready.opens_at.is_some() && both.ready.since.is_some());
    assert!(both.advice[0].contains("bmdb machine release"));
    assert!(
        both.free.sentences[0].contains("The last attempt failed"),
        "{both:#?}"
    );
}
