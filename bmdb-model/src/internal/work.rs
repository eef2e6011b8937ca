//! Claiming work items, and ending attempts.

mod attempt;
mod attempts;
mod claim;
mod claim_provided;
mod end;
mod finish;
mod finish_lock;
mod gate;
mod head;
mod judge;
mod open_queues;
mod pause;
mod release;
mod replan_on_claim;

pub use attempt::{Attempt, attempts_of, current_attempt};
pub use attempts::Ended;
pub use claim::{
    CLAIM, ClaimBatch, Claimed, Providers, claim, claim_from, claim_machine, claim_reading_provided,
};
pub use end::{AttemptState, FAIL, FailedAttempt, attempt_state, fail, fail_all};
pub use finish::{Finished, How, Replan, finish, finish_all};
pub use finish_lock::Waiting;
pub use gate::{Gate, gates};
pub use head::QueueHead;
pub use judge::{Finish, Jitter, Rest, finish_fenced, judge_and_commit, replan_judge_and_commit};
pub use open_queues::{OpenQueue, OpenQueues, open_queues};
pub use pause::{ProviderPause, pause_provider};
pub use release::{Cancel, cancel, cancel_all, cancel_for};
pub use replan_on_claim::{
    claim_planned, claim_planned_reading_provided, lock_due, possibly_due, postpone_due,
};
