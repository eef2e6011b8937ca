//! A model of sessions, claims, ends and losses, small enough for all of its interleavings to be
//! looked at: two workers, each with a session; one machine with two processes that share a lane;
//! a janitor; and connections that break.
//!
//! It is about order, not about time: deadlines pass, backoffs elapse and answers get lost whenever
//! that does harm. A step is what happens between two moments at which PostgreSQL may let somebody
//! else in: a statement's snapshot, a row lock, a commit. Under READ COMMITTED a row that has been
//! waited for is looked at as it is then; that is why a guard which looks at the locked row is one.
//! What the client's clock does is in [`lease`].
//!
//! Each guard of the design can be left out, and then the model has to find what it is there for. Who
//! changes a statement's locks, conditions or order changes the step here first.

mod janitor;
mod lease;
mod request;
mod state;
mod worker;

use state::{Kind, Outcome, Slot, State, Sweep, Who, Worker};
use stateright::{Model, Property};

/// What the protocol is safe by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The fence check locks the session's row against its removal.
    FenceCheckLocks,
    /// An end that finds no row to end ends its transaction.
    EndsChangeOneRow,
    /// An end is for one fence, and not for whatever the session holds there.
    EndsNameTheFence,
    /// A claim looks at all gates of the row that it has locked.
    GatesOfTheLockedRow,
    /// The unique index of held lanes.
    LaneIndex,
    /// The janitor tests the deadline of the row that it has locked.
    DeadlineOfTheLockedRow,
    /// The janitor reads the items in a later statement than the one that locks the session.
    ItemsOfALaterStatement,
    /// Unknown claims are looked for when none can come any more.
    SweepsAfterTheClaimIsGone,
}

/// The protocol, without a guard or with all of them.
#[derive(Debug, Clone)]
struct Protocol {
    without: Option<Guard>,
    workers: [Worker; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Send(Who, Kind),
    Step(Slot),
    LoseTheAnswer(Who),
    Settle(Who),
    Terminate(Who),
    Sweep(Who),
    TheDeadlinePasses(Who),
    AHeartbeatJudges(Who),
    AHeartbeatCommits(Who),
    TheBackoffElapses(usize),
    TheJanitorLooks(Who),
    TheJanitorGoesOn,
}

const NOTHING_FORBIDDEN: &str = "nothing forbidden happens";
const KNOWN_OF: &str = "what a live session holds, somebody knows of";

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
        let mut all = vec![Action::TheJanitorGoesOn];
        all.extend((0..state::SLOTS).map(Action::Step));
        for who in 0..2 {
            all.extend(Self::ends(state, who).map(|end| Action::Send(who, end)));
            all.extend([
                Action::Send(who, Kind::Claim),
                Action::Send(who, Kind::Write),
                Action::LoseTheAnswer(who),
                Action::Settle(who),
                Action::Terminate(who),
                Action::Sweep(who),
                Action::TheDeadlinePasses(who),
                Action::AHeartbeatJudges(who),
                Action::AHeartbeatCommits(who),
                Action::TheBackoffElapses(who),
                Action::TheJanitorLooks(who),
            ]);
        }
        // Nobody needs to know what comes after a violation.
        let goes_on = state.violation.is_none();
        all.retain(|action| goes_on && self.next_state(state, *action).is_some());
        actions.extend(all);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Send(who, Kind::Claim) if state.workers[who].holds.is_some() => None,
            Action::Send(who, kind) => Self::send(state, who, kind),
            Action::Step(slot) => self.step(state, slot),
            Action::LoseTheAnswer(who) => Self::lose(state, who),
            Action::Settle(who) => Self::settle(state, who),
            Action::Terminate(who) => Self::terminate(state, who),
            Action::Sweep(who) => self.sweep(state, who),
            Action::TheDeadlinePasses(who) => Self::pass(state, who),
            Action::AHeartbeatJudges(who) => Self::judge(state, who),
            Action::AHeartbeatCommits(who) => Self::beat(state, who),
            Action::TheBackoffElapses(item) => {
                let was_backing_off = std::mem::take(&mut state.items[item].backing_off);
                was_backing_off.then_some(state)
            }
            Action::TheJanitorLooks(who) => self.look(state, who),
            Action::TheJanitorGoesOn => self.clean(state),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_FORBIDDEN, |_, state: &State| {
                state.violation.is_none()
            }),
            Property::always(KNOWN_OF, |_, state: &State| is_known_of(state)),
            Property::always(
                "nothing is held when nothing can happen any more",
                |model, state| {
                    let mut actions = Vec::new();
                    model.actions(state, &mut actions);
                    let goes_on = !actions.is_empty() || state.violation.is_some();
                    goes_on || state.items.iter().all(|item| item.holder.is_none())
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

/// A machine must not be locked while its session lives and nobody is going to end the work: its
/// worker knows of it, or waits for the claim's answer, or is looking for what it does not know of.
fn is_known_of(state: &State) -> bool {
    state.items.iter().all(|item| {
        let Some(held) = item.holder else {
            return true;
        };
        let worker = &state.workers[held.session];
        worker.is_over
            || worker.sweep != Sweep::None
            || worker.holds.is_some_and(|(_, fence)| fence == held.fence)
    })
}

#[cfg(test)]
mod tests {
    use super::lease::{NO_REVIVAL, OneLease, TOLD_ONCE, TRUST_ENDS_FIRST};
    use super::state::Violation;
    use super::*;
    use stateright::{Checker, HasDiscoveries};

    /// How much each worker may do: claims, transactions that write, answers it loses.
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
    fn check_that_nothing_goes_wrong(scenario: Scenario) {
        let checker = protocol(scenario, None).checker().threads(2);
        checker.spawn_bfs().join().assert_properties();
    }

    /// Without the guard something goes wrong, and the shortest way there is this.
    #[track_caller]
    fn check_that_it_is_missed(guard: Guard, scenario: Scenario, expected: Option<Violation>) {
        let checker = protocol(scenario, Some(guard)).checker();
        let checker = checker.finish_when(HasDiscoveries::AnyFailures);
        let found = checker.spawn_bfs().join().discoveries();
        let name = match expected {
            Some(_) => NOTHING_FORBIDDEN,
            None => KNOWN_OF,
        };
        let Some(path) = found.get(name) else {
            panic!("{guard:?} is not missed: {:?}", found.keys());
        };
        assert_eq!(path.last_state().violation, expected, "{path}");
    }

    #[test]
    fn a_zombie_does_no_harm_in_any_interleaving() {
        check_that_nothing_goes_wrong(ZOMBIES);
    }

    #[test]
    fn a_lost_answer_does_no_harm_in_any_interleaving() {
        check_that_nothing_goes_wrong(LOST_ANSWERS);
    }

    #[test]
    fn an_end_that_is_sent_twice_does_no_harm_in_any_interleaving() {
        check_that_nothing_goes_wrong(DUPLICATES);
    }

    #[test]
    fn claims_after_failures_do_no_harm_in_any_interleaving() {
        check_that_nothing_goes_wrong(BACKOFFS);
    }

    #[test]
    #[ignore = "ten million states, some minutes: run it with --release"]
    fn nothing_goes_wrong_in_larger_scenarios() {
        for scenario in [
            [[1, 1, 1], [1, 1, 0]],
            [[1, 0, 1], [1, 0, 1]],
            [[2, 0, 1], [1, 0, 0]],
        ] {
            check_that_nothing_goes_wrong(scenario);
        }
    }

    #[test]
    fn a_fence_check_that_locks_nothing_lets_a_zombie_write() {
        let expected = Some(Violation::WroteWithoutASession);
        check_that_it_is_missed(Guard::FenceCheckLocks, ZOMBIES, expected);
    }

    #[test]
    fn an_end_that_may_change_no_row_commits_what_is_not_its_own() {
        let expected = Some(Violation::EndedWhatItDoesNotHold);
        check_that_it_is_missed(Guard::EndsChangeOneRow, DUPLICATES, expected);
    }

    #[test]
    fn an_end_that_names_no_fence_ends_the_sessions_newer_work() {
        let expected = Some(Violation::EndedWhatItDoesNotHold);
        check_that_it_is_missed(Guard::EndsNameTheFence, DUPLICATES, expected);
    }

    #[test]
    fn a_claim_by_its_snapshot_takes_what_is_held() {
        let expected = Some(Violation::HeldTwice);
        check_that_it_is_missed(Guard::GatesOfTheLockedRow, BACKOFFS, expected);
    }

    #[test]
    fn without_the_lane_index_there_are_two_in_a_lane() {
        let expected = Some(Violation::TwoInALane);
        check_that_it_is_missed(Guard::LaneIndex, ZOMBIES, expected);
    }

    #[test]
    fn a_janitor_that_goes_by_its_snapshot_deletes_a_live_session() {
        let expected = Some(Violation::DeletedALiveSession);
        check_that_it_is_missed(Guard::DeadlineOfTheLockedRow, ZOMBIES, expected);
    }

    #[test]
    fn a_janitor_of_one_statement_frees_work_without_a_record() {
        let expected = Some(Violation::FreedWithoutARecord);
        check_that_it_is_missed(Guard::ItemsOfALaterStatement, ZOMBIES, expected);
    }

    #[test]
    fn a_sweep_that_does_not_wait_for_the_lost_claim_leaves_a_machine_locked() {
        check_that_it_is_missed(Guard::SweepsAfterTheClaimIsGone, LOST_ANSWERS, None);
    }

    #[test]
    fn a_lease_is_given_up_before_it_expires_and_for_good_whatever_becomes_of_heartbeats() {
        let checker = OneLease::default().checker().spawn_bfs().join();
        checker.assert_properties();
    }

    #[test]
    fn each_guard_of_a_lease_is_missed() {
        for (guard, property) in [
            (lease::Guard::TrustFromTheSending, TRUST_ENDS_FIRST),
            (lease::Guard::NoLateHeartbeat, NO_REVIVAL),
            (lease::Guard::LostForGood, TOLD_ONCE),
        ] {
            let without = Some(guard);
            let checker = OneLease { without }.checker().spawn_bfs().join();
            checker.assert_any_discovery(property);
        }
    }
}
