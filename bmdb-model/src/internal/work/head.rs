//! The head of a queue: whether its first entry is due, and if not, when it will be.

use std::time::Duration;

/// The first entry of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueHead {
    /// There is none: no unclaimed machine needs the process.
    #[default]
    Empty,
    /// It is due. If it was not claimed, another transaction has it or its lane.
    Due,
    /// It becomes due after this time, by the database's clock. A day stands for any longer time.
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
/// the process, the provider and the queue cursor.
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

/// The same for the queues of all providers. It has its own text, because a condition for both cases
/// would keep the generic plan from using the index for one provider.
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
