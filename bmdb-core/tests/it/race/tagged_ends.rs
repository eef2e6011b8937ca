//! Batches of ends that write tags, of which one meets something that the others do not.

use super::order::begun;
use crate::scenario::{Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Claim, EndError, TxError, Work};
use bmdb_model::column::Column;
use bmdb_model::internal::work::{self, Attempt, Ended};
use bmdb_model::{
    AgentStarted, Error, MachineId, Process, ProcessDef, Provided, Provider, TagWrites,
};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

const START: Process = Process::SHEPHERD_AGENT_START;
const PROBE: Process = Process::from_static("AcmeProbe");

/// A tag that names the attempt.
fn started_by(work: &Work) -> TagWrites {
    let key = work.fence().to_string();
    TagWrites::new().agent_started(AgentStarted::now(key))
}

fn with_tags(claimed: Vec<Work>) -> Vec<(Work, TagWrites)> {
    let tagged = claimed.into_iter().map(|work| {
        let writes = started_by(&work);
        (work, writes)
    });
    tagged.collect()
}

/// Work on machines with these ids at Equinix, in this order.
async fn claimed(s: &Scenario, ids: &[&str]) -> Vec<Work> {
    let mut machines = Vec::new();
    for id in ids {
        machines.push(s.provided(id).await);
    }
    let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(100);
    let mut claimed = s.session.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), machines.len());
    claimed.sort_by_key(|work| {
        machines
            .iter()
            .position(|machine| *machine == work.machine())
    });
    claimed
}

fn attempt_of(s: &Scenario, work: &Work) -> Attempt {
    Attempt {
        machine: work.machine(),
        process: work.process().clone(),
        session: s.session.id(),
        fence: work.fence(),
        started_at: work.started_at(),
    }
}

/// Each attempt that is finished has written its tag, no other attempt has, and none has ended twice.
async fn check_tags(s: &Scenario, finished: &[i64]) {
    let mut finished = finished.to_vec();
    finished.sort_unstable();
    let finished: Vec<String> = finished.iter().map(ToString::to_string).collect();
    let attempts = "SELECT fence FROM work_attempt WHERE outcome = 'Finished' ORDER BY fence";
    assert_eq!(s.rows(attempts).await, finished);
    let tags = "SELECT convert_from(agent_public_key, 'UTF8') FROM machine_agent_started
                ORDER BY convert_from(agent_public_key, 'UTF8')::bigint";
    assert_eq!(s.rows(tags).await, finished);
}

fn fences<'w>(claimed: impl IntoIterator<Item = &'w Work>) -> Vec<i64> {
    claimed.into_iter().map(|work| work.fence().get()).collect()
}

#[tokio::test]
async fn a_zombies_end_in_a_batch_writes_nothing_and_the_others_end_with_their_tags() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2", "3"]).await;
    let lost = claimed[1].machine();
    let mut operator = s.db.connect().await.unwrap();
    let released = work::cancel_for(&mut operator, &attempt_of(&s, &claimed[1])).await;
    assert_eq!(released.unwrap(), Ended::Done(()));
    // Another session is faster than the zombie.
    let other = s.another_session().await;
    let taken_over = work_on(&other, &START, lost).await.unwrap();
    let version = format!("SELECT machine_version FROM machines WHERE machine_id = '{lost}'");
    let before = s.rows(&version).await;

    let finished = fences([&claimed[0], &claimed[2]]);
    let mut ended = s.session.finish_all(with_tags(claimed)).await;
    let refused = ended.remove(1).unwrap_err();
    assert!(matches!(refused.reason(), TxError::WorkLost), "{refused}");
    assert!(refused.into_work().is_none(), "the work is lost");
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    check_tags(&s, &finished).await;
    assert_eq!(s.rows(&version).await, before, "it was touched");
    let fence = "SELECT fence FROM work_item WHERE session_id IS NOT NULL";
    assert_eq!(s.rows(fence).await, [taken_over.fence().to_string()]);
    taken_over.cancel().await.unwrap();
}

#[tokio::test]
async fn a_batch_of_a_session_that_was_reclaimed_writes_nothing() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2"]).await;
    s.db.expire(s.session.id()).await.unwrap();
    s.bmdb.reclaim_expired().await.unwrap();
    for ended in s.session.finish_all(with_tags(claimed)).await {
        let refused = ended.unwrap_err();
        assert!(matches!(refused.reason(), TxError::SessionExpired));
        assert!(refused.into_work().is_none(), "the work is lost");
    }
    check_tags(&s, &[]).await;
    let outcomes = s.rows("SELECT outcome FROM work_attempt").await;
    assert_eq!(outcomes, ["Expired"; 2]);
}

/// Makes writes of this machine's tag wait, after its batch has locked everything.
async fn block_tag(s: &Scenario, machine: MachineId) -> AsyncPgConnection {
    let tag = format!("INSERT INTO machine_agent_started VALUES ('{machine}', now(), '0')");
    let mut blocker = begun(&s.db).await;
    blocker.batch_execute(&tag).await.unwrap();
    blocker
}

#[tokio::test]
async fn an_operator_between_the_lock_and_the_commit_of_a_batch_comes_too_late() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2"]).await;
    let finished = fences(&claimed);
    let attempt = attempt_of(&s, &claimed[1]);
    let mut blocker = block_tag(&s, claimed[0].machine()).await;
    let race = async {
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        let mut operator = s.db.connect().await.unwrap();
        let cancel = work::cancel_for(&mut operator, &attempt);
        let release = async {
            let both_wait = "(SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock') = 2";
            until(&s.db, both_wait).await;
            blocker.batch_execute("ROLLBACK").await.unwrap();
        };
        tokio::join!(cancel, release).0.unwrap()
    };
    let finish = s.session.finish_all(with_tags(claimed));
    let (ended, canceled) = tokio::join!(finish, race);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!(canceled, Ended::Lost);
    check_tags(&s, &finished).await;
}

fn taken(refused: &EndError) -> bool {
    let reason = refused.reason();
    matches!(reason, TxError::Database(Error::ProviderIdTaken { .. }))
}

#[tokio::test]
async fn a_provider_id_that_is_taken_fails_its_own_end_only() {
    let s = Scenario::new().await;
    s.db.machine()
        .provided(&Provider::LUMEN, "taken")
        .create()
        .await
        .unwrap();
    let claimed = claimed(&s, &["1", "2", "3"]).await;
    let finished = fences([&claimed[0], &claimed[2]]);
    let mut tagged = with_tags(claimed);
    let provided = Provided::new(Provider::LUMEN, "taken");
    tagged[1].1 = tagged[1].1.clone().provided(provided);
    let mut ended = s.session.finish_all(tagged).await;
    let refused = ended.remove(1).unwrap_err();
    assert!(taken(&refused), "{refused}");
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    check_tags(&s, &finished).await;
    let work = refused.into_work().expect("it is still claimed");
    work.complete().await.unwrap();
    let outcomes = s.rows("SELECT outcome FROM work_attempt").await;
    assert_eq!(outcomes, ["Finished"; 3]);
}

#[tokio::test]
async fn of_two_ends_that_want_one_provider_id_in_a_batch_one_gets_it() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2"]).await;
    let moved = TagWrites::new().provided(Provided::new(Provider::LUMEN, "one"));
    let tagged = claimed.into_iter().map(|work| (work, moved.clone()));
    let ended = s.session.finish_all(tagged).await;
    let (ended, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!((ended.len(), refused.len()), (1, 1), "{refused:?}");
    assert!(taken(&refused.into_iter().next().unwrap().unwrap_err()));
    let moved = "SELECT count(*) FROM machine_provided WHERE provider = 'Lumen'";
    assert_eq!(s.rows(moved).await, ["1"]);
}

#[tokio::test]
async fn a_value_that_cannot_be_stored_is_refused_and_the_others_end_with_their_tags() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2"]).await;
    let finished = fences([&claimed[1]]);
    let mut tagged = with_tags(claimed);
    let long = vec![0; Column::PUBLIC_KEY.maximum_bytes + 1];
    tagged[0].1 = TagWrites::new().agent_started(AgentStarted::now(long));
    let mut ended = s.session.finish_all(tagged).await;
    let refused = ended.remove(0).unwrap_err();
    let reason = refused.reason();
    let is_too_long = matches!(reason, TxError::Database(Error::TooLong { .. }));
    assert!(is_too_long, "{reason}");
    ended.remove(0).unwrap();
    check_tags(&s, &finished).await;
    let work = refused.into_work().expect("it is still claimed");
    work.cancel().await.unwrap();
}

/// The end of the first machine waits for this lock, and that of the second one does not wait for the first.
async fn check_locked(lock: &str) {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2"]).await;
    let finished = fences(&claimed);
    let mut blocker = begun(&s.db).await;
    let lock = format!(
        "SELECT FROM {lock} WHERE machine_id = '{}' FOR NO KEY UPDATE",
        claimed[0].machine()
    );
    blocker.batch_execute(&lock).await.unwrap();
    let second = format!(
        "EXISTS (SELECT FROM machine_agent_started JOIN work_attempt USING (machine_id)
                 WHERE fence = {} AND outcome = 'Finished')",
        finished[1]
    );
    let release = async {
        until(&s.db, &second).await;
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ended, ()) = tokio::join!(s.session.finish_all(with_tags(claimed)), release);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    check_tags(&s, &finished).await;
}

#[tokio::test]
async fn an_end_whose_machine_or_item_is_locked_waits_and_the_others_of_its_batch_do_not() {
    check_locked("machines").await;
    check_locked("work_item").await;
}

#[tokio::test]
async fn an_end_without_tags_does_not_wait_for_its_machine_even_alone() {
    let s = Scenario::new().await;
    let mut claimed = claimed(&s, &["1", "2"]).await;
    let mut blocker = begun(&s.db).await;
    let lock = format!(
        "SELECT FROM machines WHERE machine_id = '{}' FOR NO KEY UPDATE",
        claimed[1].machine()
    );
    blocker.batch_execute(&lock).await.unwrap();
    s.db.machine()
        .provided(&Provider::LUMEN, "taken")
        .create()
        .await
        .unwrap();
    // The batch fails because of the first end, so the second one is sent alone.
    let writes = TagWrites::new().provided(Provided::new(Provider::LUMEN, "taken"));
    let second = (claimed.remove(1), TagWrites::new());
    let ends = s.session.finish_all([(claimed.remove(0), writes), second]);
    let mut ended = tokio::time::timeout(std::time::Duration::from_secs(4), ends)
        .await
        .expect("it waits for the machine");
    ended.remove(1).unwrap();
    assert!(taken(&ended.remove(0).unwrap_err()));
    blocker.batch_execute("ROLLBACK").await.unwrap();
}

/// Both of one machine: of the tag that both write, that of the later end stays. One has no workflow.
#[tokio::test]
async fn two_attempts_of_one_machine_end_in_one_batch_each_once() {
    let s = Scenario::new().await;
    let probe = ProcessDef::new(PROBE);
    s.owner().await.define_process(&probe).await.unwrap();
    let mut claimed = claimed(&s, &["1"]).await;
    let machine = claimed[0].machine();
    let probing = work_on(&s.session, &PROBE, machine).await.unwrap();
    claimed.push(probing);
    let last = claimed[1].fence();
    let ended = s.session.finish_all(with_tags(claimed)).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    let outcomes = s.rows("SELECT outcome FROM work_attempt").await;
    assert_eq!(outcomes, ["Finished"; 2]);
    let tag = "SELECT convert_from(agent_public_key, 'UTF8') FROM machine_agent_started";
    assert_eq!(s.rows(tag).await, [last.to_string()]);
    let items = "SELECT process, eligible FROM work_item ORDER BY process";
    let planned = ["ShepherdAgentStart|f", "ShepherdRecovery|t"];
    assert_eq!(s.rows(items).await, planned);
}

#[tokio::test]
async fn definitions_that_change_between_the_lock_and_the_plan_are_those_of_the_plan() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1", "2"]).await;
    let mut blocker = block_tag(&s, claimed[0].machine()).await;
    let change = async {
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        s.db.run_sql("UPDATE process_def SET rest_initial_seconds = 77")
            .await
            .unwrap();
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    // The second one changes nothing that matters, so it rests.
    let mut tagged = with_tags(claimed);
    tagged[1].1 = TagWrites::new().hardware_report(b"16 cores");
    let (ended, ()) = tokio::join!(s.session.finish_all(tagged), change);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    let rests = "SELECT last_interval_seconds FROM work_item
                 WHERE process = 'ShepherdAgentStart' ORDER BY last_interval_seconds NULLS FIRST";
    assert_eq!(s.rows(rests).await, ["", "77"]);
    assert_eq!(s.rows("SELECT 1 FROM work_attempt").await.len(), 2);
}

#[tokio::test]
async fn a_process_that_was_put_on_hold_meanwhile_stays_on_hold_after_a_batch() {
    let s = Scenario::new().await;
    let claimed = claimed(&s, &["1"]).await;
    let finished = fences(&claimed);
    let machine = claimed[0].machine();
    let hold = s
        .session
        .transact(async |tx| tx.hold_process(machine, &START, "wait").await);
    hold.await.unwrap();
    let ended = s.session.finish_all(with_tags(claimed)).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    check_tags(&s, &finished).await;
    let item = "SELECT eligible, hold_reason, session_id IS NULL FROM work_item
                WHERE process = 'ShepherdAgentStart'";
    assert_eq!(s.rows(item).await, ["f|wait|t"]);
}
