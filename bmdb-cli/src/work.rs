//! `bmdb work`: claimed work, and taking it from its session.

pub(crate) mod list;
mod release;

use crate::verbs::verbs;

verbs! {
    /// List claimed work, or release work that is stuck.
    Work {
        List(list::ListArgs),
        Release(release::Release),
    }
}
