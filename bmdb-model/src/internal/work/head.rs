//! The head of a queue: whether its first entry is due, and otherwise when.

use std::time::Duration;

/// What is first in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueHead {
    /// Nothing: no idle machine needs the process.
    #[default]
    Empty,
    /// Something that is due. If it was not claimed, somebody has it or its lane.
    Due,
    /// Something that will be due after this time, by the database's clock; a day stands for all that
    /// is later.
    DueIn(Duration),
}

impl QueueHead {
    pub(super) fn from_millis(due_in: Option<i64>) -> Self {
        match due_in.map(u64::try_from) {
            None => Self::Empty,
            Some(Ok(0) | Err(_)) => Self::Due,
            Some(Ok(millis)) => Self::DueIn(Duration::from_millis(millis)),
        }
    }
}

/// A statement that begins with a look at the head of one provider's queue: its binds `$1` to `$3` are
/// process, provider and floor.
macro_rules! at_the_head {
    ($file:literal) => {
        concat!(
            include_str!("../../sql/candidate.sql"),
            include_str!("../../sql/head.sql"),
            include_str!($file)
        )
    };
}
pub(super) use at_the_head;

/// The same for the queues of all providers. A text of its own, because a condition that serves both
/// cases would keep the generic plan from using the index for one provider.
macro_rules! at_the_head_of_any {
    ($file:literal) => {
        concat!(
            include_str!("../../sql/candidate_of_any.sql"),
            include_str!("../../sql/head.sql"),
            include_str!($file)
        )
    };
}
pub(super) use at_the_head_of_any;
