//! `bmdb backoff`: backoffs after failures, and changing them.

mod change;
mod list;

use crate::verbs::verbs;

verbs! {
    /// List, clear or shorten backoffs after failures.
    Backoff {
        List(list::ListArgs),
        Clear(change::Clear),
        RetryNow(change::RetryNow),
    }
}
