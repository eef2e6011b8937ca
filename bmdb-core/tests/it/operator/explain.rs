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

#[tokio::test]
async fn the_fourth_gate_says_what_pauses_or_limits_a_process_and_what_to_do() {
    let s = Scenario::new().await;
    for id in ["a", "b"] {
        s.provided(id).await;
    }
    let machine = s.provided("c").await;
    let why = async || {
        let mut conn = s.db.connect().await.unwrap();
        explain(&gates::one(&mut conn, machine, &START).await.unwrap())
    };
    assert_eq!(
        why().await.allowed.sentences,
        ["It is not paused, and no limit is reached."]
    );
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('ShepherdAgentStart');
         INSERT INTO process_limit (process, per, max_running, max_starts, window_seconds)
         VALUES ('ShepherdAgentStart', 'provider', 1, 2, 600);
         INSERT INTO process_slot (process, per, partition, kind, number, free_at) VALUES
             ('ShepherdAgentStart', 'provider', 'Equinix', 'Running', 1, 'infinity'),
             ('ShepherdAgentStart', 'provider', 'Equinix', 'Start', 1, now() + interval '5 min'),
             ('ShepherdAgentStart', 'provider', 'Equinix', 'Start', 2, now() + interval '9 min')",
    )
    .await
    .unwrap();
    let limited = why().await;
    assert_eq!(
        limited.verdict,
        "ShepherdAgentStart does not start: it is limited."
    );
    assert!(!limited.allowed.is_open && limited.allowed.opens_at.is_none());
    let sentences = limited.allowed.sentences.join(" ");
    for part in [
        "Limited: 1 of 1 running for Equinix, the next slot becomes free when one of them ends.",
        "Limited: 2 of 2 starts within 10m for Equinix, next slot at 2",
        "(in 4 min).",
    ] {
        assert!(sentences.contains(part), "no {part} in {sentences}");
    }
    assert!(limited.advice[0].contains("bmdb process limit ShepherdAgentStart"));

    s.db.run_sql(
        "INSERT INTO process_pause (process, provider, until, paused_by, reason)
         VALUES ('ShepherdAgentStart', 'Equinix', now() + interval '2 hours 1 min', 'ada@desk', 'a fire');
         INSERT INTO process_pause (process, source, paused_by, reason)
         VALUES ('ShepherdAgentStart', 'Breaker', 'breaker', '9 of 10 machines need it at once')",
    )
    .await
    .unwrap();
    let paused = why().await;
    assert_eq!(
        paused.verdict,
        "ShepherdAgentStart does not start: it is paused."
    );
    let sentences = paused.allowed.sentences.join(" ");
    for part in [
        "Paused for Equinix by ada@desk since 2",
        "because \"a fire\", until 2",
        "(in 2 h).",
        "Paused by its breaker since 2",
        "because \"9 of 10 machines need it at once\", until somebody resumes it.",
    ] {
        assert!(sentences.contains(part), "no {part} in {sentences}");
    }
    let advice = paused.advice.join(" ");
    for part in [
        "bmdb process resume ShepherdAgentStart --provider Equinix",
        "bmdb process resume ShepherdAgentStart`",
        "find out why before you resume",
    ] {
        assert!(advice.contains(part), "no {part} in {advice}");
    }
}
