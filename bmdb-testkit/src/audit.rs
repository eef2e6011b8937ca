//! Audit: reads the log of attempts and decides whether exclusive work was exclusive, backoffs were
//! respected and every attempt has exactly one end.
//!
//! It shares no code with what it judges: it reads the tables by its own SQL and replays them. The
//! components must have run with full history and have kept all of it (`Config::retention`), because a
//! folded row has lost the times of single attempts, and with policies without jitter, because only the
//! un-jittered interval is recorded.

mod findings;
mod judge;
mod read;
mod rules;
mod violation;

pub use findings::Audit;
pub use rules::{End, Rules, StillClaimed};
pub use violation::{AttemptRef, Violation};

use crate::TestkitError;
use bmdb_backoff::{Backoff, Jitter};

/// Why the log cannot be audited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Some rows stand for several attempts each.
    #[error(
        "{rows} rows of work_attempt are folded, so the times of single attempts are lost: run the \
         components with `Config::history(HistoryDetail::Full)`"
    )]
    Folded {
        /// The number of folded rows.
        rows: usize,
    },
    /// A policy has jitter.
    #[error(
        "the policy {0} has jitter, which is not recorded, so its delays cannot be judged: run \
         the components with jitter=none"
    )]
    Jitter(Backoff),
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] TestkitError),
}

/// Audits the whole log of the database with this URL, in one snapshot.
///
/// # Errors
/// [`AuditError`]. Violations are not errors: the [`Audit`] lists them.
pub async fn audit(url: &str, rules: &Rules) -> Result<Audit, AuditError> {
    let mut policies = [&rules.backoff]
        .into_iter()
        .chain(rules.backoff_of.values());
    if let Some(jittered) = policies.find(|policy| policy.jitter() != Jitter::None) {
        return Err(AuditError::Jitter(*jittered));
    }
    let attempts = read::attempts(url).await?;
    let rows = attempts.iter().filter(|attempt| attempt.folded).count();
    if rows > 0 {
        return Err(AuditError::Folded { rows });
    }
    Ok(judge::judge(attempts, rules))
}
