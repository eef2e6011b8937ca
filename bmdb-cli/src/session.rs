//! `bmdb session`: connected components, the work they have claimed, and ending a session.

mod end;
mod list;
mod show;

use crate::verbs::verbs;

verbs! {
    /// List, show or end sessions.
    ///
    /// A session is a component's lease: while it is live, no other session can claim its work.
    Session {
        List(list::ListArgs),
        Show(show::Show),
        End(end::End),
    }
}
