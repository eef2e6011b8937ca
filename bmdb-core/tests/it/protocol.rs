//! Protocol model: sessions, claims, ends and reclaims, small enough to check every interleaving of two
//! workers, each with a session; one machine with two processes that share a lane; a janitor; and
//! connections that break.
//!
//! The model is about order, not about time: deadlines pass, backoffs elapse and answers get lost
//! whenever that does harm. A step is what happens between two moments at which PostgreSQL may run
//! another transaction's step: a statement's snapshot, a row lock, a commit. Under READ COMMITTED a
//! statement that has waited for a row reads it again, so a guard that reads the locked row is safe.
//! [`lease`] models the client's clock, [`limits`] the slots of a limit, [`definitions`] a change of the
//! definitions that machines are planned by, and [`batch`] ends that share a transaction with their tags.
//!
//! Each guard of the design can be left out; then the model has to find the violation that the guard
//! prevents. If you change a statement's locks, conditions or order, change the step here first, and run
//! `cargo test --release -p bmdb-core --test it protocol -- --include-ignored`.

mod batch;
mod definitions;
mod janitor;
mod lease;
mod limits;
mod request;
mod state;
mod worker;

use batch::{Batch, NO_WRITE_UNLOCKED, REPORTS_ARE_TRUE, TAG_IF_FINISHED};
use definitions::{Definitions, NO_STALE_PLAN, ONE_HOLDER, Release};
use lease::{LOST_IS_FINAL, NO_REVIVAL, OneLease, VALID_IS_NOT_EXPIRED};
use limits::{NO_LEAK, NOT_MORE_THAN_ALLOWED, Slots};
use state::{Kind, Outcome, Slot, State, Sweep, Violation, Worker, WorkerId};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// The guards that make the protocol safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The fence check locks the session's row against its removal.
    FenceCheckLocks,
    /// An end that changes no row rolls its transaction back.
    EndChangesOneRow,
    /// An end is for one fence, not for any claim of the session on the item.
    EndNamesFence,
    /// A claim checks all gates of the row that it has locked.
    GatesOfLockedRow,
    /// The unique index of claimed lanes.
    LaneIndex,
    /// The janitor checks the deadline of the row that it has locked.
    DeadlineOfLockedRow,
    /// The janitor reads the items in a later statement than the one that locks the session.
    ItemsReadLater,
    /// The search for unknown claims waits until the lost claim cannot commit any more.
    SweepAfterClaimIsGone,
}

/// The protocol with all guards, or with all but one.
#[derive(Debug, Clone)]
struct Protocol {
    without: Option<Guard>,
    workers: [Worker; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Send(WorkerId, Kind),
    Step(Slot),
    LoseAnswer(WorkerId),
    LookUp(WorkerId),
    Terminate(WorkerId),
    Sweep(WorkerId),
    DeadlinePasses(WorkerId),
    HeartbeatChecks(WorkerId),
    HeartbeatCommits(WorkerId),
    BackoffElapses(usize),
    JanitorSearches(WorkerId),
    JanitorContinues,
}

const NO_VIOLATION: &str = "no violation";
const CLAIMS_ARE_KNOWN: &str = "a live session's claims are known";

impl Protocol {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let [first, second] = self.workers;
        vec![State::new(first, second)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut all = vec![Action::JanitorContinues];
        all.extend((0..state::SLOTS).map(Action::Step));
        for who in 0..2 {
            all.extend(Self::ends(state, who).map(|end| Action::Send(who, end)));
            all.extend([
                Action::Send(who, Kind::Claim),
                Action::Send(who, Kind::Write),
                Action::LoseAnswer(who),
                Action::LookUp(who),
                Action::Terminate(who),
                Action::Sweep(who),
                Action::DeadlinePasses(who),
                Action::HeartbeatChecks(who),
                Action::HeartbeatCommits(who),
                Action::BackoffElapses(who),
                Action::JanitorSearches(who),
            ]);
        }
        // Later violations may be consequences of the first.
        let goes_on = state.violation.is_none();
        all.retain(|action| goes_on && self.next_state(state, *action).is_some());
        actions.extend(all);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Send(who, Kind::Claim) if state.workers[who].work.is_some() => None,
            Action::Send(who, kind) => Self::send(state, who, kind),
            Action::Step(slot) => self.step(state, slot),
            Action::LoseAnswer(who) => Self::lose_answer(state, who),
            Action::LookUp(who) => Self::look_up(state, who),
            Action::Terminate(who) => Self::terminate(state, who),
            Action::Sweep(who) => self.sweep(state, who),
            Action::DeadlinePasses(who) => Self::pass_deadline(state, who),
            Action::HeartbeatChecks(who) => Self::check_deadline(state, who),
            Action::HeartbeatCommits(who) => Self::commit_heartbeat(state, who),
            Action::BackoffElapses(item) => {
                let was_backing_off = std::mem::take(&mut state.items[item].backing_off);
                was_backing_off.then_some(state)
            }
            Action::JanitorSearches(who) => self.search(state, who),
            Action::JanitorContinues => self.reclaim(state),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_VIOLATION, |_, state: &State| state.violation.is_none()),
            Property::always(CLAIMS_ARE_KNOWN, |_, state: &State| are_claims_known(state)),
            Property::always(
                "nothing is claimed when nothing can happen any more",
                |model, state| {
                    let mut actions = Vec::new();
                    model.actions(state, &mut actions);
                    let goes_on = !actions.is_empty() || state.violation.is_some();
                    goes_on || state.items.iter().all(|item| item.claim.is_none())
                },
            ),
            Property::sometimes("work is finished", |_, state: &State| {
                ended(state, Outcome::Finished)
            }),
            Property::sometimes("work fails", |_, state: &State| {
                ended(state, Outcome::Failed)
            }),
            Property::sometimes("work is lost", |_, state: &State| {
                ended(state, Outcome::Expired)
            }),
        ]
    }
}

fn ended(state: &State, outcome: Outcome) -> bool {
    state.attempts.contains(&Some(outcome))
}

/// A machine must not stay claimed by a live session without a worker that is going to end the work:
/// the worker knows of the claim, or searches for claims that it does not know of.
fn are_claims_known(state: &State) -> bool {
    state.items.iter().all(|item| {
        let Some(claim) = item.claim else {
            return true;
        };
        let worker = &state.workers[claim.session];
        worker.is_over
            || worker.sweep != Sweep::None
            || worker.work.is_some_and(|(_, fence)| fence == claim.fence)
    })
}

/// How much each worker may do: claims, transactions that write, lost answers.
type Scenario = [[usize; 3]; 2];

const ZOMBIES: Scenario = [[1, 1, 0], [1, 0, 0]];
const LOST_ANSWERS: Scenario = [[1, 0, 1], [1, 0, 0]];
const DUPLICATES: Scenario = [[2, 0, 1], [0, 0, 0]];
const BACKOFFS: Scenario = [[2, 0, 0], [1, 0, 0]];

fn protocol(scenario: Scenario, without: Option<Guard>) -> Protocol {
    let workers = scenario.map(|[claims, writes, losses]| Worker::new(claims, writes, losses));
    Protocol { without, workers }
}

#[track_caller]
fn check_no_violation(scenario: Scenario) {
    let checker = protocol(scenario, None).checker().threads(2);
    checker.spawn_bfs().join().assert_properties();
}

/// Without the guard, the shortest path to a violation ends with the expected one.
#[track_caller]
fn check_guard_is_needed(guard: Guard, scenario: Scenario, expected: Option<Violation>) {
    let checker = protocol(scenario, Some(guard)).checker();
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    let found = checker.spawn_bfs().join().discoveries();
    let name = match expected {
        Some(_) => NO_VIOLATION,
        None => CLAIMS_ARE_KNOWN,
    };
    let Some(path) = found.get(name) else {
        panic!("no violation without {guard:?}: {:?}", found.keys());
    };
    assert_eq!(path.last_state().violation, expected, "{path}");
}

#[test]
fn a_zombie_violates_nothing_in_any_interleaving() {
    check_no_violation(ZOMBIES);
}

#[test]
fn a_lost_answer_violates_nothing_in_any_interleaving() {
    check_no_violation(LOST_ANSWERS);
}

#[test]
fn an_end_that_is_sent_twice_violates_nothing_in_any_interleaving() {
    check_no_violation(DUPLICATES);
}

#[test]
fn claims_after_failures_violate_nothing_in_any_interleaving() {
    check_no_violation(BACKOFFS);
}

#[test]
#[ignore = "ten million states, some minutes: run it with --release"]
fn larger_scenarios_violate_nothing() {
    for scenario in [
        [[1, 1, 1], [1, 1, 0]],
        [[1, 0, 1], [1, 0, 1]],
        [[2, 0, 1], [1, 0, 0]],
    ] {
        check_no_violation(scenario);
    }
}

#[test]
fn a_fence_check_without_a_lock_lets_a_zombie_write() {
    let expected = Some(Violation::WroteWithoutSession);
    check_guard_is_needed(Guard::FenceCheckLocks, ZOMBIES, expected);
}

#[test]
fn an_end_that_may_change_no_row_ends_another_claim() {
    let expected = Some(Violation::EndedAnotherClaim);
    check_guard_is_needed(Guard::EndChangesOneRow, DUPLICATES, expected);
}

#[test]
fn an_end_without_a_fence_ends_a_newer_claim_of_its_session() {
    let expected = Some(Violation::EndedAnotherClaim);
    check_guard_is_needed(Guard::EndNamesFence, DUPLICATES, expected);
}

#[test]
fn a_claim_that_trusts_its_snapshot_claims_twice() {
    let expected = Some(Violation::ClaimedTwice);
    check_guard_is_needed(Guard::GatesOfLockedRow, BACKOFFS, expected);
}

#[test]
fn without_the_lane_index_two_processes_of_a_lane_are_claimed() {
    let expected = Some(Violation::TwoInLane);
    check_guard_is_needed(Guard::LaneIndex, ZOMBIES, expected);
}

#[test]
fn a_janitor_that_trusts_its_snapshot_deletes_a_live_session() {
    let expected = Some(Violation::DeletedLiveSession);
    check_guard_is_needed(Guard::DeadlineOfLockedRow, ZOMBIES, expected);
}

#[test]
fn a_janitor_with_one_statement_frees_work_without_a_record() {
    let expected = Some(Violation::FreedUnrecorded);
    check_guard_is_needed(Guard::ItemsReadLater, ZOMBIES, expected);
}

#[test]
fn a_sweep_that_does_not_wait_for_the_lost_claim_leaves_a_machine_claimed() {
    check_guard_is_needed(Guard::SweepAfterClaimIsGone, LOST_ANSWERS, None);
}

#[test]
fn a_lease_is_lost_before_it_expires_and_stays_lost_with_any_heartbeats() {
    let checker = OneLease::default().checker().spawn_bfs().join();
    checker.assert_properties();
}

#[test]
fn each_guard_of_a_lease_is_needed() {
    for (guard, property) in [
        (lease::Guard::CountedFromSending, VALID_IS_NOT_EXPIRED),
        (lease::Guard::NoLateHeartbeat, NO_REVIVAL),
        (lease::Guard::LostForGood, LOST_IS_FINAL),
    ] {
        let without = Some(guard);
        let checker = OneLease { without }.checker().spawn_bfs().join();
        checker.assert_any_discovery(property);
    }
}

#[test]
fn a_limit_is_never_exceeded_and_no_slot_leaks_in_any_interleaving() {
    let checker = Slots::default().checker().spawn_bfs().join();
    checker.assert_properties();
}

#[test]
fn each_guard_of_a_slot_is_needed() {
    for (guard, property) in [
        (limits::Guard::SlotIsLocked, NOT_MORE_THAN_ALLOWED),
        (limits::Guard::FreeInLockedRow, NOT_MORE_THAN_ALLOWED),
        (limits::Guard::FreesItsOwn, NOT_MORE_THAN_ALLOWED),
        (limits::Guard::FreedByEnd, NO_LEAK),
        (limits::Guard::FreedByReclaim, NO_LEAK),
    ] {
        let without = Some(guard);
        let checker = Slots { without }.checker().spawn_bfs().join();
        checker.assert_any_discovery(property);
    }
}

#[test]
fn a_definition_changes_beside_writers_of_both_releases_without_a_second_holder() {
    for writer in [Release::Current, Release::Previous] {
        let without = None;
        let checker = Definitions { without, writer }.checker().spawn_bfs().join();
        checker.assert_properties();
    }
}

#[test]
fn each_guard_of_a_change_of_definitions_is_needed() {
    use definitions::Guard::{LaneInForce, LocksItems, VersionIsChecked};
    for (guard, writer, property) in [
        (LocksItems, Release::Current, ONE_HOLDER),
        (LocksItems, Release::Current, NO_STALE_PLAN),
        (LaneInForce, Release::Previous, ONE_HOLDER),
        (VersionIsChecked, Release::Current, NO_STALE_PLAN),
    ] {
        let without = Some(guard);
        let checker = Definitions { without, writer }.checker().spawn_bfs().join();
        checker.assert_any_discovery(property);
    }
}

/// A batch with all guards.
fn batch(refused: Option<usize>, losses: u8) -> Batch {
    Batch {
        without: None,
        refused,
        losses,
    }
}

#[test]
fn a_batch_writes_a_tag_if_and_only_if_its_attempt_is_finished_in_any_interleaving() {
    for refused in [None, Some(0)] {
        let checker = batch(refused, 1).checker().threads(2).spawn_bfs();
        checker.join().assert_properties();
    }
}

#[test]
#[ignore = "a million states: run it with --release"]
fn a_batch_of_which_two_answers_are_lost_violates_nothing() {
    for refused in [None, Some(0)] {
        let checker = batch(refused, 2).checker().threads(2).spawn_bfs();
        checker.join().assert_properties();
    }
}

#[test]
fn each_guard_of_a_batch_is_needed() {
    use batch::Guard::{LocksItems, LocksMachines, LooksUp, Splits, WritesOfItsOwn};
    for (guard, refused, property) in [
        (LocksItems, None, TAG_IF_FINISHED),
        (LocksMachines, None, NO_WRITE_UNLOCKED),
        (WritesOfItsOwn, None, TAG_IF_FINISHED),
        (Splits, Some(0), REPORTS_ARE_TRUE),
        (LooksUp, None, REPORTS_ARE_TRUE),
    ] {
        let without = Some(guard);
        let broken = Batch {
            without,
            ..batch(refused, 1)
        };
        let found = HasDiscoveries::AnyOf([property].into());
        let checker = broken.checker().finish_when(found).spawn_bfs();
        checker.join().assert_any_discovery(property);
    }
}
