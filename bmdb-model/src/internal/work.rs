//! Claiming work items, and ending attempts.

mod attempt;
mod claim;
mod end;
mod failure_text;
mod head;
mod open_queues;
mod replan_on_claim;

pub use attempt::{Attempt, attempts_of, current_attempt};
pub use claim::{
    CLAIM, ClaimBatch, Claimed, Gate, Providers, claim, claim_from, claim_machine, gates,
};
pub use end::{
    AttemptState, Ended, FAIL, FailedAttempt, Release, attempt_state, cancel, cancel_for, fail,
    fail_all, finish, finish_fenced, release_all,
};
pub use failure_text::{MAXIMUM_CAUSE_BYTES, recorded_cause};
pub use head::QueueHead;
pub use open_queues::{OpenQueue, OpenQueues, open_queues};
pub use replan_on_claim::{claim_planned, lock_due, possibly_due, postpone_due};
