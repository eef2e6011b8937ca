//! Operator actions: their changes, their single audit records, and their races.

mod explain;
mod processes;

use crate::scenario::{RETRY, Scenario, work_on};
use bmdb_core::operator::{Operator, OperatorError, Tag};
use bmdb_core::{EndError, TxError, Work};
use bmdb_model::tag::TagName;
use bmdb_model::{Fence, MachineId, Process, Provided, Provider, SessionId};
use diesel_async::SimpleAsyncConnection;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

fn ann() -> Operator {
    Operator::new("ann@desk").reason("because")
}

impl Scenario {
    /// The audit records, oldest first.
    async fn audit_records(&self) -> Vec<String> {
        let traces = "SELECT concat_ws(' ', verb, operator, reason, process) FROM operator_action ORDER BY action_id";
        self.rows(traces).await
    }

    async fn outcomes(&self) -> Vec<String> {
        self.rows("SELECT outcome FROM work_attempt ORDER BY fence")
            .await
    }

    async fn release(&self, work: &Work) -> Result<(), OperatorError> {
        let (machine, process) = (work.machine(), work.process());
        let ann = ann();
        let released = ann.release_work(&self.session, machine, process, work.fence());
        released.await.map(drop)
    }
}

fn is_lost(error: &EndError) -> bool {
    matches!(error.reason(), TxError::WorkLost)
}

#[tokio::test]
async fn machines_and_tags_are_written_with_one_audit_record_each() {
    let s = Scenario::new().await;
    let (ann, session) = (ann(), &s.session);
    let provided = Provided::new(Provider::EQUINIX, "a");
    let machine = ann
        .create_machine(session, None, Some(&provided))
        .await
        .unwrap();
    ann.hold(session, machine).await.unwrap();
    // A hold for the same reason changes nothing.
    ann.hold(session, machine).await.unwrap();
    let fan = ann.clone().reason("a fan");
    fan.hold(session, machine).await.unwrap();
    assert!(ann.release_hold(session, machine).await.unwrap());
    assert!(!ann.release_hold(session, machine).await.unwrap());
    for (tag, fields) in [
        (TagName::Provided, &[("location", "fra2")][..]),
        (TagName::AgentStarted, &[("public_key", "key")]),
        (TagName::AgentHeartbeat, &[]),
        (TagName::HardwareReport, &[("report", "hex:00ff")]),
        (TagName::OsInstallationRequest, &[("generation", "1")]),
        (
            TagName::OsInstallationReport,
            &[("generation", "1"), ("result", "Success")],
        ),
    ] {
        let tag = Tag::parse(tag, fields.iter().copied()).unwrap();
        ann.set_tag(session, machine, &tag).await.unwrap();
    }
    let items = "SELECT process, eligible FROM work_item ORDER BY process";
    assert_eq!(
        s.rows(items).await,
        ["ShepherdAgentStart|f", "ShepherdRecovery|f"]
    );
    for tag in [
        TagName::OsInstallationReport,
        TagName::HardwareReport,
        TagName::AgentStarted,
    ] {
        assert!(ann.unset_tag(session, machine, tag).await.unwrap());
        assert!(!ann.unset_tag(session, machine, tag).await.unwrap());
    }
    assert_eq!(
        s.rows(items).await,
        ["ShepherdAgentStart|t", "ShepherdRecovery|f"],
        "it was planned"
    );
    assert_eq!(
        s.rows("SELECT count(*) FROM machine_agent_heartbeat").await,
        ["0"]
    );
    ann.delete_machine(session, machine).await.unwrap();

    let verbs = s.rows("SELECT verb || ' ' || coalesce(details ->> 'tag', '') FROM operator_action ORDER BY action_id").await;
    assert_eq!(
        verbs,
        [
            "CreateMachine ",
            "HoldMachine ",
            "HoldMachine ",
            "ReleaseMachine ",
            "SetTag provided",
            "SetTag agent_started",
            "SetTag agent_heartbeat",
            "SetTag hardware_report",
            "SetTag os_installation_request",
            "SetTag os_installation_report",
            "UnsetTag os_installation_report",
            "UnsetTag hardware_report",
            "UnsetTag agent_started",
            "DeleteMachine ",
        ]
    );
    let details = s
        .rows("SELECT details FROM operator_action WHERE verb = 'DeleteMachine'")
        .await;
    assert_eq!(details, [r#"{"provider": "Equinix", "provider_id": "a"}"#]);
    let whose = s
        .rows("SELECT DISTINCT operator || ' ' || reason FROM operator_action ORDER BY 1")
        .await;
    assert_eq!(whose, ["ann@desk a fan", "ann@desk because"]);
}

#[tokio::test]
async fn a_failed_action_leaves_no_audit_record_and_one_without_a_record_no_effect() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    let session = &s.session;
    let refused = ann().delete_machine(session, machine).await.unwrap_err();
    assert!(
        refused.to_string().contains("has work in progress"),
        "{refused}"
    );
    let nowhere = ann().hold(session, MachineId::random()).await.unwrap_err();
    assert!(
        nowhere.to_string().contains("there is no machine"),
        "{nowhere}"
    );
    let unnamed = Operator::new("")
        .reason("x")
        .hold(session, machine)
        .await
        .unwrap_err();
    assert_eq!(unnamed.to_string(), "operator must not be empty");
    let no_reason = Operator::new("ann")
        .hold(session, machine)
        .await
        .unwrap_err();
    assert_eq!(no_reason.to_string(), "reason must not be empty");
    let tag = Tag::parse(TagName::Provided, [("location", "x")]).unwrap();
    let other = ann().create_machine(session, None, None).await.unwrap();
    let unknown = ann().set_tag(session, other, &tag).await.unwrap_err();
    assert!(matches!(unknown, OperatorError::Tag(_)), "{unknown}");
    assert_eq!(s.audit_records().await, ["CreateMachine ann@desk because"]);
    assert_eq!(s.rows("SELECT count(*) FROM machine_hold").await, ["0"]);
    work.cancel().await.unwrap();
}

#[tokio::test]
async fn released_work_is_canceled_and_its_holder_cannot_end_it() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    s.release(&work).await.unwrap();
    assert_eq!(s.outcomes().await, ["Canceled"]);
    assert_eq!(
        s.audit_records().await,
        ["ReleaseWork ann@desk because ShepherdAgentStart"]
    );

    // Another claim of the machine follows.
    let next = s.claim_one().await;
    let refused = s.release(&work).await.unwrap_err();
    assert!(
        matches!(refused, OperatorError::OtherFence { held, .. } if held == next.fence()),
        "{refused}"
    );
    let error = work.finish(async |_| Ok(())).await.unwrap_err();
    assert!(is_lost(&error), "{error}");
    next.finish(async |_| Ok(())).await.unwrap();
    assert_eq!(s.outcomes().await, ["Canceled", "Finished"]);
    let unclaimed = ann()
        .release_work(&s.session, machine, &START, Fence::new(1))
        .await
        .unwrap_err();
    assert!(
        matches!(unclaimed, OperatorError::NotHeld { .. }),
        "{unclaimed}"
    );
    assert_eq!(s.audit_records().await.len(), 1);
}

#[tokio::test]
async fn work_of_an_expired_session_can_be_released_before_the_janitors_turn() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let dead = s.another_session().await;
    let claim = bmdb_core::Claim::of(&START);
    let work = dead.claim(&claim).await.unwrap().remove(0);
    s.db.expire(dead.id()).await.unwrap();
    s.release(&work).await.unwrap();
    assert_eq!(s.outcomes().await, ["Canceled"]);
    assert_eq!(s.bmdb.reclaim_expired().await.unwrap().attempts, []);
}

// Two ends of one claim: the item's row decides.
#[tokio::test]
async fn exactly_one_of_a_concurrent_release_and_finish_ends_the_work() {
    for round in 0..8 {
        let s = Scenario::new().await;
        let machine = s.provided("a").await;
        let work = s.claim_one().await;
        let (process, fence) = (START, work.fence());
        // Both wait for the item, in the order of their arrival.
        let mut blocker = s.db.connect().await.unwrap();
        blocker
            .batch_execute("BEGIN; SELECT FROM work_item FOR UPDATE")
            .await
            .unwrap();
        let operator = ann();
        let release = async {
            if round % 2 == 1 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            operator
                .release_work(&s.session, machine, &process, fence)
                .await
        };
        let finish = async {
            if round % 2 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            work.finish(async |_| Ok(())).await
        };
        let unblock = async {
            crate::wait::until(&s.db, crate::wait::A_TRANSACTION_WAITS_FOR_A_ROW).await;
            blocker.batch_execute("COMMIT").await.unwrap();
        };
        let (released, finished, ()) = tokio::join!(release, finish, unblock);
        let expected = match (&released, &finished) {
            (Ok(_), Err(error)) => {
                assert!(is_lost(error), "{error}");
                "Canceled"
            }
            (Err(OperatorError::NotHeld { .. }), Ok(_)) => "Finished",
            other => panic!("{other:?}"),
        };
        assert_eq!(s.outcomes().await, [expected]);
        assert_eq!(s.audit_records().await.len(), usize::from(released.is_ok()));
    }
}

#[tokio::test]
async fn the_work_of_an_ended_session_is_freed_as_if_it_had_expired() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let other = s.another_session().await;
    let claim = bmdb_core::Claim::of(&START);
    let work = other.claim(&claim).await.unwrap().remove(0);
    let ended = ann().end_session(&s.session, other.id()).await.unwrap();
    assert_eq!((ended.freed.len(), ended.failure), (1, None));
    assert_eq!(s.outcomes().await, ["Expired"]);
    let trace = s
        .rows("SELECT verb, session_id, details ->> 'component' FROM operator_action")
        .await;
    assert_eq!(trace, [format!("EndSession|{}|test", other.id())]);

    let error = work.finish(async |_| Ok(())).await.unwrap_err();
    assert!(matches!(error.reason(), TxError::SessionExpired), "{error}");
    let refused = other.claim(&claim).await.unwrap_err();
    assert!(matches!(refused, TxError::SessionExpired), "{refused}");
    let again = ann().end_session(&s.session, other.id()).await.unwrap_err();
    assert!(matches!(again, OperatorError::NoSuchSession(_)), "{again}");
    let dead = s.another_session().await;
    s.db.expire(dead.id()).await.unwrap();
    let late = ann().end_session(&s.session, dead.id()).await.unwrap_err();
    assert!(matches!(late, OperatorError::SessionEnded(_)), "{late}");
    let unknown = ann()
        .end_session(&s.session, SessionId::random())
        .await
        .unwrap_err();
    assert!(
        matches!(unknown, OperatorError::NoSuchSession(_)),
        "{unknown}"
    );
    assert_eq!(s.audit_records().await.len(), 1);
}

#[tokio::test]
async fn ending_a_session_waits_for_an_end_under_way() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let other = s.another_session().await;
    let work = other
        .claim(&bmdb_core::Claim::of(&START))
        .await
        .unwrap()
        .remove(0);
    let mut blocker = s.db.connect().await.unwrap();
    blocker
        .batch_execute("BEGIN; SELECT FROM work_item FOR UPDATE")
        .await
        .unwrap();
    let end = async {
        crate::wait::until(&s.db, crate::wait::A_TRANSACTION_WAITS_FOR_A_ROW).await;
        let ended = ann().end_session(&s.session, other.id()).await.unwrap();
        assert_eq!(ended.freed, [], "its session's row is locked by the end");
        let why = ended.failure.unwrap();
        assert!(why.contains("is still under way"), "{why}");
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (finished, ()) = tokio::join!(work.finish(async |_| Ok(())), end);
    finished.unwrap();
    let losses = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(
        (losses.sessions, losses.attempts),
        (vec![other.id()], vec![])
    );
    assert_eq!(s.outcomes().await, ["Finished"]);
    let rest = s.backoff(machine, &START).await.unwrap();
    assert_eq!(
        rest.cause.as_deref(),
        Some("finished, and the machine is still due")
    );
}

#[tokio::test]
async fn a_heartbeat_after_the_end_does_not_revive_the_session() {
    let s = Scenario::new().await;
    let victim =
        s.db.session(std::time::Duration::from_secs(60))
            .await
            .unwrap();
    let mut blocker = s.db.connect().await.unwrap();
    blocker.batch_execute("BEGIN").await.unwrap();
    assert!(
        bmdb_model::internal::session::end(&mut blocker, victim)
            .await
            .unwrap()
    );
    let mut worker = s.db.connect().await.unwrap();
    let ids = [victim];
    let beat = bmdb_model::internal::session::heartbeat(&mut worker, &ids);
    let commit = async {
        crate::wait::until(&s.db, crate::wait::A_TRANSACTION_WAITS_FOR_A_ROW).await;
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (alive, ()) = tokio::join!(beat, commit);
    assert_eq!(alive.unwrap(), []);
}

#[tokio::test]
async fn a_cleared_backoff_restarts_and_an_ended_one_continues() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    for _ in 0..2 {
        s.claim_one().await.fail(&RETRY, "no answer").await.unwrap();
        let was = ann().retry_now(&s.session, machine, &START).await.unwrap();
        assert_eq!(was.cause.as_deref(), Some("no answer"));
    }
    let passed = ann()
        .retry_now(&s.session, machine, &START)
        .await
        .unwrap_err();
    assert!(
        matches!(passed, OperatorError::BackoffPassed { .. }),
        "{passed}"
    );
    let work = s.claim_one().await;
    let claimed = ann()
        .clear_backoff(&s.session, machine, &START)
        .await
        .unwrap_err();
    assert!(
        matches!(claimed, OperatorError::AtWork { fence, .. } if fence == work.fence()),
        "{claimed}"
    );
    work.fail(&RETRY, "no answer").await.unwrap();
    let intervals = "SELECT interval_seconds FROM work_attempt ORDER BY fence";
    assert_eq!(
        s.rows(intervals).await,
        ["1", "2", "4"],
        "the sequence went on"
    );

    let was = ann()
        .clear_backoff(&s.session, machine, &START)
        .await
        .unwrap();
    assert_eq!(was.failures, 3);
    assert!(s.backoff(machine, &START).await.is_none());
    s.claim_one().await.fail(&RETRY, "no answer").await.unwrap();
    assert_eq!(
        s.rows(intervals).await,
        ["1", "2", "4", "1"],
        "the sequence began again"
    );
    assert_eq!(
        s.audit_records().await,
        [
            "RetryNow ann@desk because ShepherdAgentStart",
            "RetryNow ann@desk because ShepherdAgentStart",
            "ClearBackoff ann@desk because ShepherdAgentStart",
        ]
    );

    // Without a workflow, the item is deleted.
    s.advance(5).await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    work.fail(&RETRY, "no answer").await.unwrap();
    ann()
        .clear_backoff(&s.session, machine, &ACCESS)
        .await
        .unwrap();
    assert_eq!(
        s.rows("SELECT process FROM work_item").await,
        ["ShepherdAgentStart"]
    );
    let none = ann()
        .clear_backoff(&s.session, machine, &ACCESS)
        .await
        .unwrap_err();
    assert!(matches!(none, OperatorError::NoBackoff { .. }), "{none}");
}
