//! The spans, which carry ids only.

use super::meters::result_label;
use bmdb_model::history::Outcome;
use bmdb_model::internal::work::Attempt;
use bmdb_model::{Process, SessionId};
use tracing::{Span, debug_span, info_span};

/// The span of an attempt. It outlives the span of its claim, so it is not a child of it.
pub(crate) fn work(attempt: &Attempt, number: i64) -> Span {
    info_span!(
        parent: None,
        "work",
        session = %attempt.session,
        process = %attempt.process,
        machine = %attempt.machine,
        fence = %attempt.fence,
        attempt = number,
    )
}

pub(crate) fn end(work: &Span, outcome: Outcome) -> Span {
    debug_span!(parent: work, "end", result = result_label(outcome))
}

pub(crate) fn claim(session: SessionId, process: &Process, limit: u32) -> Span {
    debug_span!("claim", %session, %process, limit)
}

pub(crate) fn transaction(session: SessionId) -> Span {
    debug_span!("transaction", %session)
}

pub(crate) fn heartbeat(sessions: usize) -> Span {
    debug_span!("heartbeat", sessions)
}
