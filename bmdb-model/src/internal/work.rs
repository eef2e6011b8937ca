//! Claiming work items, and ending attempts.

mod attempt;
mod attempts;
mod claim;
mod end;
mod finish;
mod finish_lock;
mod head;
mod open_queues;
mod pause;
mod release;
mod replan_on_claim;

pub use attempt::{Attempt, attempts_of, current_attempt};
pub use attempts::Ended;
pub use claim::{
    CLAIM, ClaimBatch, Claimed, Gate, Providers, claim, claim_from, claim_machine, gates,
};
pub use end::{AttemptState, FAIL, FailedAttempt, attempt_state, fail, fail_all};
pub use finish::{
    Finish, Finished, How, Jitter, Replan, Rest, finish, finish_all, finish_fenced,
    judge_and_commit, replan_judge_and_commit,
};
pub use finish_lock::Waiting;
pub use head::QueueHead;
pub use open_queues::{OpenQueue, OpenQueues, open_queues};
pub use pause::{ProviderPause, pause_provider};
pub use release::{Cancel, cancel, cancel_all, cancel_for};
pub use replan_on_claim::{claim_planned, lock_due, possibly_due, postpone_due};
